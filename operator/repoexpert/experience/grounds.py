"""An environment artifact, loaded: the tree, its stable tests and what they execute.

Called by proving and verifying; both stand on the same ground, so a task is graded where it was proven.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from repoexpert.errors import InfrastructureError
from repoexpert.repository.analysis import ImportGraph
from repoexpert.repository.baseline import read_coverage
from repoexpert.repository.mining import Layout
from repoexpert.repository.records import Baseline, EnvironmentRecord
from repoexpert.repository.trees import reading_archive
from repoexpert.sandbox.protocol import StartTree

_LARGEST = 4 << 20
"""Larger files are data: no task changes them."""


@dataclass(frozen=True)
class Ground:
    """One environment artifact."""

    folder: Path
    record: EnvironmentRecord
    baseline: Baseline
    executed: Mapping[str, tuple[str, ...]]
    """Test to the functions (`path::qualified.name`) that it executes; empty when nothing was measured."""

    @cached_property
    def layout(self) -> Layout:
        """Which files are source and which are tests."""
        return Layout(self.record.source_roots, self.record.packages, self.record.test_paths)

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """Path to content of the tree's regular files up to 4 MiB."""
        found: dict[str, bytes] = {}
        with reading_archive(self.folder / "tree.tar.zst") as members:
            for member in members:
                if member.isreg() and member.size <= _LARGEST and (content := members.extractfile(member)):
                    found[member.name] = content.read()
        return found

    @cached_property
    def imports(self) -> ImportGraph:
        """Which Python files of the tree import which."""
        python = {path: content for path, content in self.files.items() if path.endswith(".py")}
        return ImportGraph.build(python, self.record.source_roots)

    def start(self, *patches: str, files: Mapping[str, bytes] | None = None) -> StartTree:
        """The tree with patches applied in order and files laid over."""
        overlay = self.folder / "overlay.tar.zst"
        return StartTree(
            archive=self.folder / "tree.tar.zst",
            overlay=overlay if overlay.exists() else None,
            patches=tuple(patch for patch in patches if patch),
            files=dict(files or {}),
        )


def load_ground(folder: Path) -> Ground:
    """Load an environment artifact. Raises InfrastructureError when it is damaged."""
    try:
        record = EnvironmentRecord.model_validate_json((folder / "environment.json").read_bytes())
        baseline = Baseline.model_validate_json((folder / "baseline.json").read_bytes())
        coverage = folder / "coverage.json"
        executed = read_coverage(json.loads(coverage.read_bytes())) if coverage.exists() else {}
    except (OSError, ValueError, ValidationError, LookupError, TypeError) as e:
        raise InfrastructureError(f"environment artifact {folder} cannot be read: {e}; make it again") from e
    return Ground(folder, record, baseline, executed)
