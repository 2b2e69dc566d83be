"""What this machine can do for a server. The only IO of choosing a launch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from repoexpert.errors import BadInput
from repoexpert.serving.vllm import Device, Dtype, cpu_dtype


def device() -> Device:
    """`gpu` when the driver's tool is there and a device file exists, else `cpu`."""
    return "gpu" if shutil.which("nvidia-smi") and Path("/dev/nvidia0").exists() else "cpu"


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The first processor's feature flags."""
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def best_dtype(kind: Device) -> Dtype:
    """The number format to serve in."""
    return "auto" if kind == "gpu" else cpu_dtype(cpu_flags())


def model_limits(model_dir: Path) -> tuple[int, int]:
    """(longest context in tokens, bytes of KV cache per token in 16-bit) from `config.json`. Raises BadInput."""
    path = model_dir / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        heads = int(config.get("num_key_value_heads") or config["num_attention_heads"])
        head_dim = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
        return int(config["max_position_embeddings"]), 2 * 2 * int(config["num_hidden_layers"]) * heads * head_dim
    except FileNotFoundError as error:
        raise BadInput(f"{model_dir} is no model folder: config.json is missing") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a model's configuration: {error}") from error
