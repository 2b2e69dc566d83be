"""LoRA: merges an adapter into full weights, so that serving and evaluation meet one kind of model.

Called by the training stage after the last step. ms-swift's own export, in a child process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from repoexpert.errors import InfrastructureError
from repoexpert.repository.credentials import without_secrets
from repoexpert.training.logs import last_error
from repoexpert.training.students import Student

_MERGE_SECONDS = 3600


def merge_command(adapter: Path, student: Student, target: Path, *, python: str) -> list[str]:
    """`swift export --merge_lora`: full weights of student plus adapter into `target`."""
    return [
        python, "-m", "swift.cli.export", "--model", str(student.path), "--model_type", student.model_type,
        "--template", student.template, "--adapters", str(adapter), "--merge_lora", "true", "--output_dir", str(target),
        "--use_hf", "true",
    ]  # fmt: skip


def merge_adapter(adapter: Path, student: Student, target: Path, environment: Mapping[str, str]) -> Path:
    """Merge and return `target`; an earlier attempt's leftovers are removed."""
    shutil.rmtree(target, ignore_errors=True)
    done = subprocess.run(
        merge_command(adapter, student, target, python=sys.executable),
        env={**without_secrets(os.environ), **environment},
        capture_output=True,
        text=True,
        timeout=_MERGE_SECONDS,
    )
    if done.returncode:
        raise InfrastructureError(
            f"merging the adapter failed (exit {done.returncode}): {last_error(done.stdout + done.stderr)}"
        )
    return target
