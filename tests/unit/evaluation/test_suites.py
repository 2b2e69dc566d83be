"""Which suites there are, what they depend on, and what a person is told when one cannot be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repoexpert.api.evaluation import Suite
from repoexpert.api.expert import RepoExpert
from repoexpert.errors import BadInput, StageFailed
from repoexpert.evaluation import model_runs, suites


def expert(**evaluation: Any) -> RepoExpert:
    return RepoExpert.model_validate(
        {
            "apiVersion": "repoexpert.dev/v1alpha1",
            "kind": "RepoExpert",
            "metadata": {"name": "ledger"},
            "spec": {
                "repository": {"url": "file:///srv/ledger", "cutoff": "2024-03-31"},
                "evaluation": {"gate": [], **evaluation},
            },
        }
    )


@pytest.mark.parametrize("name", ["swe-bench-verified", "tdd-bench-verified", "fea-bench", "swe-qa"])
def test_a_suite_of_the_paper_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} not available yet"):
        suites.check_available(expert(suites=[{"name": "heldout"}, {"name": name}]))


def test_heldout_is_available() -> None:
    suites.check_available(expert())


@pytest.mark.parametrize(
    ("evaluation", "advice"),
    [({}, "move repository.cutoff back$"), ({"until": "2024-06-30"}, "or evaluation.until forward")],
)
def test_without_later_history_the_advice_is_to_move_the_cutoff(evaluation: dict[str, Any], advice: str) -> None:
    with pytest.raises(BadInput, match=advice):
        suites.check_history(expert(**evaluation), "a" * 40, "a" * 40)


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        (6, {"evolutionaryReplay": 3, "semanticRuntimeAlignment": 3}),
        (5, {"evolutionaryReplay": 3, "semanticRuntimeAlignment": 2}),
        (1, {"evolutionaryReplay": 1}),
    ],
)
def test_a_limit_is_for_both_units_together(limit: int, wanted: dict[str, int]) -> None:
    assert suites.wanted_units(Suite(name="heldout", limit=limit)) == wanted


BASE: dict[str, Any] = {
    "url": "file:///srv/ledger", "cutoff_commit": "a", "until_commit": "b", "day": "2024-06-30", "environment": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"cutoff_commit": "c"}, {"until_commit": "c"}, {"day": "x"}, {"environment": {"python": "3.9"}}]
)
def test_a_suite_depends_on_its_history_and_environment(change: dict[str, Any]) -> None:
    suite = Suite(name="heldout", limit=4)
    assert suites.fingerprint(suite, **BASE) != suites.fingerprint(suite, **{**BASE, **change})


def test_a_suite_does_not_depend_on_how_its_limit_came_about() -> None:
    absent, written = Suite(name="heldout"), Suite(name="heldout", limit=suites.DEFAULT_LIMIT)
    assert suites.fingerprint(absent, **BASE) == suites.fingerprint(written, **BASE)


def test_a_suite_without_a_task_is_a_failure_with_the_counts(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"no change after the cutoff.*no-test-breaks.*Move repository.cutoff back"):
        suites.write_suite(tmp_path, "heldout", [], {"rejected": {"no-test-breaks": 4}})


def test_a_run_depends_on_model_suite_and_everything_the_agent_is_given() -> None:
    plain = model_runs.fingerprint(expert(), "model", "suite")
    others = [
        model_runs.fingerprint(expert(), "other", "suite"),
        model_runs.fingerprint(expert(), "model", "other"),
        model_runs.fingerprint(expert(attempts=4), "model", "suite"),
    ]
    assert len({plain, *others}) == 4


def test_a_run_does_not_depend_on_gate_or_comparison() -> None:
    plain = model_runs.fingerprint(expert(), "model", "suite")
    other = expert(gate=[{"metric": "heldout.nll", "maximumRatio": "0.9"}], compareWith=["base"])
    assert model_runs.fingerprint(other, "model", "suite") == plain
