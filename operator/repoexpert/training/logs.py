"""Reads ms-swift's `logging.jsonl`: steps, loss, and what went wrong. Pure but for the file.

Called by the launcher while the trainer runs. Both engines are covered: transformers writes `"global_step/max_steps":
"5/24"`, Megatron `"iteration": "5/100"`; the last row is a summary without a loss.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoggedStep:
    """One optimizer step."""

    step: int
    steps: int
    loss: float
    learning_rate: float | None = None
    grad_norm: float | None = None

    @property
    def finite(self) -> bool:
        """False when the loss or the gradient is NaN or infinite: the weights are lost."""
        return math.isfinite(self.loss) and (self.grad_norm is None or math.isfinite(self.grad_norm))


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Every whole row; a last line that is still being written is left out."""
    if not file.exists():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def logged_steps(rows: Iterable[dict[str, Any]]) -> list[LoggedStep]:
    """Rows with a step and a loss, in the order written."""
    found = []
    for row in rows:
        position = _position(row)
        if position is not None and isinstance(row.get("loss"), int | float):
            rate, norm = row.get("learning_rate"), row.get("grad_norm")
            found.append(LoggedStep(*position, loss=row["loss"], learning_rate=rate, grad_norm=norm))
    return found


def without_replayed(rows: Iterable[dict[str, Any]], resumed_at: int) -> list[dict[str, Any]]:
    """Rows of steps up to a checkpoint: what the resumed trainer will log again is left out, so is a summary."""
    return [row for row in rows if (position := _position(row)) is not None and position[0] <= resumed_at]


def rows_trained(output: str) -> int | None:
    """How many rows ms-swift kept, from its own output; None before it says so."""
    found = re.findall(r"Dataset Token Length: .*?size=(\d+)", output)
    return int(found[-1]) if found else None


_CAUSES = (
    (r"CUDA out of memory|OutOfMemoryError|not enough memory|DefaultCPUAllocator: can't allocate", "memory"),
    (r"No space left on device", "disk"),
)


def known_cause(output: str) -> str | None:
    """`memory` or `disk` when the trainer's output says it ran out of it."""
    return next((cause for pattern, cause in _CAUSES if re.search(pattern, output)), None)


def last_error(output: str, lines: int = 12) -> str:
    """The end of the output, from its last traceback's final lines, without progress bars."""
    kept = [line for line in output.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]
    return "\n".join(kept[-lines:])


def _position(row: dict[str, Any]) -> tuple[int, int] | None:
    text = row.get("global_step/max_steps", row.get("iteration"))
    if not isinstance(text, str):
        return None
    step, _, steps = text.partition("/")
    return (int(step), int(steps)) if step.isdigit() and steps.isdigit() else None
