"""Which tasks are attempted depends on outcomes, never on the order in which they end."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from repoexpert.rollout.scheduling import Scheduler
from tests.builders.tasks import make_task


def _attempted(outcomes: list[bool], quota: int | None, concurrency: int, seed: int) -> tuple[list[int], int]:
    """Task numbers that were started, and how many were verified."""
    tasks = [make_task(number) for number in range(len(outcomes))]
    scheduler = Scheduler(tasks, None if quota is None else {"evolutionaryReplay": quota})
    chance = random.Random(seed)
    started, running, verified = [], [], 0
    while True:
        while len(running) < concurrency and (task := scheduler.next()) is not None:
            running.append(task)
            started.append(int(task.id.removeprefix("replay-")))
        if not running:
            return started, verified
        task = running.pop(chance.randrange(len(running)))
        outcome = outcomes[int(task.id.removeprefix("replay-"))]
        verified += outcome
        scheduler.ended(task, verified=outcome)


@given(
    outcomes=st.lists(st.booleans(), max_size=30),
    quota=st.integers(0, 12),
    concurrency=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_attempted_tasks_are_the_shortest_run_that_fills_the_quota(
    outcomes: list[bool], quota: int, concurrency: int, seed: int
) -> None:
    started, verified = _attempted(outcomes, quota, concurrency, seed)
    assert sorted(started) == list(range(len(started)))
    assert verified == min(quota, sum(outcomes))
    assert sum(outcomes[: len(started)]) == verified
    if started and verified == quota:
        assert outcomes[len(started) - 1] or sum(outcomes[: len(started) - 1]) < quota


def test_without_quotas_every_task_is_attempted() -> None:
    assert _attempted([True, False, True], None, 2, 0) == ([0, 1, 2], 2)


def test_units_take_turns_and_a_unit_without_quota_is_left_out() -> None:
    units = ["evolutionaryReplay", "semanticRuntimeAlignment", "softwareDesign"]
    tasks = [make_task(number, unit) for number in range(2) for unit in units]
    scheduler = Scheduler(tasks, {"evolutionaryReplay": 9, "semanticRuntimeAlignment": 1})
    assert scheduler.expected == 3
    given_out = [task.unit for task in iter(scheduler.next, None)]
    assert given_out == ["evolutionaryReplay", "semanticRuntimeAlignment", "evolutionaryReplay"]
