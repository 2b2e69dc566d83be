"""What the names in `spec.repository` mean: commits. Called when a run is planned, once; the answer is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Protocol

from repoexpert.errors import BadInput
from repoexpert.repository.mining import committed_at
from repoexpert.repository.mirror import Mirrors


class RepositorySpec(Protocol):
    """The part of `spec.repository` that is read here."""

    @property
    def url(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def cutoff(self) -> date: ...


@dataclass(frozen=True)
class Resolved:
    """Commits, as full ids. `notes` are worth telling the user and change nothing."""

    url: str
    cutoff_commit: str
    until_commit: str
    notes: tuple[str, ...] = ()


def end_of_day(day: date) -> datetime:
    """The last second of a day, UTC: a cutoff includes its day."""
    return datetime.combine(day, time(23, 59, 59), UTC)


def last_before(commits: Sequence[tuple[str, int]], end: int) -> str | None:
    """The last commit not after `end`; `commits` are (id, committer time in seconds), newest first, along first parents.

    Committer clocks lie: the history is split where the fewest dates contradict the split (the later place when two
    are equal), so that one commit dated 1970 at the head does not turn the whole history into the past.
    """
    early_newer = 0
    late_older = sum(when > end for _, when in commits)
    best: tuple[int, str] | None = None
    for commit, when in commits:
        if when > end:
            late_older -= 1
            continue
        contradictions = early_newer + late_older
        if best is None or contradictions < best[0]:
            best = (contradictions, commit)
        early_newer += 1
    return best[1] if best else None


def resolve(
    repository: RepositorySpec, until: date | None, cache: Path, *, environ: Mapping[str, str] | None = None
) -> Resolved:
    """Fetch the ref and find the commits of the cutoff and of the held-out end (`until`, or the ref's head).

    Raises BadInput: repository unreachable, ref missing, no commit up to the cutoff.
    """
    mirror, head = Mirrors(cache, environ).fetch_ref(repository.url, repository.ref)
    listing = mirror.git("rev-list", "--first-parent", "--timestamp", head)
    commits = [(commit, int(when)) for when, commit in (line.split() for line in listing.splitlines())]
    cutoff = last_before(commits, int(end_of_day(repository.cutoff).timestamp()))
    if cutoff is None:
        first = committed_at("", str(min(when for _, when in commits))).date()
        raise BadInput(
            f"spec.repository.cutoff {repository.cutoff} is before the first commit on {repository.ref} of {mirror.url} "
            f"({first}); move the cutoff to that day or later"
        )
    end = head if until is None else last_before(commits, int(end_of_day(until).timestamp())) or cutoff
    notes: tuple[str, ...] = ()
    if cutoff == head:
        newest = committed_at("", str(max(when for _, when in commits))).date()
        notes = (f"the cutoff {repository.cutoff} is not before the last commit ({newest}): there is no later history",)
    return Resolved(mirror.url, cutoff, end, notes)
