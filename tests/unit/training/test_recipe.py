"""The command lines: every flag exists in ms-swift, every value parses, and the paper's recipe is the default."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.api.training import Training
from repoexpert.errors import BadInput
from repoexpert.training.merging import merge_command
from repoexpert.training.recipe import (
    Device,
    Recipe,
    Run,
    command,
    steps_between_checkpoints,
    total_steps,
)
from repoexpert.training.students import Student
from tests.unit.training.swift_arguments import fields_of, parses

_STUDENT = Student(Path("/m/x"), "qwen3", "qwen3_nothinking", "hf://Qwen/Qwen3-4B-Instruct-2507", "d" * 64)
_RUN = Run(dataset=Path("/d/train.jsonl"), output=Path("/w/run"), save_steps=7)
_RESUMED = Run(
    dataset=Path("/d/train.jsonl"), output=Path("/w/run"), save_steps=7, resume_from=Path("/w/run/checkpoint-7")
)
_CPU = Device(gpus=0)
_CASES = {
    "megatron": (Recipe(), Device(gpus=2), "MegatronSftArguments"),
    "megatron on two nodes": (Recipe(), Device(gpus=8, nodes=2), "MegatronSftArguments"),
    "megatron lora": (Recipe(method="lora", lora_rank=8), Device(gpus=2), "MegatronSftArguments"),
    "cpu": (Recipe(backend="transformers"), _CPU, "SftArguments"),
    "cpu without bfloat16": (Recipe(backend="transformers"), Device(bf16=False), "SftArguments"),
    "one gpu lora": (Recipe(backend="transformers", method="lora"), Device(gpus=1), "SftArguments"),
}


def _flags(arguments: list[str]) -> dict[str, str]:
    module = next(i for i, part in enumerate(arguments) if part.startswith("swift."))
    rest = arguments[module + 1 :]
    assert len(rest) % 2 == 0
    names = rest[::2]
    assert all(name.startswith("--") for name in names)
    assert len(names) == len(set(names)), "a flag is given twice"
    return dict(zip((name[2:] for name in names), rest[1::2], strict=True))


@pytest.mark.parametrize("run", [_RUN, _RESUMED], ids=["first", "resumed"])
@pytest.mark.parametrize("case", _CASES)
def test_every_flag_exists_in_ms_swift_and_every_value_parses(case: str, run: Run) -> None:
    recipe, device, arguments = _CASES[case]
    known = fields_of(arguments)
    for name, value in _flags(command(recipe, _STUDENT, run, device, python="python")).items():
        assert name in known, f"--{name} is not a flag of ms-swift's {arguments}"
        assert parses(known[name], value), f"--{name} {value} does not parse as {known[name]}"


def test_the_export_flags_exist_in_ms_swift() -> None:
    known = fields_of("ExportArguments")
    for name, value in _flags(merge_command(Path("/a"), _STUDENT, Path("/t"), python="python")).items():
        assert name in known
        assert parses(known[name], value), (name, value, known[name])


_PAPER = {
    "--train_type full": ("tuner_type", "full"),
    "--finetune true": ("finetune", "true"),
    "--max_length 32768": ("max_length", "32768"),
    "--loss_scale default": ("loss_scale", "default"),
    "--split_dataset_ratio 0": ("split_dataset_ratio", "0"),
    "--micro_batch_size 1": ("micro_batch_size", "1"),
    "--global_batch_size 16": ("global_batch_size", "16"),
    "--max_epochs 2": ("num_train_epochs", "2"),
    "--lr 1e-5": ("lr", "1e-5"),
    "--min_lr 1e-6": ("min_lr", "1e-6"),
    "--lr_decay_style cosine": ("lr_decay_style", "cosine"),
    "--lr_warmup_fraction 0.03": ("lr_warmup_fraction", "0.03"),
    "--tensor_model_parallel_size 1": ("tensor_model_parallel_size", "1"),
    "--recompute_granularity full": ("recompute_granularity", "full"),
    "--recompute_method uniform": ("recompute_method", "uniform"),
    "--recompute_num_layers 1": ("recompute_num_layers", "1"),
    "--use_distributed_optimizer true": ("use_distributed_optimizer", "true"),
    "--overlap_grad_reduce true": ("overlap_grad_reduce", "true"),
    "--overlap_param_gather true": ("overlap_param_gather", "true"),
    "--cross_entropy_loss_fusion true": ("cross_entropy_loss_fusion", "true"),
    "--packing false": ("packing", "false"),
    "--attention_backend flash": ("attention_backend", "flash"),
    "--save_safetensors true": ("save_safetensors", "true"),
    "--use_hf": ("use_hf", "true"),
    # Deliberately not the paper's: nothing is cut (rows that do not fit never reach the trainer), and a run can resume.
    "--truncation_strategy left": ("truncation_strategy", "delete"),
    "--no_save_optim true": ("no_save_optim", "false"),
    "--no_save_rng true": ("no_save_rng", "false"),
    "--save_interval 512": ("save_steps", "7"),
}
"""The paper's script, in ms-swift 3.x names, to our flag and value."""


@pytest.mark.parametrize("paper", _PAPER)
def test_the_default_is_the_papers_recipe(paper: str) -> None:
    flags = _flags(command(Recipe.of(Training()), _STUDENT, _RUN, Device(gpus=2), python="python"))
    name, value = _PAPER[paper]
    given_, wanted = flags[name], value
    assert given_ == wanted or float(given_) == float(wanted)


def test_the_trainer_itself_is_started_and_no_wrapper() -> None:
    start = command(Recipe(), _STUDENT, _RUN, Device(gpus=2), python="py")
    assert start[:9] == ["py", "-m", "torch.distributed.run", "--nproc_per_node", "2", "--shutdown-timeout", "240", "-m",
                         "swift.cli._megatron.sft"]  # fmt: skip
    assert command(Recipe(backend="transformers"), _STUDENT, _RUN, _CPU, python="py")[:3] == [
        "py",
        "-m",
        "swift.cli.sft",
    ]


def test_a_resumed_run_goes_on_exactly() -> None:
    megatron = _flags(command(Recipe(), _STUDENT, _RESUMED, Device(gpus=2), python="py"))
    assert (megatron["mcore_model"], megatron["finetune"]) == ("/w/run/checkpoint-7", "false")
    assert "resume_from_checkpoint" not in megatron
    cpu = _flags(command(Recipe(backend="transformers"), _STUDENT, _RESUMED, _CPU, python="py"))
    assert cpu["resume_from_checkpoint"] == "/w/run/checkpoint-7"


def test_the_cpu_computes_in_bfloat16_only_where_it_can_and_keeps_float32_weights() -> None:
    for bf16 in (True, False):
        flags = _flags(command(Recipe(backend="transformers"), _STUDENT, _RUN, Device(bf16=bf16), python="py"))
        assert (flags["torch_dtype"], flags["bf16"], flags["use_cpu"]) == ("float32", str(bf16).lower(), "true")


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(BadInput, match="megatron needs a GPU"):
        command(Recipe(), _STUDENT, _RUN, _CPU, python="py")
    with pytest.raises(BadInput, match="use a multiple of 3"):
        command(Recipe(), _STUDENT, _RUN, Device(gpus=3), python="py")


def test_steps_are_counted_as_the_engines_count() -> None:
    cases = {
        "whole batches": (total_steps(Recipe(backend="transformers", global_batch_size=4), 8, _CPU), 4),
        "the partial batch is a step": (total_steps(Recipe(backend="transformers", global_batch_size=4), 9, _CPU), 6),
        "less than a batch": (total_steps(Recipe(backend="transformers"), 3, _CPU), 2),
        "megatron drops the rest": (total_steps(Recipe(), 8191, Device(gpus=2)), 1023),
        "the paper": (total_steps(Recipe(), 8192, Device(gpus=2)), 1024),
    }
    assert {name: got for name, (got, _) in cases.items()} == {name: want for name, (_, want) in cases.items()}


def test_checkpoints_are_as_frequent_as_a_twentieth_of_the_time_allows() -> None:
    paper = steps_between_checkpoints(Recipe(), 1024, 4_022_000_000, 2 * 8192 * 17_700, Device(gpus=2))
    assert 20 <= paper <= 128
    assert steps_between_checkpoints(Recipe(checkpoint_steps=9), 1024, 1, 1, _CPU) == 9
    assert steps_between_checkpoints(Recipe(), 3, 10**9, 1, _CPU) == 3


@given(st.integers(1, 50_000), st.integers(1, 9), st.integers(1, 64))
def test_there_is_always_a_step_between_checkpoints(rows: int, epochs: int, batch: int) -> None:
    recipe = Recipe(backend="transformers", epochs=epochs, global_batch_size=batch)
    steps = total_steps(recipe, rows, _CPU)
    assert steps >= epochs
    assert 1 <= steps_between_checkpoints(recipe, steps, 135_000_000, rows * epochs * 1000, _CPU) <= steps


@given(st.decimals("1e-12", "1", places=12, allow_nan=False))
def test_a_learning_rate_reaches_the_trainer_exactly(rate: Decimal) -> None:
    recipe = Recipe(backend="transformers", learning_rate=rate)
    assert float(_flags(command(recipe, _STUDENT, _RUN, _CPU, python="py"))["learning_rate"]) == float(rate)
