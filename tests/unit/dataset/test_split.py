"""What is held out: the newest bugs, never a bug on both sides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repoexpert.dataset.split import choose_heldout, group_tasks
from repoexpert.experience.tasks import Task
from tests.builders.trajectories import task


def _trajectories(tasks: list[Task], attempts: int = 1) -> dict[str, str]:
    return {f"{one.id}/{attempt}": one.id for one in tasks for attempt in range(attempts)}


def test_the_newest_tasks_are_held_out_with_every_attempt() -> None:
    tasks = [task(number) for number in range(20)]
    held = choose_heldout(_trajectories(tasks, 2), tasks)
    assert {trajectory.split("/")[0] for trajectory in held} == {one.id for one in tasks[-3:]}
    assert len(held) == 6


def test_the_same_bug_in_two_units_stays_on_one_side() -> None:
    tasks = [task(n, unit) for n in range(10) for unit in ("evolutionaryReplay", "semanticRuntimeAlignment")]
    groups = group_tasks(tasks)
    assert len(set(groups.values())) == 10
    assert groups[tasks[0].id] == groups[tasks[1].id]


def test_independent_parts_of_one_commit_may_part_and_overlapping_ones_may_not() -> None:
    commit = ("f" * 40,)

    def part(number: int, name: str, symbols: tuple[str, ...]) -> Task:
        origin = task(number).provenance.model_copy(update={"commits": commit, "part": name, "symbols": symbols})
        return task(number).model_copy(update={"provenance": origin})

    tasks = [part(1, "a", ("m.py::f",)), part(2, "b", ("m.py::g",)), part(3, "c", ("m.py::g", "m.py::h"))]
    groups = group_tasks(tasks)
    assert groups[tasks[0].id] != groups[tasks[1].id] == groups[tasks[2].id]


def test_a_small_dataset_keeps_at_least_half_for_training() -> None:
    tasks = [task(number) for number in range(3)]
    assert len(choose_heldout(_trajectories(tasks), tasks)) == 1
    assert choose_heldout(_trajectories(tasks[:1]), tasks) == frozenset()
    assert choose_heldout({}, []) == frozenset()


@given(st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.integers(0, 5)), max_size=40))
def test_no_bug_is_ever_on_both_sides_and_held_out_is_never_older(drawn: list[tuple[int, bool, int]]) -> None:
    units = {True: "semanticRuntimeAlignment", False: "evolutionaryReplay"}
    tasks = {one.id: one for number, unit, _ in drawn for one in [task(number, units[unit])]}  # type: ignore[arg-type]
    trajectories = {
        f"{one.id}/{attempt}": one.id
        for number, unit, attempt in drawn
        for one in [task(number, units[unit])]  # type: ignore[arg-type]
    }
    held = choose_heldout(trajectories, list(tasks.values()))
    groups = group_tasks(list(tasks.values()))
    held_groups = {groups[trajectories[one]] for one in held}
    assert held_groups.isdisjoint(groups[owner] for one, owner in trajectories.items() if one not in held)
    assert len(held) <= len(trajectories) / 2
