"""Attempt results into scores. Pure. Called by the evaluation stage for every model and suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from repoexpert.evaluation import statistics
from repoexpert.evaluation.records import Comparison, Estimate, OutcomeClass, Role, Scores, SuiteScores
from repoexpert.rollout.records import AttemptResult

_FORMAT_STATUSES = frozenset({"RepeatedFormatError", "FormatError"})
_LIMIT_STATUSES = frozenset({"LimitsExceeded", "ContextExceeded", "TimeExceeded", "Looping", "SubmissionTooLong"})


def outcome_class(result: AttemptResult) -> OutcomeClass:
    """Keep wrong answers, broken format and exhausted limits apart: they call for different remedies."""
    if result.outcome == "verified":
        return "verified"
    if result.outcome == "rejected":
        return "wrong-answer"
    if result.exit_status in _FORMAT_STATUSES or "format" in result.reason:
        return "format-failure"
    if result.exit_status in _LIMIT_STATUSES or "limit" in result.reason:
        return "limit"
    return "no-answer"


def score_suite(
    suite: str, units: Mapping[str, str], results: Sequence[AttemptResult], attempts: int, seed: int
) -> SuiteScores:
    """Scores of one model on one suite.

    `units`: every task of the suite to its unit; `attempts`: wanted per task; `seed`: of the bootstrap.
    """
    verdicts: dict[str, tuple[bool, ...]] = {}
    for task in sorted(units):
        found = sorted((r for r in results if r.task == task), key=lambda r: r.attempt)
        verdicts[task] = tuple(r.outcome == "verified" for r in found)
    names = sorted(set(units.values()))

    def of(unit: str | None) -> Scores:
        tasks = [task for task in sorted(units) if unit is None or units[task] == unit]
        mine = [result for result in results if result.task in set(tasks)]
        return _scores(unit or "all", {task: verdicts[task] for task in tasks}, mine, attempts, seed)

    return SuiteScores(suite=suite, overall=of(None), units=tuple(of(name) for name in names), verdicts=verdicts)


def _scores(
    unit: str, verdicts: Mapping[str, Sequence[bool]], results: Sequence[AttemptResult], attempts: int, seed: int
) -> Scores:
    classes: Counter[OutcomeClass] = Counter(outcome_class(result) for result in results)
    rates = {str(k): statistics.pass_at_k(verdicts, k) for k in range(1, attempts + 1)}
    return Scores(
        unit=unit,
        tasks=len(verdicts),
        attempts=len(results),
        missing=len(verdicts) * attempts - len(results),
        pass_rate=pass_rate_estimate(verdicts, seed),
        pass_at={k: rate for k, rate in rates.items() if rate is not None},
        turns=_mean(result.steps for result in results),
        prompt_tokens=_mean(result.prompt_tokens for result in results),
        completion_tokens=_mean(result.completion_tokens for result in results),
        loop_rate=_mean(result.looping for result in results),
        outcomes=dict(sorted(classes.items())),
        reasons=dict(sorted(Counter(_reason(r) for r in results if r.outcome != "verified").items())),
        suspicious=sum(bool(result.suspicious) for result in results),
    )


def _reason(result: AttemptResult) -> str:
    return result.reason or result.exit_status or "unknown"


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def pass_rate_estimate(verdicts: Mapping[str, Sequence[bool]], seed: int) -> Estimate | None:
    """Pass rate with its interval; None when nothing was scored."""
    value = statistics.pass_rate(verdicts)
    if value is None:
        return None
    bounds = statistics.pass_rate_interval(verdicts, np.random.default_rng(seed))
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds.low, high=bounds.high)


def compare(candidate: SuiteScores, other: SuiteScores, over: Role, seed: int) -> Comparison:
    """Paired difference on one suite."""
    value = statistics.gain(candidate.verdicts, other.verdicts)
    draws = statistics.resampled_gains(candidate.verdicts, other.verdicts, np.random.default_rng(seed))
    return Comparison(suite=candidate.suite, over=over, gain=None if value is None else estimate(value, draws))


def estimate(value: float, draws: statistics.Floats) -> Estimate:
    """A value with the 95 % interval of its bootstrap draws."""
    bounds = statistics.interval(draws)
    return Estimate(value=value) if bounds is None else Estimate(value=value, low=bounds.low, high=bounds.high)
