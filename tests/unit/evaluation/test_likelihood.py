"""NLL of several models side by side."""

from __future__ import annotations

import pytest

from repoexpert.errors import InfrastructureError
from repoexpert.evaluation.gathering import steady
from repoexpert.evaluation.likelihood import Measured, combine

BASE = {f"replay-{n}/1": Measured(100 + n, 2.0 + n / 10) for n in range(6)}
BETTER = {one: Measured(tokens, nll / 2) for one, (tokens, nll) in BASE.items()}


def test_a_model_half_as_surprised_has_half_the_ratio() -> None:
    found = combine("d", {"base": BASE, "candidate": BETTER}, seed=1)
    assert found is not None
    (row,) = found.ratios
    assert row.ratio.model_dump() == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    assert found.tokens == sum(tokens for tokens, _ in BASE.values())
    assert [one.id for one in found.trajectories] == sorted(BASE)


def test_models_measured_on_other_tokens_are_not_compared() -> None:
    other = {**BETTER, "replay-0/1": Measured(1, 1.0)}
    with pytest.raises(InfrastructureError, match="same tokens"):
        combine("d", {"base": BASE, "candidate": other}, seed=1)


def test_without_trajectories_there_is_no_result() -> None:
    assert combine("d", {"base": {}, "candidate": {}}, seed=1) is None


def test_figures_of_the_machine_stay_out_of_a_report_at_any_depth() -> None:
    assert steady({"a": 1, "seconds": 3.2, "units": [{"verified": 2, "reused": 7}]}) == {
        "a": 1,
        "units": [{"verified": 2}],
    }
