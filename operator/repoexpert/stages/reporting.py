"""Where a stage's progress goes: the log always, and a file that a runner polls when one is named."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repoexpert.progress import Progress, ProgressFile

log = logging.getLogger("repoexpert.progress")


class LogProgress:
    """Writes a line at most every `interval` seconds, and when everything is done."""

    def __init__(self, *, interval: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._last = float("-inf")

    def update(self, *, done: int, total: int | None = None, message: str = "", **facts: Any) -> None:
        now = self._clock()
        if now - self._last < self._interval and done != total:
            return
        self._last = now
        count = f"{done}/{total}" if total is not None else str(done)
        more = " ".join(f"{name}={value}" for name, value in facts.items())
        log.info("%s", " ".join(part for part in (count, message, more) if part))


class BothProgress:
    """Tells two listeners."""

    def __init__(self, first: Progress, second: Progress) -> None:
        self._both = (first, second)

    def update(self, *, done: int, total: int | None = None, message: str = "", **facts: Any) -> None:
        for listener in self._both:
            listener.update(done=done, total=total, message=message, **facts)


def with_file(progress: Progress, path: Path | None) -> Progress:
    """`progress`, and a file as well when there is one."""
    return progress if path is None else BothProgress(progress, ProgressFile(path))
