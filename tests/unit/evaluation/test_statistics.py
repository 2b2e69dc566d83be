"""Figures with their uncertainty: known values, and what must hold for any data."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoexpert.evaluation import statistics

VERDICTS = st.lists(st.booleans(), min_size=1, max_size=5)
TASKS = st.dictionaries(st.text("abc", min_size=1, max_size=3), VERDICTS, min_size=1, max_size=8)
RESAMPLES = 400


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        pytest.param({}, None, id="nothing was run"),
        pytest.param({"a": []}, None, id="nothing finished: unscored is not zero"),
        pytest.param({"a": [False]}, 0.0, id="a wrong answer is zero"),
        pytest.param({"a": [True, False], "b": [True]}, 0.75, id="tasks count equally, however many attempts finished"),
        pytest.param({"a": [True], "b": []}, 1.0, id="an unscored task does not count"),
    ],
)
def test_the_pass_rate_is_the_mean_over_scored_tasks(attempts: dict[str, list[bool]], expected: float | None) -> None:
    assert statistics.pass_rate(attempts) == expected


@given(TASKS, st.integers(1, 5))
def test_pass_at_k_is_the_share_of_draws_of_k_attempts_with_a_pass(attempts: dict[str, list[bool]], k: int) -> None:
    if any(len(verdicts) < k for verdicts in attempts.values()):
        assert statistics.pass_at_k(attempts, k) is None
        return
    by_hand = [np.mean([any(drawn) for drawn in combinations(verdicts, k)]) for verdicts in attempts.values()]
    assert statistics.pass_at_k(attempts, k) == pytest.approx(np.mean(by_hand))


@given(TASKS)
def test_pass_at_one_is_the_pass_rate(attempts: dict[str, list[bool]]) -> None:
    assert statistics.pass_at_k(attempts, 1) == pytest.approx(statistics.pass_rate(attempts))


@settings(max_examples=30)
@given(TASKS)
def test_resampling_stays_between_zero_and_one_and_repeats_with_its_seed(attempts: dict[str, list[bool]]) -> None:
    draws = statistics.resampled_pass_rates(attempts, generator(), RESAMPLES)
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert np.array_equal(draws, statistics.resampled_pass_rates(attempts, generator(), RESAMPLES))


@settings(max_examples=30)
@given(TASKS)
def test_the_order_in_which_tasks_were_finished_changes_nothing(attempts: dict[str, list[bool]]) -> None:
    backwards = dict(reversed(attempts.items()))
    assert np.array_equal(
        statistics.resampled_pass_rates(attempts, generator(), RESAMPLES),
        statistics.resampled_pass_rates(backwards, generator(), RESAMPLES),
    )


@settings(max_examples=30)
@given(TASKS, st.floats(0.5, 0.99))
def test_a_one_sided_lower_bound_is_never_above_the_upper_one(attempts: dict[str, list[bool]], c: float) -> None:
    draws = statistics.resampled_pass_rates(attempts, generator(), RESAMPLES)
    low, high = statistics.lower_bound(draws, c), statistics.upper_bound(draws, c)
    assert low is not None
    assert high is not None
    assert low <= high


@pytest.mark.parametrize("passed", [False, True], ids=["all failed", "all passed"])
def test_the_interval_has_a_width_even_when_every_attempt_ended_alike(passed: bool) -> None:
    found = statistics.pass_rate_interval({str(task): [passed, passed] for task in range(10)}, generator())
    assert found is not None
    assert found.high - found.low > 0.2
    assert (found.high == 1.0) == passed


def test_the_interval_narrows_with_more_tasks_but_hardly_with_more_attempts_at_the_same_ones() -> None:
    few = {str(task): [task % 2 == 0] for task in range(20)}
    more_tasks = {str(task): [task % 2 == 0] for task in range(80)}
    more_attempts = {task: verdicts * 4 for task, verdicts in few.items()}
    widths = []
    for attempts in (few, more_tasks, more_attempts):
        found = statistics.pass_rate_interval(attempts, generator())
        assert found is not None
        widths.append(found.high - found.low)
    assert widths[1] < 0.6 * widths[0]
    assert widths[2] > 0.9 * widths[0]


def test_the_bootstrap_covers_the_true_rate_about_as_often_as_it_says() -> None:
    source, covered = np.random.default_rng(3), 0
    for _ in range(200):
        rates = source.beta(2, 3, size=40)
        attempts = {str(task): list(source.random(2) < rate) for task, rate in enumerate(rates)}
        draws = statistics.resampled_pass_rates(attempts, source, RESAMPLES)
        found = statistics.interval(draws, 0.9)
        assert found is not None
        covered += found.low <= 0.4 <= found.high
    assert 0.84 <= covered / 200 <= 0.99


def test_a_gain_is_over_the_tasks_that_both_finished() -> None:
    candidate = {"a": [True], "b": [True], "c": []}
    other = {"a": [False], "b": [True], "c": [True], "d": [True]}
    assert statistics.gain(candidate, other) == 0.5
    assert statistics.shared_tasks(candidate, other) == 2


def test_pairing_cancels_what_tasks_have_in_common() -> None:
    hard_and_easy = {str(task): [task % 2 == 0] * 3 for task in range(20)}
    assert np.all(statistics.resampled_gains(hard_and_easy, hard_and_easy, generator()) == 0)


def test_without_common_tasks_there_is_no_gain() -> None:
    assert statistics.gain({"a": [True]}, {"b": [True]}) is None
    assert statistics.resampled_gains({"a": [True]}, {"b": [True]}, generator()).size == 0


def test_nll_is_weighted_by_label_tokens() -> None:
    assert statistics.token_weighted_nll([1.0, 3.0], [3, 1]) == 1.5
    assert statistics.token_weighted_nll([], []) is None


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(1, 500)), min_size=1, max_size=10), st.floats(0.2, 2))
def test_the_nll_ratio_of_a_scaled_model_is_the_scale_in_every_draw(
    rows: list[tuple[float, int]], scale: float
) -> None:
    other, tokens = [nll for nll, _ in rows], [count for _, count in rows]
    draws = statistics.resampled_nll_ratios([scale * nll for nll in other], other, tokens, generator(), RESAMPLES)
    assert draws == pytest.approx(np.full(RESAMPLES, scale))


def test_nll_of_different_trajectories_is_not_compared() -> None:
    with pytest.raises(ValueError, match="same trajectories"):
        statistics.resampled_nll_ratios([1.0], [1.0, 2.0], [3], generator())
