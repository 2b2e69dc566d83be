"""What is known of a run, stage by stage, and how it moves on. No IO: the runner changes it, the views show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["up to date", "waiting", "running", "retrying", "done", "failed", "stopped"]

WINDOW_SECONDS = 120.0
"""The rate is that of the last two minutes: stages have slow starts."""


class Meter:
    """Rate and time left from (time, done) samples."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._total: int | None = None

    def add(self, when: float, done: int, total: int | None) -> None:
        """Take a sample. A new total or a smaller count is a new phase, measured afresh."""
        if total != self._total or (self._samples and done < self._samples[-1][1]):
            self._samples.clear()
        self._total = total
        if not self._samples or when > self._samples[-1][0]:
            self._samples.append((when, done))
        while when - self._samples[0][0] > WINDOW_SECONDS and len(self._samples) > 2:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Items a second; None until it can be told."""
        if len(self._samples) < 2:
            return None
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if last > first else None

    @property
    def eta(self) -> float | None:
        """Seconds left; None when nobody can tell."""
        if self._total is None or self.rate is None:
            return None
        return max(0.0, (self._total - self._samples[-1][1]) / self.rate)


@dataclass
class StageStatus:
    """One row of the table."""

    name: str
    fingerprint: str
    state: State = "waiting"
    done: int | None = None
    total: int | None = None
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1
    started: float | None = None
    finished: float | None = None
    meter: Meter = field(default_factory=Meter)
    summary: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, now: float, attempt: int) -> None:
        """The stage's process starts, for the first time or again."""
        self.state, self.attempt, self.message = "running", attempt, ""
        self.started = self.started if self.started is not None else now
        self.meter = Meter()

    def end(self, state: State, now: float, *, message: str = "", summary: Mapping[str, Any] | None = None) -> None:
        """The stage is over, one way or the other."""
        self.state, self.finished, self.message = state, now, message
        self.summary = summary or {}

    def report(self, progress: Mapping[str, Any]) -> bool:
        """Take a progress report; False when it is not news."""
        done, total = progress.get("done"), progress.get("total")
        message = str(progress.get("message") or "")
        facts = {key: value for key, value in progress.items() if key not in _OWN}
        if (done, total, message, facts) == (self.done, self.total, self.message, self.facts):
            return False
        self.done, self.total, self.message, self.facts = done, total, message, facts
        if isinstance(done, int):
            self.meter.add(float(progress.get("updated", 0.0)), done, total)
        return True

    def elapsed(self, now: float) -> float | None:
        """Seconds since the start; None when it has not started."""
        if self.started is None:
            return None
        return (self.finished if self.finished is not None else now) - self.started


_OWN = ("done", "total", "message", "started", "updated")
