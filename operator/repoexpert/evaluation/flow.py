"""What went in and what was lost, from the stages' summaries. Pure. Called by the page and the model card.

Summaries are JSON of other stages: a key that is missing leaves its step out, so that an older artifact still reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

Summaries = Mapping[str, Mapping[str, Any]]


class Step(NamedTuple):
    """One step of the way from history to training rows."""

    label: str
    total: int
    lost: dict[str, int]
    headline: bool = False


def steps(stages: Summaries) -> list[Step]:
    """The way of the data in order."""
    found = [_candidates(stages), _proven(stages), *_attempts(stages), *_rows(stages)]
    return [step for step in found if step is not None]


def unit_yields(stages: Summaries) -> dict[str, dict[str, Any]]:
    """Unit to the rollout's figures for it."""
    units = _mapping(stages.get("rollout"), "units")
    return {str(unit): dict(row) for unit, row in units.items() if isinstance(row, Mapping)}


def _candidates(stages: Summaries) -> Step | None:
    count = _number(stages.get("tasks"), "candidates", "considered")
    if count is None:
        return None
    rejects = _counts(_mapping(stages.get("tasks"), "rejects") or _mapping(stages.get("tasks"), "rejected"))
    return Step("candidate changes", count, rejects)


def _proven(stages: Summaries) -> Step | None:
    count = _number(stages.get("tasks"), "proven", "tasks")
    return None if count is None else Step("proven tasks", count, {}, headline=True)


def _attempts(stages: Summaries) -> list[Step]:
    rollout = stages.get("rollout")
    attempted, verified = _number(rollout, "attempted"), _number(rollout, "verified")
    if attempted is None or verified is None:
        return []
    infrastructure = _number(rollout, "infrastructure_failures", "infrastructureFailures") or 0
    lost = _counts(_mapping(rollout, "reasons"))
    named = {"infrastructure": infrastructure} if infrastructure else {}
    return [
        Step("attempts of the teacher", attempted, {**lost, **named}),
        Step("verified trajectories", verified, _dataset_losses(stages), headline=True),
    ]


def _dataset_losses(stages: Summaries) -> dict[str, int]:
    """What the filters took from verified attempts; attempts that never verified were named at the step before."""
    units = _mapping(stages.get("dataset"), "units").values()
    lost = {str(number): unit.get("lost", {}) for number, unit in enumerate(units) if isinstance(unit, Mapping)}
    return {name: count for name, count in _counts(lost).items() if name not in ("notVerified", "notSubmitted")}


def _rows(stages: Summaries) -> list[Step | None]:
    rows = _mapping(stages.get("dataset"), "rows")
    named = (("train", "rows to train on"), ("heldout", "rows held out"))
    return [
        None if (count := _number(rows, key)) is None else Step(label, count, {}, headline=True) for key, label in named
    ]


def _mapping(summary: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    value = (summary or {}).get(key)
    return value if isinstance(value, Mapping) else {}


def _number(summary: Mapping[str, Any] | None, *keys: str) -> int | None:
    for key in keys:
        value = (summary or {}).get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, Mapping) and value and all(isinstance(inner, int) for inner in value.values()):
            return sum(value.values())
    return None


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    """Counts by reason, summed over units where they are nested, most frequent first."""
    total: Counter[str] = Counter()
    for key, value in found.items():
        if isinstance(value, Mapping):
            total.update(_counts(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            total[str(key)] += value
    return {name: count for name, count in sorted(total.items(), key=lambda item: (-item[1], item[0])) if count}
