"""The evaluation suites: which there are, what `heldout` depends on, and its folder's layout. Pure but for reading.

A suite is an artifact of its own in the store, so that training anew does not make its tasks anew:
    tasks.jsonl     proven tasks from the history after the cutoff
    environment/    the environment at the last commit of that history
    suite.json      SuiteInfo
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repoexpert.api.evaluation import Suite
from repoexpert.api.expert import RepoExpert
from repoexpert.errors import BadInput, StageFailed
from repoexpert.evaluation.records import SuiteInfo
from repoexpert.experience.tasks import Task
from repoexpert.experience.tasks import read_tasks as read_task_rows

STAGE = "suite"
FORMAT = 1
TASKS = "tasks.jsonl"
ENVIRONMENT = "environment"
INFO = "suite.json"
UNITS = ("evolutionaryReplay", "semanticRuntimeAlignment")
"""Issue resolving and test generation."""
DEFAULT_LIMIT = 100
"""Tasks of `heldout` when no limit is given: an interval of about ten points either side; more costs much and tells little."""
_AVAILABLE = frozenset({"heldout"})


def check_available(expert: RepoExpert) -> None:
    """Raises BadInput for a suite that this version cannot run."""
    missing = [suite.name for suite in expert.spec.evaluation.suites if suite.name not in _AVAILABLE]
    if missing:
        raise BadInput(
            f"spec.evaluation.suites: {', '.join(missing)} not available yet; use `heldout`, which is made from the "
            "repository's own history after the cutoff"
        )


def check_history(expert: RepoExpert, cutoff_commit: str, until_commit: str) -> None:
    """Raises BadInput when nothing follows the cutoff."""
    if cutoff_commit == until_commit:
        until = expert.spec.evaluation.until
        limit = f"evaluation.until ({until})" if until else f"the end of {expert.spec.repository.ref}"
        raise BadInput(
            f"suite heldout needs history after the cutoff, and there is no commit between repository.cutoff "
            f"({expert.spec.repository.cutoff}) and {limit}: move repository.cutoff back"
            + (" or evaluation.until forward" if until else "")
        )


def wanted_units(suite: Suite) -> dict[str, int]:
    """How many tasks of each unit: the limit in equal parts, issue resolving first when it is odd."""
    limit = suite.limit or DEFAULT_LIMIT
    wanted = {unit: (limit + len(UNITS) - 1 - place) // len(UNITS) for place, unit in enumerate(UNITS)}
    return {unit: count for unit, count in wanted.items() if count}


def fingerprint(suite: Suite, *, url: str, cutoff_commit: str, until_commit: str, day: str, environment: Any) -> str:
    """What the suite's content depends on. `environment`: the environment part of the spec, JSON values."""
    return digest_of(
        [STAGE, FORMAT, suite.name, wanted_units(suite), url, cutoff_commit, until_commit, day, environment]
    )


def digest_of(value: Any) -> str:
    """sha256 of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_suite(folder: Path, name: str, tasks: list[Task], summary: Mapping[str, Any]) -> SuiteInfo:
    """Write `tasks.jsonl` and `suite.json`. Raises StageFailed when there is nothing to judge with."""
    if not tasks:
        raise StageFailed(
            f"suite {name}: no change after the cutoff could be turned into a proven task; what became of them: "
            f"{json.dumps(summary, sort_keys=True, default=str)[:1500]}. Move repository.cutoff back, or "
            "evaluation.until forward"
        )
    info = SuiteInfo(
        name=name,
        tasks=len(tasks),
        units={unit: count for unit in UNITS if (count := sum(task.unit == unit for task in tasks))},
        description="Issue resolving and test generation on work dated after the cutoff",
        summary=dict(summary),
    )
    (folder / TASKS).write_text("".join(task.model_dump_json() + "\n" for task in tasks), encoding="utf-8")
    (folder / INFO).write_text(info.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    return info


def read_info(folder: Path) -> SuiteInfo:
    """What a suite is made of."""
    return SuiteInfo.model_validate_json((folder / INFO).read_bytes())


def read_tasks(folder: Path) -> list[Task]:
    """The suite's tasks in order."""
    return read_task_rows(folder / TASKS)
