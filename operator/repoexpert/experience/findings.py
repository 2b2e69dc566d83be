"""What proving found out about one candidate: a proof or a reason. Written to `proofs/KEY.json`, read again on resume.

Holds nothing that differs between two runs (no times, no paths), so that a run that was killed and goes on ends with
the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repoexpert.repository.candidates import Candidate

Reason = Literal[
    "no-tests-found",  # nothing executes, imports or is named like what changed
    "no-test-breaks",  # every selected test passes with the change undone
    "unstable",  # tests fail, but not twice in the same way
    "hangs",  # a test runs into its time limit with the change undone
    "too-broad",  # unrelated tests or more than half of the stable ones fail
    "undefined-name",  # all that breaks is a name that the undone part leaves undefined
    "test-not-removable",  # a failing test cannot be taken out of its file
    "start-tree-broken",  # the suite does not pass once the failing tests are taken out
    "reference-fails",  # the tests do not pass again with the change put back
    "patch-does-not-apply",
    "not-utf8",
    "fails-by-import",  # semanticRuntimeAlignment only: nothing to reproduce but an import error
]


class Failing(BaseModel):
    """How a test fails in the start tree, the same in both runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str
    message: str
    phase: str


class Finding(BaseModel):
    """The outcome of proving one candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    key: str
    reason: Reason | None = Field(default=None, description="Why it is rejected; null when it is proven.")
    detail: str = ""
    start_patch: str = ""
    sources_patch: str = Field(default="", description="From the start tree: the bug undone.")
    tests_patch: str = Field(default="", description="From the start tree: the removed tests put back.")
    reference_files: tuple[str, ...] = ()
    fail_to_pass: dict[str, Failing] = Field(default_factory=dict)
    pass_to_pass: tuple[str, ...] = ()
    selected_by: str = ""

    @property
    def reproducible(self) -> tuple[str, ...]:
        """Tests that fail while running, for a reason other than an import: what a reproduction test can show."""
        return tuple(
            test for test, failing in self.fail_to_pass.items()
            if failing.phase == "call" and failing.error not in ("ImportError", "ModuleNotFoundError", "SyntaxError")
        )  # fmt: skip


def key_of(candidate: Candidate) -> str:
    """Name of a candidate's proof: a hash of what is undone and where it comes from."""
    body = "\0".join((candidate.change.commit, candidate.part.name, candidate.part.tier, candidate.patch))
    return hashlib.sha256(body.encode()).hexdigest()[:20]


class Findings:
    """The finished proofs of one folder; each is written aside and renamed, so it is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Finding | None:
        """A finished proof; one that cannot be read is as good as none."""
        try:
            return Finding.model_validate_json((self._folder / f"{key}.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def put(self, finding: Finding) -> None:
        """Keep a proof."""
        aside = self._folder / f".{finding.key}.{os.getpid()}"
        aside.write_text(finding.model_dump_json(indent=1) + "\n", encoding="utf-8")
        aside.replace(self._folder / f"{finding.key}.json")
