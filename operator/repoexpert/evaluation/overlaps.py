"""Which tasks of a suite the student may have seen in training. Pure but for reading. Called by the evaluation stage.

The suite's commits are later than the training's, but a fix may have been lost and made again: the same change on both
sides would reward memory. Such a task is not counted. Texts that share half of their 13-grams are told, and counted:
two changes of one function often do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repoexpert.dataset.shingles import Reserved
from repoexpert.evaluation.records import SuiteInfo
from repoexpert.experience.tasks import Task


@dataclass(frozen=True)
class Overlaps:
    """Ids of the suite's tasks that repeat something of the training data."""

    same_change: tuple[str, ...] = ()
    similar_text: tuple[str, ...] = ()


def trained_tasks(train: Path, tasks: Iterable[Task]) -> list[Task]:
    """The tasks with a trajectory in the dataset's training file."""
    rows = (json.loads(line) for line in train.read_text(encoding="utf-8").split("\n") if line.strip())
    trained = {row["id"].rpartition("/")[0] for row in rows}
    return [task for task in tasks if task.id in trained]


def find_overlaps(suite: Sequence[Task], trained: Iterable[Task]) -> Overlaps:
    """Compare every task of the suite with all that was trained on, whatever the unit."""
    known = list(trained)
    reserved = Reserved(
        ids=[task.id for task in known],
        patches=[patch for task in known for patch in _changes(task)],
        texts=[text for task in known for text in (task.statement, *_changes(task))],
    )
    reasons = {task.id: reserved.reason([task.id], _changes(task), [task.statement, *_changes(task)]) for task in suite}
    return Overlaps(
        same_change=tuple(sorted(task for task, reason in reasons.items() if reason in ("id", "patch"))),
        similar_text=tuple(sorted(task for task, reason in reasons.items() if reason == "text")),
    )


def describe(info: SuiteInfo, overlaps: Overlaps) -> SuiteInfo:
    """The suite as the report tells it."""
    found = {"sameChange": list(overlaps.same_change), "similarText": list(overlaps.similar_text)}
    count = len(overlaps.same_change)
    note = f"; {count} of them repeat a change that was trained on and are not counted" if count else ""
    return info.model_copy(
        update={
            "description": info.description + note,
            "summary": {**info.summary, "overlapWithTraining": found},
        }
    )


def _changes(task: Task) -> list[str]:
    """The fix, and for a test-writing task the reference tests."""
    return [patch for patch in dict.fromkeys((task.verification.fix_patch, task.reference)) if patch.strip()]
