"""Figures with their uncertainty. Pure: data and a seeded generator in, numbers out.

Called by the scoring of a suite, the report and the gate. Tasks differ far more than attempts at one task do, so every
resampling draws tasks first and then attempts within each drawn task (cluster bootstrap). Pairs stay together: two
models are compared on the same draw of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Attempts = Mapping[str, Sequence[bool]]
"""Task id to the verdicts of its finished attempts. A task without a finished attempt is unscored, not failed."""

RESAMPLES = 10_000


class Interval(NamedTuple):
    """A two-sided percentile interval."""

    low: float
    high: float


def pass_rate(attempts: Attempts) -> float | None:
    """Mean over tasks of the share of passed attempts, in [0, 1]; None when no attempt finished."""
    rates = [sum(verdicts) / len(verdicts) for _, verdicts in sorted(attempts.items()) if verdicts]
    return float(np.mean(rates)) if rates else None


def pass_at_k(attempts: Attempts, k: int) -> float | None:
    """Probability that at least one of `k` attempts passes, unbiased (Chen et al. 2021, 1 - C(n-c, k) / C(n, k)).

    Mean over tasks; None when a task has fewer than `k` finished attempts: dropping it would choose the tasks.
    """
    if k < 1:
        raise ValueError("k must be at least 1")
    scored = [verdicts for _, verdicts in sorted(attempts.items()) if verdicts]
    if not scored or any(len(verdicts) < k for verdicts in scored):
        return None
    return float(np.mean([1 - comb(len(v) - sum(v), k) / comb(len(v), k) for v in scored]))


def pass_rate_interval(attempts: Attempts, generator: np.random.Generator, confidence: float = 0.95) -> Interval | None:
    """Interval of `pass_rate`. Where every attempt ended alike a bootstrap knows no spread: Wilson's over tasks instead."""
    scored = [verdicts for verdicts in attempts.values() if verdicts]
    if not scored:
        return None
    if len({verdict for verdicts in scored for verdict in verdicts}) == 1:
        passed = len(scored) if scored[0][0] else 0
        from scipy.stats import binomtest

        found = binomtest(passed, len(scored)).proportion_ci(confidence_level=confidence, method="wilson")
        return Interval(float(found.low), float(found.high))
    return interval(resampled_pass_rates(attempts, generator), confidence)


def resampled_pass_rates(attempts: Attempts, generator: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
    """Bootstrap distribution of `pass_rate`, `resamples` values; empty when no attempt finished."""
    scored = [verdicts for _, verdicts in sorted(attempts.items()) if verdicts]
    if not scored:
        return np.empty(0)
    drawn = generator.integers(len(scored), size=(resamples, len(scored)))
    return _mean_of_drawn(scored, drawn, generator)


def resampled_gains(
    candidate: Attempts, other: Attempts, generator: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Bootstrap distribution of candidate minus other over the tasks that both finished; empty when there are none."""
    shared = _shared(candidate, other)
    if not shared:
        return np.empty(0)
    drawn = generator.integers(len(shared), size=(resamples, len(shared)))
    ours = _mean_of_drawn([candidate[task] for task in shared], drawn, generator)
    theirs = _mean_of_drawn([other[task] for task in shared], drawn, generator)
    return ours - theirs


def gain(candidate: Attempts, other: Attempts) -> float | None:
    """Candidate's pass rate minus the other's over the tasks that both finished; None when there are none."""
    shared = _shared(candidate, other)
    ours = pass_rate({task: candidate[task] for task in shared})
    theirs = pass_rate({task: other[task] for task in shared})
    return None if ours is None or theirs is None else ours - theirs


def shared_tasks(candidate: Attempts, other: Attempts) -> int:
    """How many tasks both finished."""
    return len(_shared(candidate, other))


def _shared(candidate: Attempts, other: Attempts) -> list[str]:
    return sorted(task for task in candidate.keys() & other.keys() if candidate[task] and other[task])


def _mean_of_drawn(
    scored: Sequence[Sequence[bool]], drawn: NDArray[np.int64], generator: np.random.Generator
) -> Floats:
    """Mean over the drawn tasks of a resampled pass rate: redrawing n verdicts of which c passed is Binomial(n, c/n)."""
    counts = np.array([len(verdicts) for verdicts in scored])
    shares = np.array([sum(verdicts) / len(verdicts) for verdicts in scored])
    redrawn = generator.binomial(counts[drawn], shares[drawn]) / counts[drawn]
    return np.asarray(redrawn.mean(axis=1), dtype=np.float64)


def token_weighted_nll(nll: Sequence[float], tokens: Sequence[int]) -> float | None:
    """Mean negative log-likelihood per label token, in nats; None without tokens."""
    total = sum(tokens)
    return float(np.dot(nll, tokens) / total) if total else None


def resampled_nll_ratios(
    candidate: Sequence[float],
    other: Sequence[float],
    tokens: Sequence[int],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Floats:
    """Bootstrap distribution, over trajectories, of the ratio of token-weighted mean NLLs.

    The three sequences run over the same trajectories: mean NLL per label token (nats) of each model, label tokens.
    """
    if not len(candidate) == len(other) == len(tokens):
        raise ValueError("candidate, other and tokens must run over the same trajectories")
    if not tokens:
        return np.empty(0)
    drawn = generator.integers(len(tokens), size=(resamples, len(tokens)))
    weight = np.asarray(tokens, dtype=np.float64)
    ours = (np.asarray(candidate, dtype=np.float64) * weight)[drawn].sum(axis=1)
    theirs = (np.asarray(other, dtype=np.float64) * weight)[drawn].sum(axis=1)
    usable = theirs > 0
    return np.asarray(ours[usable] / theirs[usable], dtype=np.float64)


def interval(draws: Floats, confidence: float = 0.95) -> Interval | None:
    """The middle `confidence` of the draws; None without draws."""
    if draws.size == 0:
        return None
    tail = (1 - confidence) / 2
    return Interval(float(np.quantile(draws, tail)), float(np.quantile(draws, 1 - tail)))


def lower_bound(draws: Floats, confidence: float) -> float | None:
    """What the value is at least, with this one-sided confidence; None without draws."""
    return float(np.quantile(draws, 1 - confidence)) if draws.size else None


def upper_bound(draws: Floats, confidence: float) -> float | None:
    """What the value is at most, with this one-sided confidence; None without draws."""
    return float(np.quantile(draws, confidence)) if draws.size else None
