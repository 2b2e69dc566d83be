"""What a stage gets and gives. A stage is `run(context) -> summary`; it knows nothing of Kubernetes or terminals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from repoexpert.api.expert import RepoExpert
from repoexpert.progress import Progress
from repoexpert.storage.store import ArtifactStore


class Resolution(BaseModel):
    """What names in the spec meant when the run was first planned; recorded in the store so that a run is repeatable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    cutoff_commit: str = Field(description="Last commit on the ref, by committer date, not after the cutoff day (UTC).")
    until_commit: str = Field(description="Last commit on the ref not after evaluation.until, or the ref's head.")


@dataclass(frozen=True)
class StageContext:
    """Everything a stage may touch."""

    expert: RepoExpert
    resolution: Resolution
    store: ArtifactStore
    inputs: Mapping[str, Path]
    """Upstream stage name to its verified, read-only artifact folder."""
    work: Path
    """The draft artifact's folder: write results here; after a crash it still holds what was written."""
    cache: Path
    """Machine-wide cache (mirrors, models, unpacked environments), safe to lose."""
    progress: Progress
    now: Callable[[], datetime]
    jobs: int = 2
    """How many processor-bound things to run at once."""


class Stage(Protocol):
    """A stage module's `run`."""

    def __call__(self, context: StageContext) -> dict[str, Any]:
        """Do the work in `context.work`, resuming what is there; return the summary for the manifest."""
