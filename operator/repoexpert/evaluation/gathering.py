"""Puts the report together from what the stages left behind. Pure but for reading. Called by the evaluation stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repoexpert.api.expert import RepoExpert
from repoexpert.evaluation.records import Comparison, ModelResult, NllResult, Report, Subject, SuiteInfo
from repoexpert.evaluation.scoring import compare
from repoexpert.training.logs import logged_steps, read_rows

REPORT = "report.json"
RUNS = "runs"
TRAINING_LOG = "logging.jsonl"
_VOLATILE = frozenset(
    {"seconds", "reused", "lost_sandboxes", "elapsed", "started", "finished", "path", "log", "resumedAt"}
)
"""Figures of the machine, not of the work: equal inputs must give an equal report."""


def subject_of(expert: RepoExpert, cutoff_commit: str, until_commit: str) -> Subject:
    """What was trained."""
    spec = expert.spec
    teacher = spec.experience.teacher
    revision = spec.training.base_model.revision
    return Subject(
        name=expert.metadata.name,
        namespace=expert.metadata.namespace,
        repository=str(spec.repository.url),
        cutoff=str(spec.repository.cutoff),
        cutoff_commit=cutoff_commit,
        until_commit=until_commit,
        student=spec.training.base_model.source + (f"@{revision}" if revision else ""),
        teacher=teacher.model or teacher.provider,
        scripted_teacher=teacher.provider == "scripted",
    )


def make_report(
    subject: Subject,
    *,
    artifacts: Mapping[str, str],
    settings: Mapping[str, Any],
    stages: Mapping[str, Mapping[str, Any]],
    suites: Sequence[SuiteInfo],
    models: Sequence[ModelResult],
    nll: NllResult | None,
    curve: Sequence[dict[str, float]],
    served: str | None,
    seed: int,
) -> Report:
    """The report; comparisons are of the candidate with every other model on every suite that both ran."""
    return Report(
        subject=subject,
        artifacts=dict(artifacts),
        settings=dict(settings),
        stages={name: steady(summary) for name, summary in stages.items()},
        suites=tuple(info.model_copy(update={"summary": steady(info.summary)}) for info in suites),
        models=tuple(models),
        comparisons=tuple(_comparisons(models, seed)),
        nll=nll,
        training_curve=tuple(curve),
        served=served,
    )


def _comparisons(models: Sequence[ModelResult], seed: int) -> Iterator[Comparison]:
    candidate = next((model for model in models if model.role == "candidate"), None)
    for suite in candidate.suites if candidate else ():
        for model in models:
            other = next((scores for scores in model.suites if scores.suite == suite.suite), None)
            if model.role != "candidate" and other is not None:
                yield compare(suite, other, model.role, seed)


def steady(value: Any) -> Any:
    """A summary without the figures of the machine, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): steady(inner) for key, inner in value.items() if key not in _VOLATILE}
    return [steady(inner) for inner in value] if isinstance(value, list | tuple) else value


def training_curve(folder: Path) -> list[dict[str, float]]:
    """Step and loss from ms-swift's `logging.jsonl` in the training artifact."""
    # A resumed run logs a step again: the later row is what the model went on from.
    last = {row.step: row.loss for row in logged_steps(read_rows(folder / TRAINING_LOG)) if row.finite}
    return [{"step": float(step), "loss": last[step]} for step in sorted(last)]
