"""One bubblewrap process: started under limits, its output read and capped, its whole tree killed in time.

bubblewrap reports on a status pipe that its command started and how it ended. What dies without that report is the
sandbox's failure (SandboxLost), never a command's exit code. Called by `bubblewrap`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from repoexpert.errors import SandboxLost
from repoexpert.sandbox.protocol import Limits

TIMEOUT_EXIT_CODE = 124
_CHUNK = 1 << 16
_WATCH_SECONDS = 0.5
_DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Ended:
    """How a command inside ended."""

    output: bytes
    exit_code: int
    timed_out: bool
    truncated: bool
    seconds: float


class CappedOutput:
    """Keeps the first and the last half of `limit` bytes of a stream of any length."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._elided = 0

    def add(self, chunk: bytes) -> None:
        room = self._half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes - len(self._tail[0]) >= self._half:
            dropped = len(self._tail.popleft())
            self._tail_bytes -= dropped
            self._elided += dropped

    @property
    def truncated(self) -> bool:
        return self._elided > 0 or self._tail_bytes > self._half

    def value(self) -> bytes:
        tail = b"".join(self._tail)
        if not self.truncated:
            return bytes(self._head) + tail
        elided = self._elided + len(tail) - self._half
        return bytes(self._head) + f"\n[{elided} bytes elided]\n".encode() + tail[len(tail) - self._half :]


def launch_script(limits: Limits, groups: Sequence[str]) -> str:
    """A `sh -c` script that joins the control groups, sets the limits and becomes the command given as arguments."""
    lines = ["set -e", "ulimit -c 0", f"ulimit -f {limits.file_bytes // 512}", f"ulimit -t {limits.cpu_seconds}"]
    if not groups:
        # Without a control group: private writable memory of each process, which unlike RLIMIT_AS spares reservations.
        lines.append(f"ulimit -d {limits.memory_bytes // 1024}")
    lines += [f"echo $$ > {shlex.quote(group)}" for group in groups]
    return "\n".join([*lines, 'exec "$@"'])


async def run_bubblewrap(
    command: Callable[[int], Sequence[str | bytes]],
    *,
    pass_fds: Sequence[int],
    timeout: float,
    output_bytes: int,
    stdin: bytes | None = None,
    over_limit: Callable[[], bool] | None = None,
) -> Ended:
    """Run `command(status_fd)`; kills its whole tree after `timeout` seconds or once `over_limit()` says so.

    `over_limit` is asked twice a second. Raises SandboxLost when the command never started or its end is not known.
    """
    status, status_write = os.pipe2(os.O_CLOEXEC)
    started = time.monotonic()
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *command(status_write),
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(*pass_fds, status_write),
                env={},
                limit=_CHUNK,
            )
        except OSError as error:
            raise SandboxLost(f"cannot start bubblewrap: {error}") from error
        finally:
            os.close(status_write)
        os.set_blocking(status, False)
        output = CappedOutput(output_bytes)
        try:
            finished = await _attend(process, output, stdin, timeout, over_limit)
        finally:
            if process.returncode is None:
                _kill(process, status)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(_drain(process, output), _DRAIN_SECONDS)
        return _ended(_read_status(status), output, finished, time.monotonic() - started)
    finally:
        os.close(status)


async def _attend(
    process: asyncio.subprocess.Process,
    output: CappedOutput,
    stdin: bytes | None,
    timeout: float,
    over_limit: Callable[[], bool] | None,
) -> bool:
    """Wait for the command's end; False when the time or a limit ran out first."""
    work = asyncio.create_task(_communicate(process, output, stdin))
    deadline = time.monotonic() + timeout
    try:
        while not work.done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            step = left if over_limit is None else min(left, _WATCH_SECONDS)
            await asyncio.wait({work}, timeout=step)
            if not work.done() and over_limit is not None and over_limit():
                return False
        work.result()
        return True
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _communicate(process: asyncio.subprocess.Process, output: CappedOutput, stdin: bytes | None) -> None:
    if stdin is not None and process.stdin is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(stdin)
            await process.stdin.drain()
        process.stdin.close()
    await _drain(process, output)


async def _drain(process: asyncio.subprocess.Process, output: CappedOutput) -> None:
    while process.stdout is not None and (chunk := await process.stdout.read(_CHUNK)):
        output.add(chunk)
    await process.wait()


def _kill(process: asyncio.subprocess.Process, status: int) -> None:
    """Kill the first process of the sandbox's process namespace, and with it every other one, then bubblewrap."""
    child = _read_status(status).get("child-pid")
    if isinstance(child, int):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _read_status(status: int) -> dict[str, Any]:
    """The JSON objects that bubblewrap has written so far, merged."""
    merged: dict[str, Any] = {}
    with contextlib.suppress(BlockingIOError):
        while data := os.read(status, _CHUNK):
            for line in data.decode("utf-8", "replace").splitlines():
                if line.strip():
                    merged.update(json.loads(line))
    return merged


def _ended(status: dict[str, Any], output: CappedOutput, finished: bool, seconds: float) -> Ended:
    if not finished:
        return Ended(output.value(), TIMEOUT_EXIT_CODE, True, output.truncated, seconds)
    if "exit-code" not in status:
        said = output.value()[-500:].decode("utf-8", "replace").strip()
        raise SandboxLost(f"bubblewrap died before its command ended: {said or 'no message'}")
    return Ended(output.value(), int(status["exit-code"]), False, output.truncated, seconds)
