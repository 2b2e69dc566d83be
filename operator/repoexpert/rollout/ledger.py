"""The ledger and the figures of a rollout. Pure but for writing the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from repoexpert.rollout.records import LEDGER, AttemptResult


@dataclass
class Summary:
    """What a run of rollouts came to. `results` is ordered by task order and attempt."""

    results: list[AttemptResult] = field(default_factory=list)
    reused: int = 0
    """Attempts taken from this folder or an earlier artifact."""
    infrastructure_failures: int = 0
    """Attempts without a result, after every retry."""
    lost_sandboxes: int = 0
    stopped_by_budget: bool = False
    seconds: float = 0.0

    def figures(self, tasks_per_unit: dict[str, int] | None = None) -> dict[str, Any]:
        """JSON values for the manifest."""
        units = sorted({result.unit for result in self.results} | set(tasks_per_unit or {}))
        return {
            "attempted": len(self.results),
            "verified": sum(result.outcome == "verified" for result in self.results),
            "cost": str(total_cost(self.results)),
            "reasons": dict(sorted(Counter(r.reason for r in self.results if r.reason).items())),
            "units": {unit: self._unit_figures(unit, (tasks_per_unit or {}).get(unit)) for unit in units},
            "exit_statuses": dict(sorted(Counter(result.exit_status for result in self.results).items())),
            "steps": sum(result.steps for result in self.results),
            "prompt_tokens": sum(result.prompt_tokens for result in self.results),
            "completion_tokens": sum(result.completion_tokens for result in self.results),
            "looping": sum(result.looping for result in self.results),
            "suspicious": sum(bool(result.suspicious) for result in self.results),
            "scripted": any(result.scripted for result in self.results),
            "reused": self.reused,
            "infrastructure_failures": self.infrastructure_failures,
            "lost_sandboxes": self.lost_sandboxes,
            "stopped_by_budget": self.stopped_by_budget,
            "seconds": round(self.seconds, 1),
        }

    def _unit_figures(self, unit: str, tasks: int | None) -> dict[str, Any]:
        results = [result for result in self.results if result.unit == unit]
        tried = {result.task for result in results}
        solved = {result.task for result in results if result.outcome == "verified"}
        return {
            "tasks": len(tried) if tasks is None else tasks,
            "tasks_attempted": len(tried),
            "attempts": len(results),
            "verified": sum(result.outcome == "verified" for result in results),
            "yield": round(len(solved) / len(tried), 4) if tried else 0.0,
        }


def total_cost(results: Iterable[AttemptResult]) -> Decimal:
    """US dollars."""
    return sum((Decimal(result.cost) for result in results), Decimal(0))


def write_ledger(out: Path, results: Sequence[AttemptResult]) -> None:
    """One line per attempt, without the patch, in the order given; replaces the file whole."""
    lines = [json.dumps(result.model_dump(mode="json", exclude={"patch"}), sort_keys=True) for result in results]
    aside = out / f".{LEDGER}"
    aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    aside.replace(out / LEDGER)
