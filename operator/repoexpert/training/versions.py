"""What trained: versions of the libraries, and the student's size. Called by the training stage; imports none of them."""

from __future__ import annotations

import json
import math
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("ms-swift", "torch", "transformers", "accelerate", "peft", "megatron-core", "mcore-bridge")


def trainer_versions() -> dict[str, str]:
    """Distribution name to version, of those that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parameter_count(model: Path) -> int:
    """Parameters in a folder's safetensors files, read from their headers (8-byte length, then JSON)."""
    total = 0
    for file in sorted(model.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total
