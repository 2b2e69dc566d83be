"""The units of repository-centric experience: which there are, which can be made, what each makes of a proven change.

The place where a unit enters: softwareDesign and contextualImplementation have no maker yet, and asking for them is
refused. Called by making.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repoexpert.errors import BadInput
from repoexpert.experience.findings import Finding
from repoexpert.experience.tasks import Proof, Provenance, Task, Unit, Verification, task_id
from repoexpert.repository.candidates import Candidate


@dataclass(frozen=True)
class Proven:
    """A candidate with its proof and statement: what a unit makes a task of."""

    repository: str
    commit: str
    candidate: Candidate
    finding: Finding
    statement: str


Make = Callable[[Proven], Task | None]


def make_replay(proven: Proven) -> Task:
    """evolutionaryReplay: repair the sources; the removed tests judge."""
    finding = proven.finding
    verification = Verification(
        fail_to_pass=tuple(finding.fail_to_pass),
        pass_to_pass=finding.pass_to_pass,
        reference_files=finding.reference_files,
        fix_patch=finding.sources_patch,
    )
    return _task("evolutionaryReplay", proven, verification, finding.sources_patch)


def make_alignment(proven: Proven) -> Task | None:
    """semanticRuntimeAlignment: write tests that show the bug; None when only an import would show it."""
    finding = proven.finding
    if not finding.reproducible:
        return None
    verification = Verification(
        fail_to_pass=finding.reproducible,
        reference_files=finding.reference_files,
        fix_patch=finding.sources_patch,
    )
    return _task("semanticRuntimeAlignment", proven, verification, finding.tests_patch)


UNITS: Mapping[Unit, Make] = {"evolutionaryReplay": make_replay, "semanticRuntimeAlignment": make_alignment}
"""The units that can be made."""

ALL_UNITS: Sequence[Unit] = (
    "softwareDesign",
    "contextualImplementation",
    "evolutionaryReplay",
    "semanticRuntimeAlignment",
)


def wanted_units(units: Mapping[str, int]) -> dict[Unit, int]:
    """The units asked for with a number above zero. Raises BadInput for one that is unknown or not available yet."""
    for name, number in units.items():
        if name not in ALL_UNITS:
            raise BadInput(f"experience.units.{name}: there is no such unit; units are {', '.join(ALL_UNITS)}")
        if number > 0 and name not in UNITS:
            raise BadInput(f"experience.units.{name}: not available yet; set it to 0 and use {' or '.join(UNITS)}")
    return {unit: units[unit] for unit in UNITS if units.get(unit, 0) > 0}


def _task(unit: Unit, proven: Proven, verification: Verification, reference: str) -> Task:
    finding = proven.finding
    failures = {test: finding.fail_to_pass[test].error for test in verification.fail_to_pass}
    return Task(
        id=task_id(unit, proven.commit, finding.start_patch, proven.statement, verification),
        unit=unit,
        repository=proven.repository,
        commit=proven.commit,
        start_patch=finding.start_patch,
        statement=proven.statement,
        verification=verification,
        reference=reference,
        provenance=provenance_of(proven.candidate),
        proof=Proof(reference_runs=2, start_runs=2, failures=failures),
    )


def provenance_of(candidate: Candidate) -> Provenance:
    """Where a candidate comes from."""
    change, part = candidate.change, candidate.part
    return Provenance(
        commits=change.commits,
        pull_request=change.pull_request,
        title=change.title,
        committed=change.committed,
        tier=part.tier,
        files=tuple(sorted(part.files)),
        symbols=part.symbols,
        part=part.name,
    )
