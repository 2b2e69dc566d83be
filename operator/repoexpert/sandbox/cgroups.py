"""Memory and process limits by control groups, version 2 where delegated to us, version 1 as root; else none.

Where there is none (an ordinary user without delegation) `bubblewrap` falls back on rlimits, which bound each process
and not the sandbox as a whole. Called by `bubblewrap`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from repoexpert.sandbox.protocol import Limits

_MOUNT = Path("/sys/fs/cgroup")
_PREFIX = "repoexpert-"
_V1_CONTROLLERS = ("memory", "pids")


class ControlGroup:
    """One sandbox's groups; a process joins by writing its id to every path of `procs`."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.folders = folders

    @property
    def procs(self) -> tuple[str, ...]:
        return tuple(str(folder / "cgroup.procs") for folder in self.folders)

    def remove(self) -> None:
        """Kill what is left inside and remove the groups; gives up after a second (they are empty shells then)."""
        for folder in self.folders:
            for _ in range(100):
                for process in _members(folder):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)


class ControlGroups:
    """Makes groups below the ones this process is in. `ControlGroups.find()` is None where that is not allowed."""

    def __init__(self, parents: tuple[Path, ...], unified: bool) -> None:
        self._parents = parents
        self._unified = unified

    @classmethod
    def find(cls) -> ControlGroups | None:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
        paths = {name: path for _, names, path in lines for name in names.split(",")}
        if (_MOUNT / "cgroup.controllers").exists():
            own = _MOUNT / paths.get("", "/").lstrip("/")
            found = next((folder for folder in (own, own.parent) if _delegated(folder)), None)
            return cls((found,), unified=True) if found is not None else None
        parents = tuple(_MOUNT / name / paths.get(name, "/").lstrip("/") for name in _V1_CONTROLLERS)
        if all(name in paths for name in _V1_CONTROLLERS) and all(_writable(parent) for parent in parents):
            return cls(parents, unified=False)
        return None

    def create(self, name: str, limits: Limits) -> ControlGroup:
        """A group named for this process and `name`; OSError when the system refuses."""
        values = [("memory.max", limits.memory_bytes), ("pids.max", limits.processes)]
        if not self._unified:
            values[0] = ("memory.limit_in_bytes", limits.memory_bytes)
        folders = tuple(parent / f"{_PREFIX}{os.getpid()}-{name}" for parent in self._parents)
        for folder in folders:
            folder.mkdir(exist_ok=True)
            for file, value in values:
                if (folder / file).exists():
                    (folder / file).write_text(str(value), encoding="ascii")
            for swap in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
                with contextlib.suppress(OSError):
                    (folder / swap).write_text("0" if self._unified else str(limits.memory_bytes), encoding="ascii")
        return ControlGroup(folders)

    def sweep(self) -> None:
        """Remove groups whose worker died without cleaning up."""
        for parent in self._parents:
            for folder in parent.glob(f"{_PREFIX}*"):
                owner = folder.name.removeprefix(_PREFIX).split("-")[0]
                if not Path(f"/proc/{owner}").exists():
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def _members(folder: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split()]
    return []


def _writable(folder: Path) -> bool:
    probe = folder / f"{_PREFIX}{os.getpid()}-probe"
    try:
        probe.mkdir(exist_ok=True)
        probe.rmdir()
    except OSError:
        return False
    return True


def _delegated(folder: Path) -> bool:
    """True when children of `folder` get memory and pids limits, switching them on if we may."""
    control = folder / "cgroup.subtree_control"
    try:
        if not {"memory", "pids"} <= set(control.read_text(encoding="ascii").split()):
            control.write_text("+memory +pids", encoding="ascii")
    except OSError:
        return False
    return _writable(folder)
