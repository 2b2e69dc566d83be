"""The way of the data, read from the stages' own summaries."""

from __future__ import annotations

from repoexpert.evaluation.flow import Step, steps, unit_yields
from tests.builders.reports import STAGES


def test_every_step_has_its_count_and_its_losses() -> None:
    assert steps(STAGES) == [
        Step("candidate changes", 214, {"does not apply": 90, "no test breaks": 55, "flaky": 8}),
        Step("proven tasks", 61, {}, headline=True),
        Step("attempts of the teacher", 61, {"tests-failed": 8, "infrastructure": 1}),
        Step("verified trajectories", 52, {"tooLong": 4, "nearDuplicate": 2}, headline=True),
        Step("rows to train on", 40, {}, headline=True),
        Step("rows held out", 6, {}, headline=True),
    ]


def test_a_stage_without_figures_leaves_its_step_out() -> None:
    assert steps({"tasks": {}, "dataset": {"rows": {"train": 3}}}) == [Step("rows to train on", 3, {}, headline=True)]


def test_proven_tasks_are_counted_over_the_units() -> None:
    assert steps({"tasks": {"tasks": {"evolutionaryReplay": 3, "semanticRuntimeAlignment": 2}}}) == [
        Step("proven tasks", 5, {}, headline=True)
    ]


def test_yield_is_per_unit() -> None:
    assert unit_yields(STAGES)["evolutionaryReplay"]["yield"] == 0.825
