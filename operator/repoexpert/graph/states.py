"""Which stages are done, which can run, which wait; and what a run has to do. Pure; used by both runners."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum

from repoexpert.graph.definitions import DEFINITIONS, STAGES, StageName


class StageState(StrEnum):
    """What is known of a stage from the artifact store alone."""

    UP_TO_DATE = "UpToDate"
    """Its artifact is complete."""
    MISSING = "Missing"
    """No complete artifact; everything it reads is there, so it can run."""
    BLOCKED = "Blocked"
    """No complete artifact, and an upstream stage has none either."""


def states(
    fingerprints: Mapping[StageName, str], is_complete: Callable[[StageName, str], bool]
) -> dict[StageName, StageState]:
    """Each stage's state. `is_complete(stage, fingerprint)` tells whether the manifest exists; asked once a stage."""
    complete = {name for name in STAGES if is_complete(name, fingerprints[name])}
    return {name: _state(name, complete) for name in STAGES}


def _state(name: StageName, complete: Collection[StageName]) -> StageState:
    if name in complete:
        return StageState.UP_TO_DATE
    ready = all(upstream in complete for upstream in DEFINITIONS[name].upstream)
    return StageState.MISSING if ready else StageState.BLOCKED


def plan_local(
    fingerprints: Mapping[StageName, str], complete: Collection[StageName], until: StageName = "serving"
) -> list[StageName]:
    """The stages to run, in order, for `until` to be complete.

    As make does it: what is complete is not looked behind, so artifacts that only served to make a complete one may
    have been removed. Stages without a fingerprint are left out.
    """
    wanted: set[StageName] = set()
    pending: list[StageName] = [until]
    while pending:
        name = pending.pop()
        if name not in complete and name not in wanted:
            wanted.add(name)
            pending.extend(DEFINITIONS[name].upstream)
    return [name for name in STAGES if name in wanted and name in fingerprints]
