"""The guard: whatever happens to whoever started a server, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repoexpert.serving import server

GUARD = str(Path(server.__file__).with_name("guard.py"))
# A server in vLLM's shape: a child in a session of its own, which has a child that ignores SIGTERM.
TREE = """
import os, signal, subprocess, sys, time
inner = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(%r, 'w').close(); time.sleep(600)" % sys.argv[1]
subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
time.sleep(600)
"""


def members(mark: str) -> list[int]:
    """Processes with the mark on their command line or in a parent's."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def wait(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-I", GUARD, str(os.getpid()), "--", sys.executable, "-c", TREE, str(ready)]
    guard = subprocess.Popen(command, start_new_session=True)
    wait(ready.exists)
    guard.send_signal(number)
    assert guard.wait(timeout=20) == 128 + number
    assert members(str(ready)) == []


def test_the_death_of_the_starter_ends_everything(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    starter = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-I", {GUARD!r}, str(os.getpid()), "--", sys.executable, "-c", {TREE!r}, {str(ready)!r}], start_new_session=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", starter])
    wait(ready.exists)
    parent.kill()
    parent.wait()
    wait(lambda: members(str(ready)) == [])


def test_the_end_of_the_command_ends_what_it_left_and_its_code_is_told(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    leaves = TREE.replace(
        "time.sleep(600)\n", f"\nwhile not os.path.exists({str(ready)!r}): time.sleep(0.01)\nsys.exit(7)\n"
    )
    command = [sys.executable, "-I", GUARD, str(os.getpid()), "--", sys.executable, "-c", leaves, str(ready)]
    assert subprocess.run(command, timeout=30).returncode == 7
    assert members(str(ready)) == []


def test_a_starter_that_is_gone_already_starts_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    command = [sys.executable, "-I", GUARD, "1", "--", "touch", str(marker)]
    assert subprocess.run(command, timeout=30).returncode == 128 + signal.SIGTERM
    assert not marker.exists()
