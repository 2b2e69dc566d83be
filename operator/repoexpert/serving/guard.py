"""Runs one command and ends with everything below it when its parent dies or asks. Standard library alone.

Started by `server.py` as `python -I guard.py PARENT_PID -- COMMAND...`: vLLM forks engine processes, which outlive a
killed server, and only their parent's parent can see to all of them. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
GRACE_SECONDS = 6.0


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _below(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        queue.extend(below := children.get(queue.pop(), []))
        found.extend(below)
    return found


def _signal_all(number: signal.Signals) -> bool:
    found = _below(os.getpid())
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    return bool(found)


def _end_all() -> None:
    limit = time.monotonic() + GRACE_SECONDS
    _signal_all(signal.SIGTERM)
    while _reap() and _below(os.getpid()) and time.monotonic() < limit:
        time.sleep(0.05)
    while _signal_all(signal.SIGKILL):
        _reap()
        time.sleep(0.02)


def _reap() -> bool:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


def main(arguments: list[str]) -> int:
    """Exit code: the command's, or 128 + signal."""
    parent, command = int(arguments[0]), arguments[2:]

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM
    try:
        code = subprocess.Popen(command).wait()
        return code if code >= 0 else 128 - code
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _end_all()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
