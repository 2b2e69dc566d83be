from __future__ import annotations

import pytest

from repoexpert.local.outcome import StageRunFailed, judge
from repoexpert.stages.termination import Termination

RULES = [
    {"metric": "heldout.nll", "passed": True, "reason": "ratio 0.81 is at most 0.9"},
    {"metric": "execution.passRate", "passed": False, "reason": "execution.passRate gained 0.01 of 0.05"},
]
LINES = ("✓ heldout.nll: ratio 0.81 is at most 0.9", "✗ execution.passRate gained 0.01 of 0.05")

CASES = {
    "promoted just now": (
        "serving",
        {"promoted": True, "gate": RULES[:1]},
        1,
        (0, "served", "django passed the gate and is served", LINES[:1]),
    ),
    "promoted before": ("serving", {"promoted": True}, 0, (0, "served", "django is up to date and served", ())),
    "the gate was not passed": (
        "serving",
        {"promoted": False, "passed": False, "gate": RULES, "reason": "too long to repeat"},
        2,
        (3, "gate-not-passed", "django did not pass the gate: the served model stays as it is", LINES),
    ),
    "the gate was not passed before": (
        "serving",
        {"promoted": False, "reason": "no rule"},
        0,
        (3, "gate-not-passed",
         "django is up to date; its gate was not passed: the served model stays as it is (no rule)", ()),
    ),
    "passed and not to be served": (
        "serving",
        {"promoted": False, "passed": True},
        1,
        (0, "passed", "django passed the gate; serving is not enabled", ()),
    ),
    "an earlier last stage": (
        "dataset",
        {"rows": 3},
        0,
        (0, "complete", "django is up to date: everything up to dataset is complete", ()),
    ),
    "a gate of a shape that is not known": (
        "serving",
        {"promoted": True, "gate": {"rules": [1, {"holds": True}]}},
        1,
        (0, "served", "django passed the gate and is served", ("✓ rule",)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_run_ends_with_a_verdict_an_exit_code_and_a_sentence(case: str) -> None:
    until, summary, ran, expected = CASES[case]
    outcome = judge("django", until, summary, ran=ran)
    assert (outcome.exit_code, outcome.verdict, outcome.message, outcome.details) == expected
    assert outcome.up_to_date is (ran == 0)


def test_a_failure_names_stage_cause_log_and_last_lines() -> None:
    error = StageRunFailed(Termination(kind="failed", stage="tasks", message="no tests"), "/logs/tasks.log", "a\nb")
    assert str(error) == "stage tasks failed: no tests\n  log: /logs/tasks.log\n  its last lines:\n    a\n    b"
    assert error.exit_code == 1


SAID_IN_FULL = {
    "a cause of several lines quotes what it is about": ("failed", "`pytest` finds no tests. Last lines:\nnone", "more"),
    "the stage's log ends with the message": ("infrastructure", "no\nnet", "2026-01-01 ERROR stage: no\nnet"),
    "progress was shown as it came": (
        "infrastructure",
        "no net",
        "2026-11-23 10:54:48,589 INFO    repoexpert.progress: 0/1 fetching",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID_IN_FULL)
def test_a_log_that_says_nothing_more_is_not_quoted(case: str) -> None:
    kind, message, tail = SAID_IN_FULL[case]
    ended = Termination.model_validate({"kind": kind, "stage": "tasks", "message": message})
    assert str(StageRunFailed(ended, "/logs/x", tail)) == f"stage tasks failed: {message}\n  log: /logs/x"


def test_bad_input_found_by_a_stage_is_exit_code_2() -> None:
    assert StageRunFailed(Termination(kind="bad-input", stage="training", message="x"), "l", "t").exit_code == 2
