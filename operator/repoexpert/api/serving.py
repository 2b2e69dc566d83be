"""`spec.serving`: how the model that passed the gate is offered."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from repoexpert.api.base import ApiModel
from repoexpert.api.scalars import Count, DecimalText, Flag


class Sampling(ApiModel):
    """The student's sampling, in evaluation and as the server's default. Defaults: the paper's."""

    temperature: Annotated[Decimal, DecimalText(at_least="0", at_most="2")] = Field(
        default=Decimal("1.0"), description="Sampling temperature, a decimal in quotes."
    )
    top_p: Annotated[Decimal, DecimalText(above="0", at_most="1")] = Field(
        default=Decimal("0.8"), description="Nucleus sampling mass, a decimal in quotes."
    )
    top_k: Annotated[Count, Field(ge=0, le=1_000_000)] = Field(
        default=20, description="Only the most probable tokens are sampled from; 0 for all."
    )
    repetition_penalty: Annotated[Decimal, DecimalText(above="0", at_most="2")] = Field(
        default=Decimal("1.05"), description="Above 1 discourages repetition, a decimal in quotes."
    )


class Serving(ApiModel):
    """How the model that passed the gate is offered."""

    enabled: Flag = Field(default=True, description="false: train and evaluate, but offer nothing.")
    replicas: Annotated[Count, Field(ge=0, le=1000)] = Field(
        default=1, description="Servers at once. The class may scale between its bounds instead."
    )
    context_tokens: Annotated[Count, Field(ge=256, le=10_000_000)] = Field(
        default=48000, description="Longest conversation the server takes, in tokens."
    )
    sampling: Sampling = Field(default_factory=Sampling, description="The student's sampling.")
