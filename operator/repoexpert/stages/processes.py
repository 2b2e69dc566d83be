"""Keeping a process and everything below it together: nothing a stage started may outlive it. Linux only.

Called by the stage entry (for what a stage starts) and by the local runner (for its stages).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have orphaned descendants become our children instead of init's, so that `end_descendants` finds them all."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> bool:
    """Ask for SIGTERM when the parent dies, however it dies. False when it is dead already."""
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == parent


def descendants(root: int) -> list[int]:
    """Process ids below `root`, parents first, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _parent(entry)) is not None:
            children.setdefault(found, []).append(int(entry.name))
    below: list[int] = []
    queue = list(children.get(root, []))
    while queue:
        process = queue.pop(0)
        below.append(process)
        queue += children.get(process, [])
    return below


def end_descendants(
    *, grace: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Terminate everything below this process; what is left after `grace` seconds is killed. Returns how many."""
    mine = os.getpid()
    found = descendants(mine)
    if not found:
        return 0
    send(found, signal.SIGTERM)
    limit = clock() + grace
    while clock() < limit and (left := descendants(mine)):
        _reap(left)
        sleep(0.05)
    # A process may fork while the list is read: ask again until nothing is left.
    while left := descendants(mine):
        send(left, signal.SIGKILL)
        _reap(left)
        sleep(0.02)
    return len(found)


def send(processes: Iterable[int], number: signal.Signals) -> None:
    """Signal each process that is still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _reap(processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)


def _parent(entry: Path) -> int | None:
    """Parent's id from /proc/ID/stat, None for a zombie or a process that is gone."""
    try:
        fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[1])


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
