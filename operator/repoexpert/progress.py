"""How a stage tells what it is doing. The stage knows only this Protocol, not who listens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Progress(Protocol):
    """Receives a stage's progress. Calls are cheap: a stage may report every item."""

    def update(self, *, done: int, total: int | None = None, message: str = "", **facts: Any) -> None:
        """Report `done` of `total` items; `facts` are JSON values worth showing (loss, tokens per second)."""


class NoProgress:
    """Listens to nothing."""

    def update(self, *, done: int, total: int | None = None, message: str = "", **facts: Any) -> None:
        return None


class ProgressFile:
    """Writes the newest report to a file, at most every `interval` seconds; each write replaces the file whole."""

    def __init__(self, path: Path, *, interval: float = 0.5, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._interval = interval
        self._clock = clock
        self._last = float("-inf")
        self._started = clock()

    def update(self, *, done: int, total: int | None = None, message: str = "", **facts: Any) -> None:
        now = self._clock()
        if now - self._last < self._interval and done != total:
            return
        self._last = now
        report = {"done": done, "total": total, "message": message, "started": self._started, "updated": now, **facts}
        aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        aside.write_text(json.dumps(report), encoding="utf-8")
        aside.replace(self._path)
