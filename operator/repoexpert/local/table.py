"""The table of stages, drawn with rich. Apart from `views`, which must load without rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from repoexpert.local.state import StageStatus
from repoexpert.local.text import duration, number, printable
from repoexpert.local.views import left, progress

_STYLES = {
    "up to date": ("✓", "green"),
    "done": ("✓", "green"),
    "running": ("", "cyan"),
    "retrying": ("↻", "yellow"),
    "waiting": ("·", "dim"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
}
_SPINNER = Spinner("dots", style="cyan")


def draw(title: str, rows: Sequence[StageStatus], now: float, width: int = 120) -> RenderableType:
    """A row a stage: mark, name, state, progress, time, what it says; `width` is the terminal's in columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True, min_width=11)
    table.add_column(no_wrap=True, min_width=10)
    table.add_column(no_wrap=True, justify="right", min_width=6)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        mark, style = _STYLES[row.state]
        state = row.state if row.attempt == 1 or row.state != "running" else f"running ({row.attempt}. try)"
        table.add_row(
            _SPINNER if row.state == "running" else Text(mark, style=style),
            Text(row.name, style="bold" if row.state == "running" else style if row.state == "waiting" else ""),
            Text(state, style=style),
            Text(duration(row.elapsed(now)), style="dim"),
            _what(row),
        )
    # Room for the `^C` that a terminal writes at the cursor: a line that wraps would shift the next drawing.
    return Constrain(Group(Text(title, style="bold", no_wrap=True, overflow="ellipsis"), table), width - 3)


def _what(row: StageStatus) -> RenderableType:
    message = row.message.partition("\n")[0]
    if row.state not in ("running", "retrying"):
        return Text(printable(message), style="red" if row.state == "failed" else "dim")
    rate = row.meter.rate
    parts = [
        progress(row),
        "" if rate is None else f"{number(rate)}/s" if rate >= 1 else f"{number(rate * 60)}/min",
        left(row),
        message,
        *(f"{name} {number(value)}" for name, value in row.facts.items() if _is_number(value)),
    ]
    text = Text(printable(" · ".join(part for part in parts if part)), no_wrap=True, overflow="ellipsis")
    if not row.total or not isinstance(row.done, int):
        return text
    line = Table.grid(padding=(0, 1))
    line.add_column(width=16)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(ProgressBar(total=row.total, completed=row.done, width=16), text)
    return line


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
