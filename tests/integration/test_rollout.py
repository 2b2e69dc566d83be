"""Rollouts with the scripted teacher in real sandboxes: what they leave, again and after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders.scripted_rollouts import collect

ROOT = Path(__file__).parents[2]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    summary = asyncio.run(collect(folder / "out", folder / "scratch", 1))
    assert [result.outcome for result in summary.results] == ["verified"] * 6
    assert all(result.scripted for result in summary.results)
    return folder / "out"


async def test_the_artifact_is_the_same_at_any_concurrency(undisturbed: Path, tmp_path: Path) -> None:
    await collect(tmp_path / "out", tmp_path / "scratch", 4)
    assert _files(tmp_path / "out") == _files(undisturbed)


def test_nothing_stored_tells_of_this_machine_or_this_moment(undisturbed: Path) -> None:
    for name, content in _files(undisturbed).items():
        for trace in (str(undisturbed.parent), "timestamp", time.strftime("%Y-%m-%d"), f"pool-{os.getpid()}"):
            assert trace not in content.decode(), (name, trace)


def test_a_trajectory_explores_edits_checks_and_submits(undisturbed: Path) -> None:
    trajectory = json.loads((undisturbed / "attempts/replay-000000000000/1/trajectory.traj.json").read_text())
    commands = [m["extra"]["actions"][0]["command"] for m in trajectory["messages"] if m["role"] == "assistant"]
    kinds = [command.split()[0] for command in commands]
    assert kinds[:2] == ["grep", "sed"]
    assert kinds[-1] == "echo"
    assert trajectory["messages"][-1]["extra"]["exit_status"] == "Submitted"
    assert trajectory["info"]["config"]["model"]["provider"] == "scripted"
    assert sum(len(message["content"]) for message in trajectory["messages"]) / 4 < 1400


@pytest.mark.parametrize("seconds", [0.8, 1.1, 1.5, 2.0])
def test_a_killed_run_goes_on_and_ends_with_the_same_artifact(
    undisturbed: Path, tmp_path: Path, seconds: float
) -> None:
    out = tmp_path / "out"
    arguments = [sys.executable, "-m", "tests.builders.scripted_rollouts", str(out), str(tmp_path / "scratch"), "2"]
    first = subprocess.Popen(arguments, cwd=ROOT)
    time.sleep(seconds)
    first.send_signal(signal.SIGKILL)
    first.wait()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("attempts/*/[0-9]*/result.json")}
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=120)
    assert _files(out) == _files(undisturbed)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list((tmp_path / "scratch/boxes").iterdir())
