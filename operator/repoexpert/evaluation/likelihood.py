"""NLL of several models on the same held-out trajectories, compared pair by pair. Pure.

The forward passes are `repoexpert.training.nll`; the evaluation stage hands their values over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from repoexpert.errors import InfrastructureError
from repoexpert.evaluation import statistics
from repoexpert.evaluation.records import Estimate, NllRatio, NllResult, Role, TrajectoryNll
from repoexpert.evaluation.scoring import estimate

STAGE = "nll"
FORMAT = 1
FILE = "nll.json"


class Measured(NamedTuple):
    """One trajectory under one model."""

    tokens: int
    """Label tokens."""
    nll: float
    """Mean per label token, nats."""


def combine(dataset: str, values: Mapping[Role, Mapping[str, Measured]], seed: int) -> NllResult | None:
    """The comparison; None without trajectories. Raises InfrastructureError when the models did not see the same ones.

    `dataset`: sha256 of the held-out file; `values`: model to trajectory id to what was measured.
    """
    if "candidate" not in values or not values["candidate"]:
        return None
    candidate = values["candidate"]
    ids = sorted(candidate)
    for role, found in values.items():
        if sorted(found) != ids or any(found[one].tokens != candidate[one].tokens for one in ids):
            raise InfrastructureError(f"NLL of {role} and candidate were not measured on the same tokens; run again")
    tokens = [candidate[one].tokens for one in ids]
    if not sum(tokens):
        return None
    return NllResult(
        dataset=dataset,
        tokens=sum(tokens),
        token_weighted={
            role: _token_weighted([found[i].nll for i in ids], tokens, seed) for role, found in values.items()
        },
        per_trajectory={role: _per_trajectory([found[i].nll for i in ids], seed) for role, found in values.items()},
        ratios=tuple(
            _ratio(role, [candidate[i].nll for i in ids], [found[i].nll for i in ids], tokens, seed)
            for role, found in values.items()
            if role != "candidate"
        ),
        trajectories=tuple(
            TrajectoryNll(
                id=one, tokens=candidate[one].tokens, nll={role: found[one].nll for role, found in values.items()}
            )
            for one in ids
        ),
    )


def _token_weighted(values: list[float], tokens: list[int], seed: int) -> Estimate:
    drawn = np.random.default_rng(seed).integers(len(values), size=(statistics.RESAMPLES, len(values)))
    weight = np.asarray(tokens, dtype=np.float64)
    total = weight[drawn].sum(axis=1)
    draws = (np.asarray(values) * weight)[drawn].sum(axis=1)[total > 0] / total[total > 0]
    return estimate(statistics.token_weighted_nll(values, tokens) or 0.0, draws)


def _per_trajectory(values: list[float], seed: int) -> Estimate:
    drawn = np.random.default_rng(seed).integers(len(values), size=(statistics.RESAMPLES, len(values)))
    return estimate(float(np.mean(values)), np.asarray(values)[drawn].mean(axis=1))


def _ratio(over: Role, candidate: list[float], other: list[float], tokens: list[int], seed: int) -> NllRatio:
    draws = statistics.resampled_nll_ratios(candidate, other, tokens, np.random.default_rng(seed))
    ours = statistics.token_weighted_nll(candidate, tokens) or 0.0
    theirs = statistics.token_weighted_nll(other, tokens) or 0.0
    if theirs <= 0:
        raise InfrastructureError(f"the NLL of {over} is not positive: the measurement cannot be right")
    return NllRatio(over=over, ratio=estimate(ours / theirs, draws))


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
