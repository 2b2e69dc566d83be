"""Which stages are done, can run, or wait; and what a run has to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.graph.definitions import DEFINITIONS, STAGES, StageName
from repoexpert.graph.states import StageState, plan_local, states

PRINTS: dict[StageName, str] = {name: name[0] * 64 for name in STAGES}
UP, MISSING, BLOCKED = StageState.UP_TO_DATE, StageState.MISSING, StageState.BLOCKED

STATES: dict[str, tuple[set[StageName], list[StageState]]] = {
    "nothing done: only the first can run": (set(), [MISSING] + [BLOCKED] * 6),
    "all done": (set(STAGES), [UP] * 7),
    "collected: the dataset is next": ({"environment", "tasks", "rollout"}, [UP, UP, UP, MISSING] + [BLOCKED] * 3),
    "a stage in the middle was removed": (
        set(STAGES) - {"dataset", "evaluation"},
        [UP, UP, UP, MISSING, UP, BLOCKED, UP],
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_states_follow_from_which_artifacts_are_complete(case: str) -> None:
    complete, expected = STATES[case]
    found = states(PRINTS, lambda name, fingerprint: name in complete and fingerprint == PRINTS[name])
    assert list(found.values()) == expected
    assert tuple(found) == STAGES


PLANS: dict[str, tuple[set[StageName], StageName, list[StageName]]] = {
    "nothing done": (set(), "serving", list(STAGES)),
    "up to date": (set(STAGES), "serving", []),
    "another learning rate": ({"environment", "tasks", "rollout", "dataset"}, "serving", list(STAGES[4:])),
    "another gate": (set(STAGES[:6]), "serving", ["serving"]),
    "only until tasks": (set(), "tasks", ["environment", "tasks"]),
    "old experience removed behind a complete model": ({"training", "evaluation"}, "serving", ["serving"]),
    "a complete end needs nothing before it": ({"serving"}, "serving", []),
    "a dataset that is gone and needed again": (
        {"environment", "tasks", "rollout", "training"},
        "serving",
        ["dataset", "evaluation", "serving"],
    ),
}


@pytest.mark.parametrize("case", PLANS)
def test_a_run_does_what_is_missing_and_no_more(case: str) -> None:
    complete, until, expected = PLANS[case]
    assert plan_local(PRINTS, complete, until) == expected


@given(st.sets(st.sampled_from(STAGES)), st.sampled_from(STAGES))
def test_a_plan_can_always_be_carried_out(complete: set[StageName], until: StageName) -> None:
    done = set(complete)
    for name in plan_local(PRINTS, complete, until):
        assert name not in done
        assert done.issuperset(DEFINITIONS[name].upstream)
        done.add(name)
    assert until in done
