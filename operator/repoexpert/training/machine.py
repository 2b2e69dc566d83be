"""What this machine can train with, and the environment the trainer gets. Called by the training stage.

Detected, not configured: a CPU with bfloat16 matrix units trains three to five times faster with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from repoexpert.errors import BadInput
from repoexpert.training.recipe import Device, Recipe

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait give the core away: on a machine that does something else as well, spinning costs most of the speed."""
_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


def has_bf16(cpuinfo: str) -> bool:
    """Whether /proc/cpuinfo names a bfloat16 unit."""
    line = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return bool(_BF16_FLAGS.intersection(line.split()))


def device_for(recipe: Recipe, gpus: int, nodes: int, cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """The device the spec asks for; on a CPU with its own number format."""
    if gpus or recipe.backend == "megatron":
        return Device(gpus=gpus, nodes=nodes)
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    return Device(gpus=0, nodes=1, bf16=has_bf16(text))


def require_rank(nodes: int, environ: Mapping[str, str]) -> None:
    """Raises BadInput where several nodes are asked for and nobody said which one this is: torchrun would wait for the
    others for ever."""
    missing = [name for name in ("PET_NODE_RANK", "PET_MASTER_ADDR") if name not in environ]
    if nodes > 1 and missing:
        raise BadInput(
            f"spec.training.nodes is {nodes}, and {' and '.join(missing)} do not say which of them this is: set "
            "training.nodes to 1 on a single machine"
        )


def trainer_environment(device: Device, scratch: Path) -> dict[str, str]:
    """Variables for the trainer: no network, caches inside `scratch`."""
    variables = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(scratch / "datasets"),
        "MODELSCOPE_CACHE": str(scratch / "modelscope"),
        "MODELSCOPE_LOG_LEVEL": "40",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
    }
    if device.gpus:
        return variables | {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    return variables | {"CUDA_VISIBLE_DEVICES": "", **PATIENT_THREADS}
