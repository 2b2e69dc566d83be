"""Makes proven tasks of a history until the mix is filled. Called by the tasks stage and by the held-out suite.

Candidates are tried in a fixed order, in batches of a fixed size proven side by side, and taken in that order: the
result does not depend on how many run at once, nor on being killed and started again.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from repoexpert.errors import SandboxLost, StageFailed
from repoexpert.experience.describing import describe_task
from repoexpert.experience.findings import Finding, Findings, key_of
from repoexpert.experience.grounds import Ground, load_ground
from repoexpert.experience.proving import Prover
from repoexpert.experience.queueing import Queue
from repoexpert.experience.tasks import Task, Unit
from repoexpert.experience.units import UNITS, Proven, wanted_units
from repoexpert.progress import Progress
from repoexpert.repository.candidates import Candidate, Undoing, list_candidates
from repoexpert.repository.mirror import Mirror
from repoexpert.repository.objects import list_tree
from repoexpert.sandbox.protocol import SandboxPool

BATCH = 8
_MARGIN = 1.25
_MARGIN_LEAST = 2
_TRIES = 3

PoolFactory = Callable[[], AbstractAsyncContextManager[SandboxPool]]
"""Opens the sandboxes of the environment artifact in question."""


class Reject(BaseModel):
    """A row of `rejected.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    part: str
    tier: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class TaskSet:
    """Proven tasks, in the order in which they were found, and what became of the other candidates."""

    tasks: tuple[Task, ...]
    rejected: tuple[Reject, ...]
    summary: dict[str, Any] = field(default_factory=dict)


def with_margin(wanted: int) -> int:
    """Tasks to prove for `wanted` verified trajectories: a quarter more, at least two."""
    return max(math.ceil(wanted * _MARGIN), wanted + _MARGIN_LEAST)


async def make_tasks(
    *,
    mirror: Mirror,
    environment_dir: Path,
    commit: str,
    after_commit: str | None,
    units: Mapping[str, int],
    work: Path,
    pool_factory: PoolFactory,
    jobs: int,
    progress: Progress,
) -> TaskSet:
    """Prove tasks from the changes up to `commit` (with `after_commit`: only later ones) undone in its tree.

    `units` is the number of tasks wanted by unit, exactly: margins are the caller's. `work` keeps a finished proof a
    file, so that a second call goes on where the first was killed; `discard_proofs` removes them. Fewer tasks than
    wanted is no error. Raises BadInput for units that cannot be made, InfrastructureError.
    """
    wanted = wanted_units(units)
    ground = load_ground(environment_dir)
    progress.update(done=0, total=sum(wanted.values()), message="reading the history")
    listed = await asyncio.to_thread(
        list_candidates, mirror.path, commit, after=after_commit, layout=ground.layout, jobs=jobs
    )
    with Undoing(mirror.path, list_tree(mirror.path, commit), ground.layout) as undoing:
        queue = Queue(listed, undoing.candidates)
        async with pool_factory() as pool:
            making = _Making(ground, mirror.url, commit, wanted, queue, Prover(ground, pool), Findings(work / "proofs"))
            await making.run(jobs, progress)
    return making.result(len(listed))


def discard_proofs(work: Path) -> None:
    """Remove what only a resumed run needs."""
    shutil.rmtree(work / "proofs", ignore_errors=True)


class _Making:
    """One call of `make_tasks`: draws batches, proves them side by side, takes them in order."""

    def __init__(
        self,
        ground: Ground,
        repository: str,
        commit: str,
        wanted: Mapping[Unit, int],
        queue: Queue,
        prover: Prover,
        findings: Findings,
    ) -> None:
        self._ground, self._repository, self._commit = ground, repository, commit
        self._wanted, self._queue = wanted, queue
        self._prover, self._findings = prover, findings
        self.tasks: dict[Unit, list[Task]] = {unit: [] for unit in wanted}
        self.rejected: list[Reject] = []
        self.proven = Counter[str]()

    async def run(self, jobs: int, progress: Progress) -> None:
        slots = asyncio.Semaphore(max(jobs, 1))
        while not self._full():
            batch = await asyncio.to_thread(self._queue.batch, BATCH)
            if not batch:
                break
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(self._find(candidate, slots)) for candidate in batch]
            for candidate, done in zip(batch, running, strict=True):
                self._take(candidate, done.result())
            self._tell(progress)

    async def _find(self, candidate: Candidate, slots: asyncio.Semaphore) -> Finding:
        finished = self._findings.get(key_of(candidate))
        if finished is not None:
            return finished
        async with slots:
            for left in reversed(range(_TRIES)):
                try:
                    finding = await self._prover.prove(candidate)
                    break
                except SandboxLost:
                    if not left:
                        raise
            self._findings.put(finding)
            return finding

    def _take(self, candidate: Candidate, finding: Finding) -> None:
        if finding.reason is not None:
            self._reject(candidate, finding.reason, finding.detail)
            return
        siblings = self._queue.siblings(candidate)
        statement = describe_task(self._ground, candidate, finding, siblings)
        if not statement:
            self._reject(candidate, "no-statement", "neither the change nor the failures say what is wanted")
            return
        proven = Proven(self._repository, self._commit, candidate, finding, statement)
        self._queue.proven(candidate)
        self.proven[candidate.part.tier] += 1
        for unit, tasks in self.tasks.items():
            if len(tasks) < self._wanted[unit]:
                task = UNITS[unit](proven)
                if task is None:
                    self._reject(candidate, "fails-by-import", unit)
                else:
                    tasks.append(task)

    def _reject(self, candidate: Candidate, reason: str, detail: str) -> None:
        change, part = candidate.change, candidate.part
        self.rejected.append(Reject(commit=change.commit, part=part.name, tier=part.tier, reason=reason, detail=detail))

    def _full(self) -> bool:
        return all(len(tasks) >= self._wanted[unit] for unit, tasks in self.tasks.items())

    def _tell(self, progress: Progress) -> None:
        done = sum(map(len, self.tasks.values()))
        progress.update(
            done=done,
            total=sum(self._wanted.values()),
            message=f"{done} tasks proven, {self._queue.drawn} candidates tried",
            rejected=len(self.rejected),
        )

    def result(self, changes: int) -> TaskSet:
        """The tasks in a fixed order with the counts."""
        tasks = tuple(task for unit in UNITS for task in self.tasks.get(unit, ()))
        summary = {
            "tasks": {unit: len(found) for unit, found in self.tasks.items()},
            "candidates": self._queue.drawn,
            "changes": changes,
            "candidatesByTier": dict(sorted(self._queue.tiers.items())),
            "provenByTier": dict(sorted(self.proven.items())),
            "wanted": dict(self._wanted),
            "rejected": dict(sorted(Counter(row.reason for row in self.rejected).items())),
            "remaining": self._queue.remaining(),
        }
        return TaskSet(tasks, tuple(self.rejected), summary)


def require_tasks(made: TaskSet) -> None:
    """Raise StageFailed with the counts and what to do when a unit got nothing."""
    empty = [unit for unit, number in made.summary["tasks"].items() if not number]
    if not empty:
        return
    counts = ", ".join(f"{n} {reason}" for reason, n in made.summary["rejected"].items()) or "none rejected"
    raise StageFailed(
        f"no task could be proven for {', '.join(empty)}: {made.summary['changes']} changes in the history, "
        f"{made.summary['candidates']} candidates tried ({counts}); {_advice(made)}"
    )


def _advice(made: TaskSet) -> str:
    reasons: Sequence[str] = sorted(made.summary["rejected"], key=made.summary["rejected"].get, reverse=True)
    if not made.summary["changes"]:
        return "the history up to the cutoff changes no Python source: move repository.cutoff later or check repository.ref"
    if reasons and reasons[0] in ("no-tests-found", "no-test-breaks"):
        return "the tests do not notice the changes: widen environment.test.paths, or move repository.cutoff later"
    return "see rejected.jsonl in the artifact's folder; a later repository.cutoff gives more history"
