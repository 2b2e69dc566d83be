"""Which task is next. Pure: the same outcomes give the same set of attempted tasks, whatever order they end in.

A unit's task starts only while its verified and running tasks together are below the quota. So tasks are taken in the
order given, every failure lets exactly one more start, and the attempted ones are the shortest run of tasks that fills
the quota.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from repoexpert.experience.tasks import Task


class Scheduler:
    """Hands out tasks unit by unit in turn. Without a quota for a unit all of its tasks are wanted."""

    def __init__(self, tasks: Sequence[Task], quotas: Mapping[str, int] | None = None) -> None:
        self._quotas = quotas
        self._waiting: dict[str, deque[Task]] = {}
        for task in tasks:
            self._waiting.setdefault(task.unit, deque()).append(task)
        self._running: Counter[str] = Counter()
        self._verified: Counter[str] = Counter()
        self._last_unit = ""

    def next(self) -> Task | None:
        """A task to start now, or None: nothing is wanted, or nothing before a running one ends."""
        units = sorted(self._waiting)
        later = [unit for unit in units if unit > self._last_unit]
        for unit in [*later, *(unit for unit in units if unit <= self._last_unit)]:
            if self._waiting[unit] and self._wanted(unit):
                self._running[unit] += 1
                self._last_unit = unit
                return self._waiting[unit].popleft()
        return None

    def ended(self, task: Task, *, verified: bool) -> None:
        """A task that `next` gave out has had all its attempts."""
        self._running[task.unit] -= 1
        self._verified[task.unit] += verified

    @property
    def expected(self) -> int:
        """How many more tasks will end, if each that runs or starts is verified."""
        total = 0
        for unit, waiting in self._waiting.items():
            room = self._room(unit)
            total += self._running[unit] + (len(waiting) if room is None else min(len(waiting), room))
        return total

    def _room(self, unit: str) -> int | None:
        if self._quotas is None:
            return None
        return max(0, self._quotas.get(unit, 0) - self._verified[unit] - self._running[unit])

    def _wanted(self, unit: str) -> bool:
        room = self._room(unit)
        return room is None or room > 0
