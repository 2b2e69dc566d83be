"""What the names in a spec mean, looked up once and recorded in the store, so that every stage of a run, in whatever
process or pod, reads the same commits. Called by the stage entry and by the local runner."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from repoexpert.api.expert import RepoExpert
from repoexpert.stages.context import Resolution
from repoexpert.storage.problems import disk
from repoexpert.storage.store import ArtifactStore, CorruptArtifact


def record_name(expert: RepoExpert) -> str:
    """`resolution-` and 16 hex digits of everything that the lookup depends on."""
    spec = expert.spec
    question = {
        "url": spec.repository.url,
        "ref": spec.repository.ref,
        "cutoff": str(spec.repository.cutoff),
        "until": str(spec.evaluation.until) if spec.evaluation.until else None,
    }
    return "resolution-" + hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:16]


def recorded(expert: RepoExpert, store: ArtifactStore) -> Resolution | None:
    """The resolution on record, or None."""
    name = record_name(expert)
    value = store.read_record(expert.metadata.namespace, expert.metadata.name, name)
    if value is None:
        return None
    try:
        return Resolution.model_validate(value)
    except ValidationError as error:
        raise CorruptArtifact(f"the record {name} in {store.url} is damaged: remove it and run again") from error


def ensure(expert: RepoExpert, store: ArtifactStore, cache: Path, *, refresh: bool = False) -> Resolution:
    """The resolution on record, else (or when `refresh`) a new lookup, recorded. Raises BadInput: see `resolve`."""
    known = None if refresh else recorded(expert, store)
    if known is not None:
        return known
    from repoexpert.repository.resolving import resolve

    with disk(cache):
        found = resolve(expert.spec.repository, expert.spec.evaluation.until, cache)
    resolution = Resolution(url=found.url, cutoff_commit=found.cutoff_commit, until_commit=found.until_commit)
    store.write_record(
        expert.metadata.namespace, expert.metadata.name, record_name(expert), resolution.model_dump(mode="json")
    )
    return resolution
