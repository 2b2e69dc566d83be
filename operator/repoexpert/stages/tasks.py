"""The tasks stage: proven tasks for the unit mix from the history up to the cutoff.

Reads the environment artifact; writes `tasks.jsonl`, `rejected.jsonl` and `summary.json`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from repoexpert.experience.making import TaskSet, discard_proofs, make_tasks, require_tasks, with_margin
from repoexpert.experience.units import wanted_units
from repoexpert.repository.mirror import Mirrors
from repoexpert.stages.context import StageContext
from repoexpert.stages.pools import open_pool

_SUMMARY = "summary.json"


def run(context: StageContext) -> dict[str, Any]:
    """Prove tasks, about a quarter more than trajectories are wanted; the summary counts candidates and rejects."""
    finished = _finished(context.work)
    if finished is None:
        made = asyncio.run(_make(context))
        require_tasks(made)
        finished = _write(context.work, made)
    discard_proofs(context.work)
    return finished


def units_of(context: StageContext) -> Mapping[str, int]:
    """The mix by the unit's name in the API."""
    return context.expert.spec.experience.units.model_dump(by_alias=True, exclude_none=True)


async def _make(context: StageContext) -> TaskSet:
    wanted = wanted_units(units_of(context))
    mirror = Mirrors(context.cache).ensure(context.resolution.url, context.resolution.cutoff_commit)
    environment = context.inputs["environment"]
    return await make_tasks(
        mirror=mirror,
        environment_dir=environment,
        commit=context.resolution.cutoff_commit,
        after_commit=None,
        units={unit: with_margin(number) for unit, number in wanted.items()},
        work=context.work,
        pool_factory=lambda: open_pool(environment, context.cache),
        jobs=context.jobs,
        progress=context.progress,
    )


def _finished(work: Path) -> dict[str, Any] | None:
    """The summary of a run that was killed after its last file."""
    try:
        summary: dict[str, Any] = json.loads((work / _SUMMARY).read_bytes())
    except FileNotFoundError:
        return None
    return summary


def _write(work: Path, made: TaskSet) -> dict[str, Any]:
    write_rows(work / "tasks.jsonl", made.tasks)
    write_rows(work / "rejected.jsonl", made.rejected)
    _replace(work / _SUMMARY, json.dumps(made.summary, indent=1) + "\n")
    return made.summary


def write_rows(path: Path, rows: Iterable[BaseModel]) -> None:
    """One JSON object a line; the file appears whole."""
    _replace(path, "".join(f"{row.model_dump_json()}\n" for row in rows))


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
