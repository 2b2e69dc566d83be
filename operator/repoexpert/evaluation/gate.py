"""Does the candidate earn its place? A pure function of the report and the spec's rules.

Called by the serving stage. Every rule must hold. What cannot be measured does not pass: a gate that lets a missing
figure through is no gate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from repoexpert.api.evaluation import EXECUTION_SUITES, GateRule
from repoexpert.evaluation import statistics
from repoexpert.evaluation.records import Report, ReportPart, Role, SuiteScores

SEED = 20_26


class RuleDecision(ReportPart):
    """One rule, judged."""

    metric: str
    over: Role
    compared_with: Role = Field(description="`base` for a rule over `served` when nothing was served.")
    kind: Literal["minimumGain", "maximumRatio"]
    threshold: float
    confidence: float | None = None
    value: float | None = Field(default=None, description="The point estimate; null: not measured.")
    bound: float | None = Field(default=None, description="What decided: the one-sided bound, or the point estimate.")
    low: float | None = Field(default=None, description="Two-sided 95 % interval.")
    high: float | None = None
    passed: bool
    reason: str


class GateDecision(ReportPart):
    """The verdict. `passed` only when every rule holds; an empty rule list passes."""

    format: Literal[1] = 1
    passed: bool
    rules: tuple[RuleDecision, ...]


class _Measured(NamedTuple):
    value: float
    draws: statistics.Floats
    pairs: int
    """Tasks or trajectories that both models have."""


def fewest_pairs(confidence: float) -> int:
    """Pairs below which no bootstrap bound is believed: by chance alone all of fewer would point one way too often
    (sign test: 0.5^n has to be within 1 - confidence)."""
    return max(2, math.ceil(math.log(1 - confidence) / math.log(0.5) - 1e-9))


def decide(report: Report, rules: Sequence[GateRule], seed: int = SEED) -> GateDecision:
    """Judge every rule; `seed` is that of the bootstrap."""
    decisions = tuple(_judge(report, rule, seed) for rule in rules)
    return GateDecision(passed=all(decision.passed for decision in decisions), rules=decisions)


def _judge(report: Report, rule: GateRule, seed: int) -> RuleDecision:
    nothing_served = rule.over == "served" and report.served is None
    other: Role = "base" if nothing_served else rule.over
    ratio = rule.maximum_ratio is not None
    threshold = float(rule.maximum_ratio if rule.maximum_ratio is not None else rule.minimum_gain or 0)
    confidence = None if rule.confidence is None else float(rule.confidence)
    measured = _measure(report, rule.metric, other, np.random.default_rng(seed))
    common = {
        "metric": rule.metric,
        "over": rule.over,
        "compared_with": other,
        "kind": "maximumRatio" if ratio else "minimumGain",
        "threshold": threshold,
        "confidence": confidence,
    }
    note = " (nothing is served yet, so compared with base)" if nothing_served else ""
    if not isinstance(measured, str) and confidence is not None and measured.pairs < fewest_pairs(confidence):
        measured = (
            f"{measured.pairs} pairs are too few for a bound at {confidence:.0%} confidence, "
            f"{fewest_pairs(confidence)} are needed"
        )
    if isinstance(measured, str):
        return RuleDecision.model_validate({**common, "passed": False, "reason": f"not measured: {measured}{note}"})
    bound = _bound(measured, ratio, confidence)
    interval = statistics.interval(measured.draws)
    if bound is None:
        reason = "not measured: too little data for a bound"
        return RuleDecision.model_validate(
            {**common, "value": measured.value, "passed": False, "reason": reason + note}
        )
    passed = bound <= threshold if ratio else bound >= threshold
    return RuleDecision.model_validate(
        {
            **common,
            "value": measured.value,
            "bound": bound,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
            "passed": passed,
            "reason": _sentence(measured.value, bound, threshold, ratio, confidence, other, passed) + note,
        }
    )


def _bound(measured: _Measured, ratio: bool, confidence: float | None) -> float | None:
    if confidence is None:
        return measured.value
    if ratio:
        return statistics.upper_bound(measured.draws, confidence)
    return statistics.lower_bound(measured.draws, confidence)


def _sentence(
    value: float, bound: float, threshold: float, ratio: bool, confidence: float | None, other: Role, passed: bool
) -> str:
    what = f"ratio to {other} {value:.3f}" if ratio else f"gain over {other} {value:+.3f}"
    if confidence is not None:
        side = "at most" if ratio else "at least"
        shown = f"{bound:.3f}" if ratio else f"{bound:+.3f}"
        what += f", {side} {shown} at {confidence:.0%} confidence"
    limit = f"at most {threshold:g}" if ratio else f"at least {threshold:+g}"
    return f"{what}; wanted {limit}: {'holds' if passed else 'does not hold'}"


def _measure(report: Report, metric: str, other: Role, generator: np.random.Generator) -> _Measured | str:
    """The point estimate with its bootstrap draws, or why there is none."""
    subject, _, figure = metric.partition(".")
    if figure == "nll":
        return _measure_nll(report, other, generator)
    if figure != "passRate":
        return f"{metric} is not available yet"
    listed = {info.name for info in report.suites}
    wanted = [suite for suite in EXECUTION_SUITES if suite in listed] if subject == "execution" else [subject]
    if not wanted:
        return "the report has no suite that is graded by running tests"
    parts: list[_Measured] = []
    for suite in wanted:
        pair = _pair(report, suite, other)
        if isinstance(pair, str):
            return pair
        value = statistics.gain(pair[0].verdicts, pair[1].verdicts)
        if value is None:
            return f"no task of {suite} was finished by both models"
        draws = statistics.resampled_gains(pair[0].verdicts, pair[1].verdicts, generator)
        parts.append(_Measured(value, draws, statistics.shared_tasks(pair[0].verdicts, pair[1].verdicts)))
    return _Measured(
        float(np.mean([part.value for part in parts])),
        np.asarray(np.mean([part.draws for part in parts], axis=0)),
        sum(part.pairs for part in parts),
    )


def _pair(report: Report, suite: str, other: Role) -> tuple[SuiteScores, SuiteScores] | str:
    found: list[SuiteScores] = []
    roles: tuple[Role, Role] = ("candidate", other)
    for role in roles:
        model = report.model_for(role)
        scores = next((scores for scores in model.suites if scores.suite == suite), None) if model else None
        if scores is None:
            return f"{role} has no result on {suite}"
        found.append(scores)
    return found[0], found[1]


def _measure_nll(report: Report, other: Role, generator: np.random.Generator) -> _Measured | str:
    if report.nll is None:
        return "there is no NLL in the report"
    rows = [row for row in report.nll.trajectories if "candidate" in row.nll and other in row.nll and row.tokens]
    if not rows:
        return f"no held-out trajectory has an NLL of both candidate and {other}"
    ours, theirs = [row.nll["candidate"] for row in rows], [row.nll[other] for row in rows]
    tokens = [row.tokens for row in rows]
    numerator, denominator = statistics.token_weighted_nll(ours, tokens), statistics.token_weighted_nll(theirs, tokens)
    if numerator is None or not denominator:
        return f"the NLL of {other} is zero"
    draws = statistics.resampled_nll_ratios(ours, theirs, tokens, generator)
    return _Measured(numerator / denominator, draws, len(rows))
