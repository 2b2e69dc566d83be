"""What a run that another process carries on is doing. Called by `repoexpert status`."""

from __future__ import annotations

import json
from pathlib import Path

from repoexpert.api.expert import RepoExpert
from repoexpert.local.runner import STAGE_NOTE, work_folder
from repoexpert.local.state import StageStatus
from repoexpert.local.views import left, progress
from repoexpert.storage.store import ArtifactStore


def running(expert: RepoExpert, store: ArtifactStore, cache: Path) -> dict[str, str]:
    """The stage that a run on this machine is at, and how far it is; empty when none is at work."""
    holder = store.holder(expert.metadata.namespace, expert.metadata.name)
    if holder is None:
        return {}
    work = work_folder(cache, store, expert)
    try:
        stage = (work / STAGE_NOTE).read_text(encoding="utf-8").strip()
    except OSError:
        return {}
    row = StageStatus(stage, "", state="running")
    try:
        row.report(json.loads((work / f"{stage}.progress").read_bytes()))
    except (OSError, ValueError, AttributeError):
        row.message = ""
    parts = (progress(row), left(row), row.message, f"process {holder}")
    return {stage: " · ".join(part for part in parts if part)}
