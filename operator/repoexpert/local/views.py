"""How a run is shown: a live table on a terminal, a line per change elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from repoexpert.local.state import StageStatus
from repoexpert.local.text import duration, number, printable

LINE_SECONDS = 15.0
"""Between two progress lines of one stage where there is no terminal."""


class View(Protocol):
    """Shows rows."""

    def showing(self, rows: Sequence[StageStatus]) -> AbstractContextManager[None]:
        """Around the run."""

    def changed(self, rows: Sequence[StageStatus]) -> None:
        """Something in the rows is new."""

    def ticked(self, rows: Sequence[StageStatus]) -> None:
        """Nothing is new but the time."""


class LineView:
    """One line a change: every change of state, and progress now and then."""

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.time) -> None:
        self._out = out
        self._clock = clock
        self._states: dict[str, tuple[str, int]] = {}
        self._said: dict[str, float] = {}

    def showing(self, rows: Sequence[StageStatus]) -> AbstractContextManager[None]:
        return nullcontext()

    def changed(self, rows: Sequence[StageStatus]) -> None:
        now = self._clock()
        for row in rows:
            new_state = self._states.get(row.name) != (row.state, row.attempt)
            due = row.state == "running" and bool(progress(row)) and now - self._said.get(row.name, 0.0) >= LINE_SECONDS
            if row.state == "waiting" or not (new_state or due):
                continue
            self._states[row.name] = (row.state, row.attempt)
            self._said[row.name] = now
            # Why a stage failed is said once, in full, at the end of the run.
            message = "" if row.state == "failed" else row.message.partition("\n")[0]
            text = " · ".join(part for part in (progress(row), left(row), message) if part)
            took = duration(row.elapsed(now)) if row.state in ("done", "failed", "stopped") else ""
            state = f"{row.state} in {took}" if took else row.state
            stamp = datetime.fromtimestamp(now).strftime("%H:%M:%S")
            self._out.write(f"{stamp} {row.name:<12} {state}{': ' if text else ''}{printable(text)}\n")
        self._out.flush()

    def ticked(self, rows: Sequence[StageStatus]) -> None:
        return None


class JsonView:
    """One JSON object a line: each row that changed."""

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.time) -> None:
        self._out = out
        self._clock = clock
        self._last: dict[str, dict[str, Any]] = {}

    def showing(self, rows: Sequence[StageStatus]) -> AbstractContextManager[None]:
        return nullcontext()

    def changed(self, rows: Sequence[StageStatus]) -> None:
        for row in rows:
            value = as_json(row, self._clock())
            news = {key: part for key, part in value.items() if key not in ("elapsedSeconds", "etaSeconds", "rate")}
            if self._last.get(row.name) != news:
                self._last[row.name] = news
                self.say({"event": "stage", **value})

    def ticked(self, rows: Sequence[StageStatus]) -> None:
        return None

    def say(self, value: dict[str, Any]) -> None:
        """Write one object with the time."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        self._out.write(json.dumps({"time": stamp, **value}) + "\n")
        self._out.flush()


class TableView:
    """A table that is drawn anew a few times a second."""

    def __init__(self, title: str, *, clock: Callable[[], float] = time.time) -> None:
        self._title = title
        self._clock = clock
        self._live: Any = None

    @contextmanager
    def showing(self, rows: Sequence[StageStatus]) -> Iterator[None]:
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            self._live = live
            self.changed(rows)
            yield
            self._live = None

    def changed(self, rows: Sequence[StageStatus]) -> None:
        from repoexpert.local.table import draw

        if self._live is not None:
            with _undisturbed():
                self._live.update(draw(self._title, rows, self._clock(), self._live.console.width), refresh=True)

    def ticked(self, rows: Sequence[StageStatus]) -> None:
        self.changed(rows)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A Ctrl-C in the middle of a drawing would leave half a table: it waits until the drawing is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def progress(row: StageStatus) -> str:
    """`12/40`, `12`, or nothing."""
    if row.state not in ("running", "retrying") or not isinstance(row.done, int):
        return ""
    return f"{number(row.done)}/{number(row.total)}" if row.total else (number(row.done) if row.done else "")


def left(row: StageStatus) -> str:
    """`3m12s left`, or nothing."""
    if row.state != "running" or row.meter.eta is None:
        return ""
    return f"{duration(row.meter.eta)} left"


def as_json(row: StageStatus, now: float) -> dict[str, Any]:
    """A row for programs."""
    value = {
        "stage": row.name,
        "state": row.state,
        "fingerprint": row.fingerprint,
        "attempt": row.attempt,
        "done": row.done,
        "total": row.total,
        "rate": row.meter.rate if row.state == "running" else None,
        "etaSeconds": row.meter.eta if row.state == "running" else None,
        "elapsedSeconds": row.elapsed(now),
        "message": row.message,
        "facts": row.facts if row.state == "running" else {},
        "summary": dict(row.summary),
    }
    return {key: part for key, part in value.items() if part not in (None, "", {})}
