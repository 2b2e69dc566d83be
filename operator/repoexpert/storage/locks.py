"""Locks among processes of one machine, released by the kernel when their holder dies, however it dies.

Called by the store (one writer per artifact) and by the local runner (one run per expert).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_held: set[int] = set()


def _drop_in_child() -> None:
    """A forked worker must not keep the lock of a parent that was killed."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_in_child)


class Locked(Exception):
    """Somebody else holds the lock; `holder` is what they wrote into the file, normally their process id."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by process {holder or 'unknown'}")
        self.holder = holder


@contextlib.contextmanager
def lock(
    path: Path, *, wait: bool, waiting: Callable[[str], None] | None = None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold an exclusive lock on `path`; its folder must exist. The file is removed when the lock is given back.

    Raises Locked at once unless `wait`; while waiting, `waiting` is called once with the holder.
    """
    told = False
    while (descriptor := _attempt(path)) is None:
        holder = _holder(path)
        if not wait:
            raise Locked(path, holder)
        if waiting is not None and not told:
            waiting(holder)
            told = True
        sleep(0.1)
    _held.add(descriptor)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        _held.discard(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        with contextlib.suppress(OSError):
            os.close(descriptor)


def holder(path: Path) -> str | None:
    """Who holds the lock, or None when nobody does. Writes nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    finally:
        os.close(descriptor)
    return None


def _attempt(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder before us unlinks the file while it still holds it: a lock on an unlinked file guards nothing.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
