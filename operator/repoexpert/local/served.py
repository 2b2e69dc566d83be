"""Keeps the record of the served model in step with the spec. Called by the runner when a run is up to date.

The serving stage promotes when it runs. A spec that goes back to an earlier state finds that stage complete: the model
that it had promoted then must be the served one again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from repoexpert.api.expert import RepoExpert
from repoexpert.serving.models import CURRENT, Current, next_revision
from repoexpert.storage.store import ArtifactStore


def put_back(expert: RepoExpert, store: ArtifactStore, summary: Mapping[str, Any], now: datetime) -> bool:
    """Point `current` to the model that this spec's serving stage promoted; True when it pointed elsewhere."""
    model = summary.get("model")
    if not summary.get("promoted") or not isinstance(model, str):
        return False
    metadata = expert.metadata
    record = store.read_record(metadata.namespace, metadata.name, CURRENT)
    if record is not None and record.get("model") == model:
        return False
    current = Current(
        model=model,
        since=now.isoformat(),
        revision=next_revision(record),
        previous=str(record["model"]) if record and record.get("model") else None,
    )
    store.write_record(metadata.namespace, metadata.name, CURRENT, current.model_dump(mode="json"))
    return True
