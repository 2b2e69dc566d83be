"""The stage graph: order, upstream edges, the spec paths each stage reads, and its format version.

This is the one place that says what a change of the spec re-runs. The local runner and the operator both import it.

Decisions that are not obvious:

- `training.gpus`, `training.nodes` and `training.checkpointSteps` are read by nobody. The recipe is fixed by
  `globalBatchSize`; how many devices share a batch, and how often a checkpoint is taken, changes speed and rounding but
  not what is learned, and a team that gets more GPUs must not lose a finished model. To train again, change the seed.
- `repository.ref` is read only through the commits it resolved to, so renaming a branch re-runs nothing.
- The served model is not an input of evaluation although `compareWith` may name it: promotion would otherwise make
  every evaluation stale at once. The report records which model was served when it was made.
- `experience.rollout.concurrency`, `.engine`, Secrets, `className`, `suspend`, `deletion` and `serving.replicas`
  say where and how fast, never what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

StageName = Literal["environment", "tasks", "rollout", "dataset", "training", "evaluation", "serving"]

STAGES: tuple[StageName, ...] = get_args(StageName)
"""In the order in which they run; every upstream stage comes before its readers."""


@dataclass(frozen=True)
class StageDefinition:
    """What a stage's result depends on."""

    name: StageName
    upstream: tuple[StageName, ...]
    """Stages whose artifacts it reads."""
    reads: tuple[str, ...]
    """camelCase paths below `spec`, each standing for its whole subtree."""
    resolved: tuple[Literal["cutoff_commit", "until_commit"], ...] = ()
    """Attributes of the resolution it reads."""
    format: int = 1
    """Raised when the same inputs shall give another artifact: stored ones are then made anew."""


DEFINITIONS: dict[StageName, StageDefinition] = {
    definition.name: definition
    for definition in (
        StageDefinition(
            name="environment",
            upstream=(),
            reads=("repository.url", "repository.cutoff", "environment"),
            resolved=("cutoff_commit",),
        ),
        StageDefinition(name="tasks", upstream=("environment",), reads=("experience.units",)),
        StageDefinition(
            name="rollout",
            upstream=("environment", "tasks"),
            reads=(
                "experience.teacher.provider",
                "experience.teacher.model",
                "experience.teacher.baseUrl",
                "experience.agent",
                "experience.rollout.attemptsPerTask",
                "experience.budget",
            ),
        ),
        StageDefinition(
            name="dataset",
            upstream=("tasks", "rollout"),
            reads=("experience.units", "training.baseModel", "training.maxLength"),
        ),
        StageDefinition(
            name="training",
            upstream=("dataset",),
            reads=(
                "training.baseModel",
                "training.method",
                "training.loraRank",
                "training.backend",
                "training.epochs",
                "training.globalBatchSize",
                "training.maxLength",
                "training.learningRate",
                "training.minLearningRate",
                "training.warmupFraction",
                "training.seed",
            ),
        ),
        StageDefinition(
            name="evaluation",
            upstream=("environment", "tasks", "dataset", "training"),
            reads=(
                "evaluation.suites",
                "evaluation.until",
                "evaluation.attempts",
                "evaluation.compareWith",
                "experience.agent",
                "serving.contextTokens",
                "serving.sampling",
            ),
            resolved=("until_commit",),
        ),
        StageDefinition(
            name="serving",
            upstream=("training", "evaluation"),
            reads=("evaluation.gate", "serving.enabled"),
        ),
    )
}


def downstream(stage: StageName) -> tuple[StageName, ...]:
    """Every stage that depends on `stage`, directly or not, in order."""
    found: set[StageName] = {stage}
    for name in STAGES:
        if found.intersection(DEFINITIONS[name].upstream):
            found.add(name)
    return tuple(name for name in STAGES if name in found and name != stage)


def readers(path: str) -> tuple[StageName, ...]:
    """The stages that read the spec field at a camelCase path ("training.seed"), not counting what follows from them."""
    return tuple(
        name for name in STAGES if any(path == read or path.startswith(f"{read}.") for read in DEFINITIONS[name].reads)
    )
