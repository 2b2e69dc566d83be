"""From the spec's recipe to ms-swift's command line. Pure: nothing is read, started or imported from ms-swift.

Called by the training stage. Two engines: `swift sft` (transformers: CPU, one GPU, LoRA) and `megatron sft` (the paper's
recipe on several GPUs). Flag names are those of ms-swift 4.6; tests hold every one against ms-swift's argument classes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from repoexpert.api.training import Training
from repoexpert.errors import BadInput
from repoexpert.training.students import Student

SHUTDOWN_SECONDS = 240
"""How long torchrun lets its workers end after SIGTERM."""
_HANG_SECONDS = 1800
"""A collective that waits this long has lost a worker; ms-swift's default is 208 days."""


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters, exactly as the spec gives them."""

    method: Literal["full", "lora"] = "full"
    backend: Literal["megatron", "transformers"] = "megatron"
    epochs: int = 2
    global_batch_size: int = 16
    max_length: int = 32768
    learning_rate: Decimal = Decimal("1e-5")
    min_learning_rate: Decimal = Decimal("1e-6")
    warmup_fraction: Decimal = Decimal("0.03")
    seed: int = 42
    lora_rank: int | None = None
    checkpoint_steps: int | None = None

    @staticmethod
    def of(training: Training) -> Recipe:
        """The recipe in `spec.training`."""
        return Recipe(**{name: getattr(training, name) for name in Recipe.__dataclass_fields__})


@dataclass(frozen=True)
class Device:
    """What the training runs on."""

    gpus: int = 0
    """GPUs per node; 0 trains on the CPU in one process."""
    nodes: int = 1
    bf16: bool = True
    """Matrix products in bfloat16 with float32 weights (CPU: AMX or AVX-512 BF16)."""

    @property
    def workers(self) -> int:
        """Data-parallel processes."""
        return max(1, self.gpus) * self.nodes


@dataclass(frozen=True)
class Run:
    """One start of the trainer."""

    dataset: Path
    output: Path
    save_steps: int
    resume_from: Path | None = None


def command(recipe: Recipe, student: Student, run: Run, device: Device, *, python: str) -> list[str]:
    """The trainer's argument vector. `python` is the interpreter that has ms-swift."""
    if recipe.backend == "megatron":
        return _megatron(recipe, student, run, device, python)
    return _transformers(recipe, student, run, device, python)


def total_steps(recipe: Recipe, rows: int, device: Device) -> int:
    """Optimizer steps for `rows` rows, counted as the engines count.

    transformers keeps each epoch's partial batch (Trainer.set_initial_training_values); Megatron runs the epochs
    together and drops the rest (ms-swift megatron_args.py).
    """
    if recipe.backend == "megatron":
        return rows // device.workers * device.workers * recipe.epochs // recipe.global_batch_size
    per_epoch = math.ceil(math.ceil(rows / device.workers) / _accumulation(recipe, device))
    return recipe.epochs * per_epoch


def steps_between_checkpoints(recipe: Recipe, steps: int, parameters: int, tokens: int, device: Device) -> int:
    """Steps between checkpoints so that saving takes under a twentieth of the time; the spec's number when given.

    `parameters` of the model, `tokens` over all epochs. Both times are estimates: 6 operations a parameter and token,
    weights and two moments in float32 at 300 MB/s (1 GB/s beside a GPU).
    """
    if recipe.checkpoint_steps is not None:
        return recipe.checkpoint_steps
    speed = device.workers * (1.5e14 if device.gpus else 2.5e11 if device.bf16 else 8e10)
    trained = parameters if recipe.method == "full" else parameters // 100
    step_seconds = 6 * parameters * tokens / max(1, steps) / speed
    save_seconds = 12 * trained / (1e9 if device.gpus else 3e8)
    return min(max(1, math.ceil(save_seconds / (0.05 * step_seconds))), max(1, steps))


def _accumulation(recipe: Recipe, device: Device) -> int:
    if recipe.global_batch_size % device.workers:
        raise BadInput(
            f"training.globalBatchSize is {recipe.global_batch_size}, which {device.workers} workers "
            f"({device.nodes} nodes x {max(1, device.gpus)}) cannot share evenly; use a multiple of {device.workers}"
        )
    return recipe.global_batch_size // device.workers


def _shared(recipe: Recipe, student: Student, run: Run) -> dict[str, str]:
    """Flags both engines know under the same name."""
    flags = {
        "model": str(student.path),
        "model_type": student.model_type,
        "template": student.template,
        "tuner_type": recipe.method,
        "dataset": str(run.dataset),
        "split_dataset_ratio": "0",
        "loss_scale": "default",
        "max_length": str(recipe.max_length),
        "truncation_strategy": "delete",
        "strict": "true",
        "num_train_epochs": str(recipe.epochs),
        "seed": str(recipe.seed),
        "data_seed": str(recipe.seed),
        "output_dir": str(run.output),
        "add_version": "false",
        "check_model": "false",
        "save_steps": str(run.save_steps),
        "save_total_limit": "2",
        "logging_steps": "1",
        "ddp_timeout": str(_HANG_SECONDS),
        "use_hf": "true",
        "load_from_cache_file": "false",
        "dataset_num_proc": "1",
    }
    if recipe.method == "lora":
        rank = recipe.lora_rank or 16
        flags |= {"lora_rank": str(rank), "lora_alpha": str(2 * rank), "target_modules": "all-linear"}
    return flags


def _transformers(recipe: Recipe, student: Student, run: Run, device: Device, python: str) -> list[str]:
    flags = _shared(recipe, student, run) | {
        "per_device_train_batch_size": "1",
        "gradient_accumulation_steps": str(_accumulation(recipe, device)),
        "learning_rate": _plain(recipe.learning_rate),
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": json.dumps({"min_lr": float(recipe.min_learning_rate)}),
        "warmup_ratio": _plain(recipe.warmup_fraction),
        "weight_decay": "0.1",
        "adam_beta1": "0.9",
        "adam_beta2": "0.95",
        "max_grad_norm": "1.0",
        "save_strategy": "steps",
        "logging_nan_inf_filter": "false",
        "report_to": "none",
        "packing": "false",
        "dataloader_num_workers": "0",
    }
    if device.gpus:
        flags |= {"torch_dtype": "bfloat16", "bf16": "true", "fp16": "false", "attn_impl": "flash_attention_2"}
        flags |= {"gradient_checkpointing": "true"}
    else:
        flags |= {"torch_dtype": "float32", "bf16": str(device.bf16).lower(), "fp16": "false", "use_cpu": "true"}
        flags |= {"attn_impl": "sdpa", "gradient_checkpointing": "false"}
    if run.resume_from is not None:
        flags |= {"resume_from_checkpoint": str(run.resume_from)}
    launcher = [python, "-m", "swift.cli.sft"]
    if device.workers > 1:
        launcher = [*_torchrun(device, python), "swift.cli.sft"]
    return [*launcher, *_arguments(flags)]


def _megatron(recipe: Recipe, student: Student, run: Run, device: Device, python: str) -> list[str]:
    if not device.gpus:
        raise BadInput("training.backend megatron needs a GPU: set training.gpus, or backend: transformers")
    _accumulation(recipe, device)
    flags = _shared(recipe, student, run) | {
        "micro_batch_size": "1",
        "global_batch_size": str(recipe.global_batch_size),
        "lr": _plain(recipe.learning_rate),
        "min_lr": _plain(recipe.min_learning_rate),
        "lr_decay_style": "cosine",
        "lr_warmup_fraction": _plain(recipe.warmup_fraction),
        "recompute_granularity": "full",
        "recompute_method": "uniform",
        "recompute_num_layers": "1",
        "tensor_model_parallel_size": "1",
        "use_distributed_optimizer": "true",
        "overlap_grad_reduce": "true",
        "overlap_param_gather": "true",
        "cross_entropy_loss_fusion": "true",
        "attention_backend": "flash",
        "packing": "false",
        "no_save_optim": "false",
        "no_save_rng": "false",
        "save_safetensors": "true",
        "finetune": "true" if run.resume_from is None else "false",
    }
    if run.resume_from is not None:
        # Exact resume is by the Megatron-format checkpoint and finetune false; --resume_from_checkpoint is not Megatron's.
        flags |= {"mcore_model": str(run.resume_from)}
    return [*_torchrun(device, python), "swift.cli._megatron.sft", *_arguments(flags)]


def _torchrun(device: Device, python: str) -> list[str]:
    """torchrun itself, not the `megatron` command: that wrapper dies on SIGTERM and leaves the trainer running."""
    shape = ["--nproc_per_node", str(max(1, device.gpus)), "--shutdown-timeout", str(SHUTDOWN_SECONDS)]
    if device.nodes > 1:
        shape += ["--nnodes", str(device.nodes)]  # rank and address come as PET_NODE_RANK and PET_MASTER_ADDR
    return [python, "-m", "torch.distributed.run", *shape, "-m"]


def _arguments(flags: dict[str, str]) -> list[str]:
    return [part for name, value in flags.items() for part in (f"--{name}", value)]


def _plain(number: Decimal) -> str:
    """A float literal with nothing rounded: argparse reads it with `float`."""
    return str(number.normalize()).lower() if number else "0"
