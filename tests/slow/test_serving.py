"""A real vLLM server on the tiny model: it answers, keeps its key, and is gone afterwards, however it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from repoexpert.api.serving import Sampling
from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.serving.server import VllmServer
from repoexpert.serving.smoke import smoke_test
from tests.fakes.tiny_model import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "model")


def servers_of(log: Path) -> list[int]:
    """Processes that write to the log."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and int(folder.name) != os.getpid() and (folder / "fd" / "1").readlink() == log:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(900)
async def test_a_server_answers_asks_for_its_key_and_is_gone(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    async with VllmServer(
        model, "tiny", context_tokens=100_000, log=log, sampling=Sampling(), api_key="secret", concurrency=2
    ) as server:
        assert server.context_tokens < 100_000
        assert await smoke_test(server.base_url, "tiny", "secret")
        async with httpx.AsyncClient(trust_env=False) as client:
            refused = await client.post(f"{server.base_url}/chat/completions", json={"model": "tiny", "messages": []})
            assert refused.status_code == 401
        with pytest.raises(InfrastructureError, match="401"):
            await smoke_test(server.base_url, "tiny", "wrong")
        lines = "".join((Path("/proc") / str(one) / "cmdline").read_text() for one in servers_of(log))
        assert "--model" in lines
        assert "secret" not in lines
        with pytest.raises(InfrastructureError, match="ended while it was needed"):
            await server.alive_during(_kill_and_wait(servers_of(log)))
    assert servers_of(log) == []


async def _kill_and_wait(processes: list[int]) -> None:
    for process in processes:
        command = (Path("/proc") / str(process) / "cmdline").read_text()
        if "repoexpert.serving.entry" in command and "guard.py" not in command:
            os.kill(process, signal.SIGKILL)
    await asyncio.sleep(60)


@pytest.mark.timeout(900)
def test_a_killed_starter_leaves_no_server(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    script = f"""
import asyncio, pathlib
from repoexpert.serving.server import VllmServer
async def main():
    async with VllmServer(pathlib.Path({str(model)!r}), "tiny", context_tokens=256, log=pathlib.Path({str(log)!r})):
        await asyncio.sleep(600)
asyncio.run(main())
"""
    starter = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    while len(servers_of(log)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    starter.kill()
    starter.wait()
    while servers_of(log):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(900)
async def test_a_model_that_cannot_be_loaded_is_an_error_with_the_end_of_the_log(model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(model, tmp_path / "broken", ignore=shutil.ignore_patterns("*.safetensors")))
    log = tmp_path / "vllm.log"
    with pytest.raises(InfrastructureError, match=r"before it was ready; the log .*vllm\.log ends:\n(.*\n)+"):
        async with VllmServer(broken, "tiny", context_tokens=256, log=log):
            pass
    assert servers_of(log) == []


async def test_a_folder_without_a_model_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"config\.json"):
        VllmServer(tmp_path, "tiny", context_tokens=256, log=tmp_path / "vllm.log")
