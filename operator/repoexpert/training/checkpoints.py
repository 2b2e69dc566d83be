"""Checkpoints on disk: which one is whole, what of the last one is the model. Called by the launcher.

A checkpoint that a kill left half-written has no readable trainer state: that file is written last (transformers
`Trainer._save_checkpoint`); Megatron writes `latest_checkpointed_iteration.txt` last.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

_STATE = "trainer_state.json"
_MEGATRON_STATE = "latest_checkpointed_iteration.txt"
_MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.model",
)
_TRANSFORMERS_RESUME = ("optimizer.pt", "scheduler.pt")


def step_of(checkpoint: Path) -> int:
    """The step in the folder's name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def checkpoints(output: Path) -> list[Path]:
    """Every `checkpoint-N` folder, oldest first, whole or not."""
    found = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted((path for path in found if path.is_dir() and not path.is_symlink()), key=step_of)


def is_whole(checkpoint: Path) -> bool:
    """Whether training can go on exactly from here."""
    megatron = checkpoint / _MEGATRON_STATE
    if megatron.exists():
        return megatron.read_text(encoding="utf-8").strip() == str(step_of(checkpoint))
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return state.get("global_step") == step_of(checkpoint) and all(
        (checkpoint / name).exists() for name in _TRANSFORMERS_RESUME
    )


def resume_point(output: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones are removed."""
    for checkpoint in reversed(checkpoints(output)):
        if is_whole(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def collect_model(source: Path, student: Path, target: Path) -> None:
    """Put a complete, servable model at `target`: weights and config of `source`, what it lacks from the student.

    Files are linked where the file system can, so that nothing is written twice. `target` appears whole or not at all.
    """
    aside = target.with_name(f".{target.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for folder in (source, student):
        for pattern in _MODEL_FILES:
            for file in sorted(folder.glob(pattern)):
                weights = file.suffix == ".safetensors" or file.name.endswith(".index.json")
                if not (aside / file.name).exists() and not (weights and folder is student):
                    _link(file, aside / file.name)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)


def _link(source: Path, target: Path) -> None:
    if source.stat().st_mode & 0o044 != 0o044:
        shutil.copyfile(source, target)  # safetensors are written readable by their owner alone
        target.chmod(0o644)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
