"""A stage's fingerprint: the name of its artifact, a hash of everything its content depends on.

fingerprint = sha256 of canonical JSON of: the part of the spec that the stage reads, upstream fingerprints, the
stage's format version, resolved commits, and pins (image digests and the like). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from repoexpert.api.expert import RepoExpert
from repoexpert.graph import canonical
from repoexpert.graph.definitions import DEFINITIONS, STAGES, StageDefinition, StageName


class ResolutionLike(Protocol):
    """What names in the spec meant; `repoexpert.stages.context.Resolution` is one."""

    @property
    def url(self) -> str:
        """The repository."""

    @property
    def cutoff_commit(self) -> str:
        """Last commit of the knowledge."""

    @property
    def until_commit(self) -> str:
        """Last commit of the evaluation's history."""


def fingerprints(
    expert: RepoExpert, resolution: ResolutionLike, pins: Mapping[str, str] | None = None
) -> dict[StageName, str]:
    """Fingerprint (64 hex digits) of every stage, in the stages' order.

    A pin's key is `STAGE` or `STAGE/what` ("training/image"); it enters that stage and so all that follow. A pin for a
    stage that does not exist raises ValueError.
    """
    spec = canonical.plain(expert.spec)
    found: dict[StageName, str] = {}
    for name in STAGES:
        document = _document(DEFINITIONS[name], spec, resolution, pins or {}, found)
        found[name] = hashlib.sha256(canonical.encode(document).encode("ascii")).hexdigest()
    _refuse_unknown(pins or {})
    return found


def _document(
    definition: StageDefinition,
    spec: dict[str, Any],
    resolution: ResolutionLike,
    pins: Mapping[str, str],
    known: Mapping[StageName, str],
) -> dict[str, Any]:
    return {
        "stage": definition.name,
        "format": definition.format,
        "spec": canonical.select(spec, definition.reads),
        "upstream": {name: known[name] for name in definition.upstream},
        "resolved": {name: getattr(resolution, name) for name in definition.resolved},
        "pins": {key: value for key, value in pins.items() if key.split("/")[0] == definition.name},
    }


def _refuse_unknown(pins: Mapping[str, str]) -> None:
    unknown = sorted(key for key in pins if key.split("/")[0] not in STAGES)
    if unknown:
        raise ValueError(f"pins for stages that do not exist: {', '.join(unknown)}; stages are {', '.join(STAGES)}")


def changed(old: Mapping[StageName, str], new: Mapping[StageName, str]) -> tuple[StageName, ...]:
    """The stages whose fingerprints differ, in order: what an edit of the spec makes stale."""
    return tuple(name for name in STAGES if old.get(name) != new.get(name))
