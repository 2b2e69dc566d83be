"""From attempts to scores: each kind of end keeps its name, and what was not measured stays null."""

from __future__ import annotations

import pytest

from repoexpert.evaluation.scoring import outcome_class, score_suite
from repoexpert.rollout.records import AttemptResult
from tests.builders.reports import UNITS, attempt, failed

ENDS = {
    "verified": attempt(),
    "wrong-answer": failed("t", 1),
    "format-failure": attempt(
        outcome="not-submitted", exit_status="RepeatedFormatError", reason="repeated-format-error"
    ),
    "limit": attempt(outcome="not-submitted", exit_status="LimitsExceeded", reason="limits-exceeded"),
    "no-answer": attempt(outcome="not-submitted", exit_status="Crashed"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_every_end_has_its_class(kind: str) -> None:
    assert outcome_class(ENDS[kind]) == kind


def test_a_context_that_ran_full_is_a_limit() -> None:
    end = attempt(outcome="not-submitted", exit_status="ContextExceeded", reason="context-exceeded")
    assert outcome_class(end) == "limit"


def score(results: list[AttemptResult]) -> dict[str, object]:
    scores = score_suite("heldout", {"a": UNITS[0], "b": UNITS[1]}, results, 2, seed=1)
    return scores.overall.model_dump(exclude={"pass_rate"})


def test_the_scores_of_a_suite() -> None:
    results = [attempt("a", 1, steps=4), failed("a", 2, steps=6, looping=True), failed("b", 1, unit=UNITS[1], steps=2)]
    assert score(results) == {
        "unit": "all",
        "tasks": 2,
        "attempts": 3,
        "missing": 1,
        "pass_at": {"1": 0.25},
        "turns": 4.0,
        "prompt_tokens": 4000.0,
        "completion_tokens": 300.0,
        "loop_rate": pytest.approx(1 / 3),
        "outcomes": {"verified": 1, "wrong-answer": 2},
        "reasons": {"tests-failed": 2},
        "suspicious": 0,
    }


def test_a_suite_without_a_finished_attempt_has_nulls_and_no_zeros() -> None:
    scores = score_suite("heldout", {"a": UNITS[0]}, [], 2, seed=1).overall
    assert (scores.pass_rate, scores.turns, scores.loop_rate, scores.pass_at) == (None, None, None, {})
    assert scores.missing == 2


def test_units_are_scored_apart() -> None:
    results = [attempt("a", 1), failed("b", 1, unit=UNITS[1])]
    scores = score_suite("heldout", {"a": UNITS[0], "b": UNITS[1]}, results, 1, seed=1)
    assert {unit.unit: unit.pass_rate.value for unit in scores.units if unit.pass_rate} == {
        UNITS[0]: 1.0,
        UNITS[1]: 0.0,
    }
