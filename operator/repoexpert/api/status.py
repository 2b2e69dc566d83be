"""`status` of a RepoExpert: what is. Written by the operator alone, read by people, `kubectl wait`, Argo CD and Flux.

Every field may be absent; decimals are strings; nothing here is ever an input of a decision that the spec makes.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, WithJsonSchema

from repoexpert.api.base import OpenModel
from repoexpert.api.scalars import ATOMIC, Count, DecimalText, Text, list_map

ConditionType = Literal[
    "Ready",
    "Reconciling",
    "Stalled",
    "Suspended",
    "EnvironmentReady",
    "TasksReady",
    "ExperienceCollected",
    "DatasetReady",
    "TrainingComplete",
    "EvaluationPassed",
    "Serving",
]
Moment = Annotated[datetime, AwareDatetime, WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40})]
Number = Annotated[Decimal, DecimalText(signed=True)]
Amount = Annotated[Count, Field(ge=0)]
Word = Annotated[str, Text(253, min_length=0)]
Line = Annotated[str, Text(1024, min_length=0)]


class Condition(OpenModel):
    """One aspect of the state, as in metav1.Condition."""

    type: ConditionType = Field(description="Which aspect.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, Text(128, r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")] = Field(
        description="One of the documented constants (repoexpert.api.conditions)."
    )
    message: Line = Field(default="", description="For people: what, where, and what to do.")
    observed_generation: Amount | None = Field(default=None, description="Generation of the spec it speaks of.")
    last_transition_time: Moment = Field(description="When the status last changed.")


class StageProgress(OpenModel):
    """How far a stage is."""

    done: Amount = Field(default=0, description="Units of work done.")
    total: Amount | None = Field(default=None, description="Units of work in all, where known.")
    unit: Word = Field(default="", description='What is counted, for example "tasks".')
    rate: Number | None = Field(default=None, description="Units per second.")
    eta_seconds: Amount | None = Field(default=None, description="Seconds to go, where known.")


class StageStatus(OpenModel):
    """One stage of the current spec."""

    name: Annotated[str, Text(40)] = Field(description="Name of the stage.")
    fingerprint: Annotated[str, Text(64, min_length=0)] = Field(default="", description="Name of its artifact.")
    state: Literal["UpToDate", "Missing", "Blocked", "Queued", "Running", "Failed"] = Field(
        default="Missing", description="Where it is."
    )
    attempts: Amount = Field(default=0, description="How often it was started for this fingerprint.")
    started: Moment | None = Field(default=None, description="Start of the last attempt.")
    finished: Moment | None = Field(default=None, description="End of the last attempt.")
    progress: StageProgress | None = Field(default=None, description="How far it is.")
    summary: Annotated[dict[str, Word], Field(max_length=32)] = Field(
        default_factory=dict, description="Its own figures, from the manifest."
    )
    artifact: Line = Field(default="", description="Where its artifact is kept.")


class UnitYield(OpenModel):
    """One unit of experience."""

    unit: Annotated[str, Text(64)] = Field(description="Name of the unit.")
    wanted: Amount = Field(default=0, description="Quota of the spec.")
    tasks: Amount = Field(default=0, description="Proven tasks.")
    attempted: Amount = Field(default=0, description="Finished attempts of the teacher.")
    verified: Amount = Field(default=0, description="Verified trajectories.")
    verified_share: Number | None = Field(default=None, description="verified / attempted.")


class ExperienceStatus(OpenModel):
    """What was collected."""

    tasks: Amount = Field(default=0, description="Proven tasks.")
    attempted: Amount = Field(default=0, description="Finished attempts of the teacher.")
    verified: Amount = Field(default=0, description="Verified trajectories.")
    units: Annotated[tuple[UnitYield, ...], Field(max_length=8, json_schema_extra=list_map("unit"))] = Field(
        default=(), description="The same by unit."
    )
    input_tokens: Amount = Field(default=0, description="Tokens read by the teacher.")
    output_tokens: Amount = Field(default=0, description="Tokens written by the teacher.")
    cost: Number | None = Field(default=None, description="What the teacher cost, US dollars.")


class TrainingStatus(OpenModel):
    """How training goes."""

    step: Amount = Field(default=0, description="Optimizer steps done.")
    steps: Amount | None = Field(default=None, description="Optimizer steps in all.")
    loss: Number | None = Field(default=None, description="Last logged training loss, nats per token.")
    tokens_per_second: Number | None = Field(default=None, description="Throughput over all GPUs.")
    eta_seconds: Amount | None = Field(default=None, description="Seconds to go.")
    nll: Number | None = Field(
        default=None, description="Negative log-likelihood on held-out trajectories, nats per token."
    )


class SuiteScore(OpenModel):
    """The result of one suite."""

    name: Annotated[str, Text(64)] = Field(description="Name of the suite.")
    pass_rate: Number | None = Field(default=None, description="The candidate's mean, 0 to 1.")
    interval: Annotated[tuple[Number, ...], Field(max_length=2, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Bootstrap interval of passRate: low, high."
    )
    n: Amount = Field(default=0, description="Graded tasks.")
    base: Number | None = Field(default=None, description="The base model's mean.")
    served: Number | None = Field(default=None, description="The served model's mean.")


class EvaluationStatus(OpenModel):
    """What evaluation found."""

    suites: Annotated[tuple[SuiteScore, ...], Field(max_length=8, json_schema_extra=list_map("name"))] = Field(
        default=(), description="The result of each suite."
    )
    report: Line = Field(default="", description="Where the report is kept.")


class GateRuleStatus(OpenModel):
    """One rule of the gate."""

    metric: Word = Field(description="What was looked at.")
    passed: bool | None = Field(default=None, description="Whether it holds; absent: could not be judged.")
    reason: Line = Field(default="", description="The figures that decided it.")


class GateStatus(OpenModel):
    """The gate's decision."""

    passed: bool = Field(description="Whether every rule holds.")
    rules: Annotated[tuple[GateRuleStatus, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Rule by rule."
    )


class Revision(OpenModel):
    """One trained model of the expert."""

    revision: Amount = Field(description="Counts the models of this expert from 1.")
    model: Line = Field(default="", description="Where its weights are kept.")
    fingerprint: Annotated[str, Text(64, min_length=0)] = Field(default="", description="Fingerprint of its training.")
    since: Moment | None = Field(default=None, description="Since when it is in this place.")


class Endpoint(OpenModel):
    """Where the served model answers."""

    url: Annotated[str, Text(2048, min_length=0)] = Field(default="", description="Root of its OpenAI-compatible API.")
    model: Word = Field(default="", description="Model name to ask for.")


class RepoExpertStatus(OpenModel):
    """What is."""

    observed_generation: Amount | None = Field(default=None, description="Generation of the spec that this speaks of.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=list_map("type"))] = Field(
        default=(), description="Ready, Reconciling, Stalled, Suspended, and one per stage."
    )
    phase: Word = Field(default="", description="One word derived from the conditions, for printing only.")
    progress: Word = Field(default="", description="Progress of the running stage, for printing only.")
    score: Word = Field(default="", description="The candidate's execution.passRate, for printing only.")
    gain: Word = Field(default="", description="score minus the base model's, for printing only.")
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = Field(
        default=(), description="Every stage of the current spec, in order."
    )
    experience: ExperienceStatus | None = Field(default=None, description="What was collected.")
    training: TrainingStatus | None = Field(default=None, description="How training goes.")
    evaluation: EvaluationStatus | None = Field(default=None, description="What evaluation found.")
    gate: GateStatus | None = Field(default=None, description="The gate's decision on the candidate.")
    served: Revision | None = Field(default=None, description="The model that answers.")
    candidate: Revision | None = Field(default=None, description="The model that is being made or judged.")
    previous: Revision | None = Field(default=None, description="The model served before, for a rollback.")
    endpoint: Endpoint | None = Field(default=None, description="Where the served model answers.")
