"""The task record: what is asked, of which tree, and how an answer is verified. Frozen data, no behaviour."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Unit = Literal["softwareDesign", "contextualImplementation", "evolutionaryReplay", "semanticRuntimeAlignment"]

UNIT_FOLDERS: dict[str, str] = {
    "softwareDesign": "software_design",
    "contextualImplementation": "ctx_impl",
    "evolutionaryReplay": "evo_replay",
    "semanticRuntimeAlignment": "rt_alignment",
}
"""Folder of a unit in a published dataset, as in the paper's `swespot/sft-v0`."""

Tier = Literal["exact", "three-way", "hunks", "symbols"]
"""How a change was undone in the tree at the cutoff, strictest first."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Provenance(_Record):
    """Where a task comes from."""

    commits: tuple[str, ...]
    pull_request: str | None = None
    title: str = ""
    committed: datetime
    tier: Tier
    files: tuple[str, ...] = Field(description="Source files whose content the start patch changes.")
    symbols: tuple[str, ...] = Field(default=(), description="`path::Qualified.name` of changed functions and classes.")
    part: str = Field(default="", description="Which independent part of a split commit; empty: the whole.")


class Verification(_Record):
    """How an answer is graded, always in a fresh sandbox from the patch alone.

    evolutionaryReplay: start tree + answer, then `reference_files` restored from the repository's own tree;
    every test of `fail_to_pass` and `pass_to_pass` must pass (a missing one fails).
    semanticRuntimeAlignment: the answer touches tests only; its new or changed tests fail on the start tree for a
    reason that is not a collection or import error, and pass once `fix_patch` is applied as well, twice.
    """

    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...] = ()
    reference_files: tuple[str, ...] = Field(default=(), description="Test files restored before grading.")
    fix_patch: str = Field(default="", description="From the start tree to the fixed sources.")


class Proof(_Record):
    """What was seen before any model saw the task; runs are repeated twice."""

    reference_runs: int
    start_runs: int
    failures: dict[str, str] = Field(default_factory=dict, description="fail_to_pass test to its error's type.")


class Task(_Record):
    """One task. `id` is a hash of everything that defines it, so equal tasks have equal ids."""

    format: Literal[1] = 1
    id: str
    unit: Unit
    repository: str = Field(description="The repository's URL without credentials.")
    commit: str = Field(description="Commit of the tree that the start patch applies to.")
    start_patch: str = Field(description="Unified diff: the repository's tree to the start tree.")
    statement: str
    verification: Verification
    reference: str = Field(description="Unified diff on the start tree that solves the task.")
    provenance: Provenance
    proof: Proof


def read_tasks(file: Path) -> list[Task]:
    """The tasks of a `tasks.jsonl`, in order."""
    # Not splitlines: a patch may hold U+2028 and the like, which JSON does not escape.
    lines = file.read_text(encoding="utf-8").split("\n")
    return [Task.model_validate_json(line) for line in lines if line.strip()]


def task_id(unit: str, commit: str, start_patch: str, statement: str, verification: Verification) -> str:
    """`replay-` or `alignment-` and 12 hex digits, a function of the content alone."""
    prefix = {
        "evolutionaryReplay": "replay",
        "semanticRuntimeAlignment": "alignment",
        "softwareDesign": "design",
        "contextualImplementation": "implementation",
    }[unit]
    body = json.dumps([unit, commit, start_patch, statement, verification.model_dump(mode="json")], sort_keys=True)
    return f"{prefix}-{hashlib.sha256(body.encode()).hexdigest()[:12]}"
