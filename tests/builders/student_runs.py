"""A dataset stage and a training stage on the tiny model, ready to run: the fewest moving parts around real ms-swift."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repoexpert.api.expert import RepoExpert
from repoexpert.progress import NoProgress, Progress
from repoexpert.stages.context import Resolution, StageContext
from repoexpert.storage.store import open_store
from tests.builders.trajectories import task, write_rollout


def expert(model: str, **training: Any) -> RepoExpert:
    """An expert whose student is `model` (a source), trained on the CPU."""
    recipe = {
        "baseModel": {"source": model}, "backend": "transformers", "gpus": 0, "epochs": 1, "globalBatchSize": 2,
        "maxLength": 4096, "learningRate": "1e-3", "minLearningRate": "1e-4", **training,
    }  # fmt: skip
    return RepoExpert.model_validate(
        {
            "apiVersion": "repoexpert.dev/v1alpha1",
            "kind": "RepoExpert",
            "metadata": {"name": "demo"},
            "spec": {
                "repository": {"url": "https://example.org/team/pkg.git", "cutoff": "2024-06-30"},
                "experience": {
                    "units": {"evolutionaryReplay": 2048, "semanticRuntimeAlignment": 2048},
                    "teacher": {"provider": "scripted"},
                },
                "training": recipe,
            },
        }
    )


def context(
    of: RepoExpert, root: Path, inputs: Mapping[str, Path], work: str, progress: Progress | None = None
) -> StageContext:
    """A stage's context below `root`; `inputs` are folders."""
    (root / work).mkdir(parents=True, exist_ok=True)
    return StageContext(
        expert=of,
        resolution=Resolution(url="https://example.org/team/pkg.git", cutoff_commit="a" * 40, until_commit="b" * 40),
        store=open_store(str(root / "store"), cache=root / "cache"),
        inputs=inputs,
        work=root / work,
        cache=root / "cache",
        progress=progress or NoProgress(),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )


def write_inputs(root: Path, *, tasks: int = 10, count: int = 3, words: int = 40) -> dict[str, Path]:
    """Tasks and rollout folders with one verified attempt a task."""
    made = [task(number) for number in range(tasks)]
    (root / "tasks").mkdir(parents=True)
    (root / "tasks/tasks.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in made), encoding="utf-8")
    write_rollout(root / "rollout", made, count=count, words=words)
    return {"tasks": root / "tasks", "rollout": root / "rollout"}
