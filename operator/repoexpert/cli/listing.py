"""How listings look: one JSON object a line, or a table whose columns line up. Called by the listing commands."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from repoexpert.local.text import printable


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows; the table has the given columns, JSON has every key. `empty` goes to stderr when there are none."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False, default=str))
        return
    listed = list(rows)
    if not listed:
        typer.echo(empty, err=True)
        return
    for line in table(listed, columns, width=_width()):
        typer.echo(line)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, width: int | None) -> list[str]:
    """Lines with a heading; the last column is cut to `width`, numbers are set to the right."""
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[index]) for line in cells)) for index, column in enumerate(columns)]
    right = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    lines = []
    for line in [[column.upper() for column in columns], *cells]:
        padded = [
            text.rjust(size) if number else text.ljust(size)
            for text, size, number in zip(line, widths, right, strict=True)
        ]
        text = "  ".join(padded).rstrip()
        lines.append(text if width is None or len(text) <= width else text[: width - 1] + "…")
    return lines


def cell(value: Any) -> str:
    """One line, without control characters: names and messages come from foreign repositories."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else str(value)
    return printable(text.replace("\n", " "))


def size(count: int) -> str:
    """`512 B`, `3.4 MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _width() -> int | None:
    """The terminal's width; None when the output goes elsewhere and nothing may be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
