"""The gate's decisions: what passes, what does not, and that nothing passes unmeasured."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from repoexpert.api.evaluation import GateRule
from repoexpert.evaluation import gate
from tests.builders import reports

TASKS = [f"replay-{number:012d}" for number in range(10)]
NONE = {task: [False, False] for task in TASKS}
HALF = {task: [number % 2 == 0] * 2 for number, task in enumerate(TASKS)}
ALL = {task: [True, True] for task in TASKS}


def models(**verdicts: dict[str, list[bool]]) -> tuple[Any, ...]:
    return tuple(reports.model(role, found) for role, found in verdicts.items())  # type: ignore[arg-type]


def passes(minimum_gain: str = "0.05", **changes: Any) -> GateRule:
    return GateRule(metric="execution.passRate", minimum_gain=Decimal(minimum_gain), **changes)


def nll(maximum_ratio: str = "0.9", **changes: Any) -> GateRule:
    return GateRule(metric="heldout.nll", maximum_ratio=Decimal(maximum_ratio), **changes)


BETTER = [(2.0, 1.5 + number / 100) for number in range(8)]
NINETY = Decimal("0.9")

CASES: dict[str, tuple[dict[str, Any], GateRule, bool, str]] = {
    "a clear gain passes": ({"models": models(base=NONE, candidate=HALF)}, passes(confidence=NINETY), True, "holds"),
    "no gain does not pass": ({"models": models(base=HALF, candidate=HALF)}, passes(), False, "does not hold"),
    "a loss passes where a loss is allowed": (
        {"models": models(base=ALL, candidate=HALF)}, passes("-0.6"), True, "holds"),
    "a gain of exactly the minimum passes": ({"models": models(base=NONE, candidate=HALF)}, passes("0.5"), True, "holds"),
    "a point estimate above the minimum is not enough where confidence is asked": (
        {"models": models(base=NONE, candidate={**NONE, TASKS[0]: [True, True]})}, passes(confidence=NINETY), False,
        "at least +0.000 at 90% confidence"),
    "the same point estimate is enough where none is asked": (
        {"models": models(base=NONE, candidate={**NONE, TASKS[0]: [True, True]})}, passes(), True, "holds"),
    "three tasks prove nothing however they end": (
        {"models": models(base={t: [False] for t in TASKS[:3]}, candidate={t: [True] for t in TASKS[:3]})},
        passes(confidence=NINETY), False, "3 pairs are too few"),
    "a model that was not run is not measured": (
        {"models": models(candidate=HALF)}, passes(), False, "not measured: base has no result on heldout"),
    "attempts lost to the machine are not measured": (
        {"models": models(base={t: [] for t in TASKS}, candidate=ALL)}, passes(), False, "no task of heldout"),
    "without suites execution is not measured": ({"suites": (), "models": ()}, passes(), False, "no suite"),
    "a lower nll passes": ({"nll": reports.nll(BETTER)}, nll(confidence=NINETY), True, "holds"),
    "an equal nll does not pass": ({"nll": reports.nll([(2.0, 2.0)] * 8)}, nll(), False, "does not hold"),
    "a missing nll does not pass": ({"nll": None}, nll(), False, "not measured: there is no NLL"),
    "an nll of one trajectory has no bound": (
        {"nll": reports.nll([(2.0, 1.0)])}, nll(confidence=NINETY), False, "1 pairs are too few"),
    "an nll over a model that was not measured does not pass": (
        {"nll": reports.nll(BETTER), "served": "default/boltons/training/" + "a" * 64}, nll(over="served"), False,
        "both candidate and served"),
    "over served is over the served model": (
        {"models": models(base=NONE, candidate=HALF, served=ALL), "served": "x"}, passes(over="served"), False,
        "gain over served -0.500"),
    "over served with nothing served is over base, and says so": (
        {"models": models(base=NONE, candidate=HALF)}, passes(over="served"), True, "nothing is served yet"),
    "a figure of a later version is not measured": (
        {}, GateRule(metric="swe-qa.score", minimum_gain=Decimal("0.1")), False, "not available yet"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_judged(case: str) -> None:
    changes, rule, expected, reason = CASES[case]
    decision = gate.decide(reports.report(**changes), [rule])
    assert (decision.passed, decision.rules[0].passed) == (expected, expected)
    assert reason in decision.rules[0].reason


def test_every_rule_must_hold() -> None:
    report = reports.report(models=models(base=NONE, candidate=HALF), nll=reports.nll([(2.0, 2.1)] * 6))
    decision = gate.decide(report, [passes(), nll()])
    assert [rule.passed for rule in decision.rules] == [True, False]
    assert not decision.passed


def test_a_gate_without_rules_passes() -> None:
    assert gate.decide(reports.report(), []) == gate.GateDecision(passed=True, rules=())


def test_execution_is_the_mean_over_the_suites() -> None:
    twice = tuple(
        model.model_copy(
            update={"suites": (*model.suites, reports.model(model.role, found, suite="fea-bench").suites[0])}
        )
        for model, found in zip(models(base=NONE, candidate=HALF), (NONE, NONE), strict=True)
    )
    info = reports.report().suites[0]
    report = reports.report(models=twice, suites=(info, info.model_copy(update={"name": "fea-bench"})))
    assert gate.decide(report, [passes()]).rules[0].value == pytest.approx(0.25)


def test_the_decision_is_the_same_every_time() -> None:
    rules = [passes(confidence=NINETY), nll(confidence=NINETY)]
    assert gate.decide(reports.report(), rules) == gate.decide(reports.report(), rules)


@pytest.mark.parametrize(("confidence", "fewest"), [(0.5, 2), (0.9, 4), (0.95, 5), (0.99, 7)])
def test_more_confidence_needs_more_pairs(confidence: float, fewest: int) -> None:
    assert gate.fewest_pairs(confidence) == fewest
