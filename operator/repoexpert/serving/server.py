"""A vLLM server for as long as it is needed: started, waited for, and gone with every process it made.

Called by the evaluation and serving stages and by `repoexpert serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from repoexpert.api.serving import Sampling
from repoexpert.errors import InfrastructureError
from repoexpert.serving import hardware
from repoexpert.serving.vllm import Launch, command, environment, kv_cache_gib

START_SECONDS = 900.0
"""On two busy cores a 135M model needs one to two minutes; a large one on a cold disk more."""
_STOP_SECONDS = 20.0
_TAIL_LINES = 15
T = TypeVar("T")
_GUARD = Path(__file__).with_name("guard.py")


class VllmServer:
    """`async with VllmServer(model_dir, "name", context_tokens=6144, log=path) as server: server.base_url`.

    `port` 0 takes a free one. `api_key` reaches the server by its environment alone. The context is bounded by what
    the model can take; `context_tokens` tells what it became. Raises BadInput for a folder that holds no model,
    InfrastructureError when the server does not come up, with the last lines of its log.
    """

    def __init__(
        self,
        model_dir: Path,
        name: str,
        *,
        context_tokens: int,
        log: Path,
        port: int = 0,
        sampling: Sampling | None = None,
        concurrency: int = 16,
        api_key: str = "",
        host: str = "127.0.0.1",
        start_seconds: float = START_SECONDS,
    ) -> None:
        limit, bytes_per_token = hardware.model_limits(model_dir)
        kind = hardware.device()
        self.context_tokens = min(context_tokens, limit)
        self.name = name
        self.log = log
        self._api_key = api_key
        self._start_seconds = start_seconds
        self._launch = Launch(
            model_dir=model_dir,
            name=name,
            port=port or _free_port(host),
            context_tokens=self.context_tokens,
            sampling=sampling,
            host=host,
            device=kind,
            dtype=hardware.best_dtype(kind),
            concurrency=concurrency,
            cores=len(os.sched_getaffinity(0)),
            kv_cache_gib=kv_cache_gib(bytes_per_token, self.context_tokens, concurrency),
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def base_url(self) -> str:
        """Root of the OpenAI-compatible API."""
        host = "127.0.0.1" if self._launch.host in ("0.0.0.0", "::") else self._launch.host  # noqa: S104 - compared only
        return f"http://{host}:{self._launch.port}/v1"

    async def __aenter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():  # why the last one ended is still wanted when it is tried again
            self.log.replace(self.log.with_suffix(".previous.log"))
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_GUARD),
                str(os.getpid()),
                "--",
                *command(self._launch, sys.executable),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self._launch, os.environ, self._api_key),
                start_new_session=True,
            )
        try:
            await self._ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the server and everything it started; returns when nothing is left."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), _STOP_SECONDS)
        except TimeoutError:
            await _kill(process)
        except asyncio.CancelledError:
            await _kill(process)
            raise

    async def died(self) -> None:
        """Returns when the server has ended by itself; for whoever keeps it running."""
        if self._process is not None:
            await self._process.wait()

    async def alive_during(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; it is cancelled, and InfrastructureError raised, when the server ends before it does."""
        task, death = asyncio.ensure_future(work), asyncio.ensure_future(self.died())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self.problem("ended while it was needed")
            return task.result()
        finally:
            for left in (task, death):
                left.cancel()
            await asyncio.gather(task, death, return_exceptions=True)

    def problem(self, what: str) -> InfrastructureError:
        """An error with the last lines of the log."""
        return InfrastructureError(
            f"vLLM for {self._launch.model_dir} {what}; the log {self.log} ends:\n{_tail(self.log)}"
        )

    async def _ready(self) -> None:
        deadline = time.monotonic() + self._start_seconds
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            while not await self._answers(client):
                if self._process is not None and self._process.returncode is not None:
                    raise self.problem(f"ended with exit code {self._process.returncode} before it was ready")
                if time.monotonic() > deadline:
                    raise self.problem(f"was not ready after {self._start_seconds:.0f} s")
                await asyncio.sleep(0.2)
            models = await client.get(f"{self.base_url}/models", headers=_authorization(self._api_key))
            if self.name not in [model.get("id") for model in models.json().get("data", [])]:
                raise self.problem(f"is not what answers on port {self._launch.port}: another server took it")

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (await client.get(f"{self.base_url.removesuffix('/v1')}/health")).status_code == httpx.codes.OK
        return False


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _authorization(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line[:300] for line in lines[-_TAIL_LINES:])
    return "(no log)"
