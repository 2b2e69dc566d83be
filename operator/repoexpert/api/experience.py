"""`spec.experience`: what is practised (the unit mix), by which teacher, within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from repoexpert.api.base import NO_DEFAULT, ApiModel, Rule
from repoexpert.api.references import SecretKeyRef
from repoexpert.api.scalars import Count, DecimalText, Text

TEACHER_KEY_VARIABLE = "REPOEXPERT_TEACHER_API_KEY"
"""On one machine there are no Secrets: the value of `teacher.apiKeySecretRef` is read from this environment variable."""

UNIT_QUOTA = 2048
"""Verified trajectories per unit in the paper's main experiment."""

AVAILABLE_UNITS = frozenset({"evolutionary_replay", "semantic_runtime_alignment"})
"""Units this version can collect; see `repoexpert.api.availability`."""

Quota = Annotated[Count, Field(ge=0, le=1_000_000)]


class Units(ApiModel):
    """The unit mix: how many verified trajectories are wanted per unit. 0 or absent leaves a unit out."""

    software_design: Quota = Field(
        default=0, description="Explain a part of the system: purpose, rationale, neighbours."
    )
    contextual_implementation: Quota = Field(default=0, description="Fill a hole that uses the rest of the repository.")
    evolutionary_replay: Quota = Field(default=0, description="Redo a change from the repository's own history.")
    semantic_runtime_alignment: Quota = Field(default=0, description="Write tests that reproduce a bug.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(has(self.softwareDesign) && self.softwareDesign > 0)"
            " || (has(self.contextualImplementation) && self.contextualImplementation > 0)"
            " || (has(self.evolutionaryReplay) && self.evolutionaryReplay > 0)"
            " || (has(self.semanticRuntimeAlignment) && self.semanticRuntimeAlignment > 0)",
            message="every unit is zero or absent, so nothing would be practised: give at least one unit a quota, "
            "or leave units out for the default mix",
            holds=lambda it: any(it.model_dump().values()),
        ),
    )


def default_units() -> Units:
    """The mix when `units` is absent: the paper's quota for every unit this version can collect."""
    return Units.model_validate(dict.fromkeys(sorted(AVAILABLE_UNITS), UNIT_QUOTA))


DEFAULT_TEACHER_MODELS = {"gemini": "gemini-2.5-pro", "scripted": "scripted"}


class Teacher(ApiModel):
    """The model whose verified trajectories the student learns from."""

    provider: Literal["gemini", "openai", "scripted"] = Field(
        default="gemini",
        description="gemini: Google's API. openai: any OpenAI-compatible endpoint, one inside the cluster included. "
        "scripted: no model at all, applies reference solutions; proves a pipeline, and is labelled so in every artifact.",
    )
    model: Annotated[str, Text(253, min_length=0)] = Field(
        default="",
        description="Model name as the provider knows it. Absent: gemini-2.5-pro for gemini; needed for openai.",
    )
    base_url: (
        Annotated[str, Text(2048, r"^https?://[^\s@]+$", "is not a URL such as http://vllm.models:8000/v1")] | None
    ) = Field(
        default=None,
        description="Root of the OpenAI-compatible API, for example http://vllm.models:8000/v1. openai only.",
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Secret key that holds the API key. Absent: the class's, or none. "
        f"On one machine its value is read from the environment variable {TEACHER_KEY_VARIABLE}.",
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.provider != 'openai' || (has(self.model) && self.model != '')",
            message="is needed when provider is openai",
            holds=lambda it: it.provider != "openai" or bool(it.model),
            field="model",
        ),
        Rule(
            cel="self.provider == 'openai' || !has(self.baseUrl)",
            message="belongs to provider openai only",
            holds=lambda it: it.provider == "openai" or it.base_url is None,
            field="baseUrl",
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _default_model(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("model") not in (None, ""):
            return data
        provider = data.get("provider") or "gemini"
        return {**data, "model": DEFAULT_TEACHER_MODELS.get(provider, "") if isinstance(provider, str) else ""}


class Agent(ApiModel):
    """Limits and sampling of the agent, the same in collection and evaluation. Defaults: the paper's."""

    step_limit: Annotated[Count, Field(ge=1, le=1000)] = Field(
        default=64, description="Turns the agent may take before the attempt ends unsolved."
    )
    context_tokens: Annotated[Count, Field(ge=256, le=10_000_000)] = Field(
        default=48000, description="Longest conversation, in tokens; an attempt that grows beyond it ends unsolved."
    )
    output_tokens: Annotated[Count, Field(ge=16, le=1_000_000)] = Field(
        default=4096, description="Longest single answer of the model, in tokens."
    )
    command_timeout_seconds: Annotated[Count, Field(ge=1, le=86400)] = Field(
        default=60, description="Seconds one command of the agent may run before it is stopped."
    )
    temperature: Annotated[Decimal, DecimalText(at_least="0", at_most="2")] = Field(
        default=Decimal("1.0"), description="The teacher's sampling temperature, a decimal in quotes."
    )
    top_p: Annotated[Decimal, DecimalText(above="0", at_most="1")] = Field(
        default=Decimal("0.95"), description="The teacher's nucleus sampling mass, a decimal in quotes."
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.outputTokens < self.contextTokens",
            message="must be below contextTokens: an answer is part of the conversation",
            holds=lambda it: it.output_tokens < it.context_tokens,
            field="outputTokens",
        ),
    )


class Rollout(ApiModel):
    """How trajectories are collected."""

    concurrency: Annotated[Count, Field(ge=1, le=10_000)] = Field(
        default=256, description="Sandboxes at once. Never repeats finished work when changed."
    )
    attempts_per_task: Annotated[Count, Field(ge=1, le=64)] = Field(
        default=2, description="How often the teacher tries each task."
    )
    engine: Literal["auto", "process", "ray"] = Field(
        default="auto",
        description="process: one worker. ray: several workers by Ray. auto: ray where it pays and exists, else process.",
    )


class Budget(ApiModel):
    """What the teacher may cost."""

    max_cost: Annotated[Decimal, DecimalText(at_least="0")] = Field(
        default=Decimal("400"), description="Collection ends when the teacher has cost this much, a decimal in quotes."
    )
    currency: Literal["USD"] = Field(default="USD", description="Currency of maxCost and of the price table.")


class Experience(ApiModel):
    """What is practised, by which teacher, within which limits."""

    units: Units = Field(
        default_factory=default_units,
        json_schema_extra={NO_DEFAULT: True},
        description="The unit mix: verified trajectories wanted per unit. Absent: 2048 for every unit that this "
        "version of RepoExpert can collect.",
    )
    teacher: Teacher = Field(
        default_factory=Teacher,
        json_schema_extra={NO_DEFAULT: True},
        description="The teacher. Absent: the class's, and without one Gemini 2.5 Pro.",
    )
    agent: Agent = Field(default_factory=Agent, description="Limits and sampling of the agent.")
    rollout: Rollout = Field(default_factory=Rollout, description="How trajectories are collected.")
    budget: Budget = Field(default_factory=Budget, description="What the teacher may cost.")
