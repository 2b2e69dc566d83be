"""`spec.evaluation`: on what the candidate is judged, against what, and what it has to reach to be served."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from repoexpert.api.base import ApiModel, Rule
from repoexpert.api.scalars import ATOMIC, SET, Count, Day, DecimalText, list_map

SuiteName = Literal["heldout", "swe-bench-verified", "tdd-bench-verified", "fea-bench", "swe-qa"]
Metric = Literal[
    "execution.passRate",
    "heldout.passRate",
    "heldout.nll",
    "swe-bench-verified.passRate",
    "tdd-bench-verified.passRate",
    "fea-bench.passRate",
    "swe-qa.score",
]
"""`execution` is the mean over the listed suites that are graded by running tests."""

EXECUTION_SUITES = ("heldout", "swe-bench-verified", "tdd-bench-verified", "fea-bench")
"""Suites graded by running tests."""


class Suite(ApiModel):
    """One set of evaluation tasks."""

    name: SuiteName = Field(
        description="heldout: made from this repository's history after the cutoff. The others: the paper's published suites."
    )
    limit: Annotated[Count, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Most tasks taken from the suite. Absent: all; of heldout, 100."
    )


class GateRule(ApiModel):
    """One thing the candidate must reach. Exactly one of minimumGain and maximumRatio."""

    metric: Metric = Field(
        description="SUITE.passRate, heldout.nll, swe-qa.score, or execution.passRate: the mean of all listed suites "
        "that are graded by running tests."
    )
    over: Literal["base", "served"] = Field(
        default="base", description="What the candidate is compared with: the untrained student or the served model."
    )
    minimum_gain: Annotated[Decimal, DecimalText(at_least="-1", at_most="1", signed=True)] | None = Field(
        default=None, description='Candidate minus the other must reach this, for example "0.05"; not for nll.'
    )
    maximum_ratio: Annotated[Decimal, DecimalText(above="0", at_most="1000")] | None = Field(
        default=None, description='Candidate divided by the other must not pass this, for example "0.9"; nll only.'
    )
    confidence: Annotated[Decimal, DecimalText(above="0", below="1")] | None = Field(
        default=None,
        description="The rule must hold with this one-sided confidence (bootstrap). Absent: the point estimate decides.",
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.minimumGain) != has(self.maximumRatio)",
            message="needs exactly one of minimumGain and maximumRatio",
            holds=lambda it: (it.minimum_gain is None) != (it.maximum_ratio is None),
        ),
        Rule(
            cel="!self.metric.endsWith('.nll') || !has(self.minimumGain)",
            message="does not fit nll, where lower is better: use maximumRatio",
            holds=lambda it: not it.metric.endswith(".nll") or it.minimum_gain is None,
            field="minimumGain",
        ),
        Rule(
            cel="self.metric.endsWith('.nll') || !has(self.maximumRatio)",
            message="fits nll only: use minimumGain, where higher is better",
            holds=lambda it: it.metric.endswith(".nll") or it.maximum_ratio is None,
            field="maximumRatio",
        ),
    )


def default_gate() -> tuple[GateRule, ...]:
    """The gate when none is written: better at running tasks, surely; and clearly more at home in the code."""
    return (
        GateRule(metric="execution.passRate", minimum_gain=Decimal("0.05"), confidence=Decimal("0.9")),
        GateRule(metric="heldout.nll", maximum_ratio=Decimal("0.9")),
    )


def _listed(it: Evaluation) -> set[str]:
    return {suite.name for suite in it.suites}


class Evaluation(ApiModel):
    """On what the candidate is judged, against what, and what it has to reach."""

    suites: Annotated[tuple[Suite, ...], Field(min_length=1, max_length=8, json_schema_extra=list_map("name"))] = Field(
        default=(Suite(name="heldout"),), description="The sets of evaluation tasks."
    )
    until: Day | None = Field(
        default=None,
        description="heldout uses history after the cutoff up to this day (YYYY-MM-DD, inclusive, UTC). Absent: up to the ref.",
    )
    attempts: Annotated[Count, Field(ge=1, le=64)] = Field(default=3, description="Attempts per task.")
    compare_with: Annotated[tuple[Literal["base", "served"], ...], Field(max_length=2, json_schema_extra=SET)] = Field(
        default=("base", "served"),
        description="Models that run the same tasks: base, the untrained student; served, the one in use if there is one.",
    )
    gate: Annotated[tuple[GateRule, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = Field(
        default_factory=default_gate,
        description="Every rule must hold for the candidate to be served; else the served model stays. "
        "An empty list lets every candidate pass.",
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.gate.all(g, g.metric.startsWith('execution.') || self.suites.exists(s, g.metric.startsWith(s.name + '.')))",
            message="a rule uses a suite that evaluation.suites does not list: list it, or write a gate without it "
            "(the default gate uses heldout)",
            holds=lambda it: all(
                rule.metric.startswith("execution.") or rule.metric.split(".")[0] in _listed(it) for rule in it.gate
            ),
            field="gate",
        ),
        Rule(
            cel="self.suites.exists(s, s.name != 'swe-qa') || !self.gate.exists(g, g.metric.startsWith('execution.'))",
            message="execution.passRate needs a suite that is graded by running tests; swe-qa is not",
            holds=lambda it: (
                bool(_listed(it) & set(EXECUTION_SUITES))
                or not any(rule.metric.startswith("execution.") for rule in it.gate)
            ),
            field="gate",
        ),
        Rule(
            cel="self.gate.all(g, g.over in self.compareWith)",
            message="a rule is over a model that compareWith does not list: add it there",
            holds=lambda it: all(rule.over in it.compare_with for rule in it.gate),
            field="gate",
        ),
    )
