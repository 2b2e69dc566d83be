"""Figures, times and foreign text in few words. Pure; called by the views and by the listing commands."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any


def brief(summary: Mapping[str, Any], *, most: int = 5) -> str:
    """The first plain figures of a stage's summary, for one line of a table; nested ones are named by their path."""
    return " · ".join(itertools.islice(_figures(summary, ""), most))


def _figures(summary: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, value in summary.items():
        name = f"{above}{words(str(key))}"
        if isinstance(value, bool):
            yield f"{name} {'yes' if value else 'no'}"
        elif isinstance(value, int | float):
            yield f"{name} {number(value)}"
        elif isinstance(value, str) and 0 < len(value) <= 24:
            yield f"{name} {value}"
        elif isinstance(value, Mapping):
            yield from _figures(value, f"{name} ")


def words(name: str) -> str:
    """`heldOutRows` and `held_out_rows` as `held out rows`."""
    spaced = "".join(f" {char.lower()}" if char.isupper() else char for char in name)
    return spaced.replace("_", " ").replace("-", " ").strip()


def number(value: float) -> str:
    """A figure short enough for a table."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """`42s`, `3m12s`, `2h05m`; empty for None."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def printable(text: str) -> str:
    """`text` with control characters made visible: what a repository or a model wrote must not steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)
