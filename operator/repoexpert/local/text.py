"""Figures, times and foreign text in few words. Pure; called by the views and by the listing commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def brief(summary: Mapping[str, Any], *, most: int = 4) -> str:
    """The first plain figures of a stage's summary, for one line of a table."""
    parts = []
    for name, value in summary.items():
        if isinstance(value, bool):
            parts.append(f"{words(name)} {'yes' if value else 'no'}")
        elif isinstance(value, int | float):
            parts.append(f"{words(name)} {number(value)}")
        elif isinstance(value, str) and 0 < len(value) <= 32:
            parts.append(f"{words(name)} {value}")
        if len(parts) == most:
            break
    return " · ".join(parts)


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
