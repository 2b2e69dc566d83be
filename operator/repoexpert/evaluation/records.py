"""What `report.json` holds. Frozen data with camelCase names; written by the evaluation stage, read by gate and page.

A value that could not be measured is null, never zero: unscored attempts are counted in `missing` alone.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Role = Literal["base", "candidate", "served"]
OutcomeClass = Literal["verified", "wrong-answer", "format-failure", "limit", "no-answer"]
"""How a finished attempt ended. An infrastructure failure leaves no result and is counted as missing."""


class ReportPart(BaseModel):
    """Base of every part: unknown fields are refused, JSON names are camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, protected_namespaces=()
    )


class Estimate(ReportPart):
    """A value with its two-sided 95 % bootstrap interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Scores(ReportPart):
    """One model on the tasks of one unit of a suite, or on all of them (`unit` is `all`)."""

    unit: str
    tasks: int = Field(description="Tasks of the suite, scored or not.")
    attempts: int = Field(description="Finished attempts.")
    missing: int = Field(description="Attempts without a result: the infrastructure failed. Not counted as wrong.")
    pass_rate: Estimate | None = None
    pass_at: dict[str, float] = Field(default_factory=dict, description="k to unbiased pass@k.")
    turns: float | None = Field(default=None, description="Mean per attempt.")
    prompt_tokens: float | None = Field(default=None, description="Mean per attempt.")
    completion_tokens: float | None = Field(default=None, description="Mean per attempt.")
    loop_rate: float | None = Field(default=None, description="Share of attempts that repeated themselves.")
    outcomes: dict[OutcomeClass, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict, description="Why attempts did not verify.")
    suspicious: int = Field(default=0, description="Attempts that looked for the answer outside the tree.")


class SuiteScores(ReportPart):
    """One model on one suite."""

    suite: str
    overall: Scores
    units: tuple[Scores, ...]
    verdicts: dict[str, tuple[bool, ...]] = Field(description="Task to the verdict of each finished attempt.")


class Comparison(ReportPart):
    """Candidate minus another model on one suite, over the tasks that both finished."""

    suite: str
    over: Role
    gain: Estimate | None


class ModelResult(ReportPart):
    """One model that was run."""

    role: Role
    digest: str = Field(description="sha256 over the model's files.")
    source: str = Field(description="Where it comes from: the base model's URL, or the training artifact.")
    suites: tuple[SuiteScores, ...] = ()


class TrajectoryNll(ReportPart):
    """One held-out trajectory: mean NLL per label token (nats) under each model."""

    id: str
    tokens: int
    nll: dict[Role, float]


class NllRatio(ReportPart):
    """Candidate's token-weighted NLL divided by another model's."""

    over: Role
    ratio: Estimate


class NllResult(ReportPart):
    """How likely each model finds verified trajectories that it was not trained on."""

    dataset: str = Field(description="sha256 of heldout.jsonl.")
    tokens: int
    token_weighted: dict[Role, Estimate] = Field(description="Mean over label tokens, nats.")
    per_trajectory: dict[Role, Estimate] = Field(description="Mean of the trajectories' means, nats.")
    ratios: tuple[NllRatio, ...]
    trajectories: tuple[TrajectoryNll, ...]


class SuiteInfo(ReportPart):
    """What a suite is made of."""

    name: str
    tasks: int
    units: dict[str, int]
    description: str
    summary: dict[str, Any] = Field(default_factory=dict, description="How its tasks were made, rejects included.")


class Subject(ReportPart):
    """What was trained: taken from the spec and its resolution."""

    name: str
    namespace: str
    repository: str
    cutoff: str
    cutoff_commit: str
    until_commit: str
    student: str
    teacher: str
    scripted_teacher: bool


class Report(ReportPart):
    """Everything the evaluation found. A function of the artifacts alone: no time of day, no machine."""

    format: Literal[1] = 1
    subject: Subject
    artifacts: dict[str, str] = Field(description="Stage to fingerprint.")
    settings: dict[str, Any] = Field(description="Agent limits, sampling and attempts, as evaluated.")
    stages: dict[str, dict[str, Any]] = Field(description="Stage to the summary in its manifest.")
    suites: tuple[SuiteInfo, ...] = ()
    models: tuple[ModelResult, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    nll: NllResult | None = None
    training_curve: tuple[dict[str, float], ...] = Field(default=(), description="Rows of the training log.")
    served: str | None = Field(default=None, description="The model that was served when this was made; null: none.")

    def model_for(self, role: Role) -> ModelResult | None:
        """The model with this role, if it was run."""
        return next((model for model in self.models if model.role == role), None)
