"""Negative log-likelihood of held-out trajectories under a model: the training loss, measured on work it never saw.

Called by evaluation for the base and the candidate. The tokens counted are exactly those that training would count: every
reply and its end of turn, masked turns left out. The forward passes run in a child process (`nll_forward`), so that the
model's memory is given back.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repoexpert.errors import InfrastructureError, Interrupted
from repoexpert.progress import NoProgress, Progress
from repoexpert.repository.credentials import without_secrets
from repoexpert.training import children
from repoexpert.training.logs import known_cause, last_error
from repoexpert.training.machine import PATIENT_THREADS
from repoexpert.training.students import digest, identify

_POLL_SECONDS = 0.2


class NllRow(BaseModel):
    """One trajectory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    tokens: int = Field(description="Tokens counted.")
    nll: float = Field(description="Mean over the tokens, in nats.")


class NllReport(BaseModel):
    """NLL of one model on one file. Compare only reports of equal `dataset`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    model: str = Field(description="Digest of the model's files.")
    dataset: str = Field(description="sha256 of the file.")
    template: str
    token_weighted: float = Field(description="Mean over all tokens, in nats.")
    per_trajectory: float = Field(description="Mean over trajectories of each one's mean, in nats.")
    n_tokens: int
    rows: tuple[NllRow, ...]


def summarize(model: str, dataset: str, template: str, rows: list[NllRow]) -> NllReport:
    """Both means over `rows`; a row without counted tokens has no part in them."""
    counted = [row for row in rows if row.tokens]
    tokens = sum(row.tokens for row in counted)
    return NllReport(
        model=model,
        dataset=dataset,
        template=template,
        token_weighted=sum(row.nll * row.tokens for row in counted) / tokens if tokens else 0.0,
        per_trajectory=sum(row.nll for row in counted) / len(counted) if counted else 0.0,
        n_tokens=tokens,
        rows=tuple(rows),
    )


def compute_nll(
    model_dir: Path,
    heldout: Path,
    out: Path,
    *,
    template: str | None = None,
    progress: Progress | None = None,
    on_gpu: bool = False,
) -> NllReport:
    """NLL of every row of `heldout` (the dataset's JSONL) under the model in `model_dir`; written to `out` as JSON.

    Returns at once when `out` already answers for the same model and file. `template` is found from the model when not
    given. Memory on a CPU: the weights in float32 plus about 1 GB. Raises InfrastructureError when the child dies.
    """
    template = template or identify(model_dir, str(model_dir))[1]
    model, dataset = digest(model_dir), hashlib.sha256(heldout.read_bytes()).hexdigest()
    if (known := _read(out)) and (known.model, known.dataset, known.template) == (model, dataset, template):
        return known
    rows = _forward(model_dir, heldout, template, progress or NoProgress(), on_gpu)
    report = summarize(model, dataset, template, rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.aside")
    aside.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    aside.replace(out)
    return report


def _read(out: Path) -> NllReport | None:
    try:
        return NllReport.model_validate_json(out.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def _forward(model_dir: Path, heldout: Path, template: str, progress: Progress, on_gpu: bool) -> list[NllRow]:
    total = sum(1 for line in heldout.read_text(encoding="utf-8").split("\n") if line.strip())
    environment = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} | (
        {} if on_gpu else {"CUDA_VISIBLE_DEVICES": "", **PATIENT_THREADS}
    )
    with tempfile.TemporaryDirectory(prefix="repoexpert-nll-") as scratch:
        result, log = Path(scratch) / "rows.jsonl", Path(scratch) / "log"
        command = [sys.executable, "-m", "repoexpert.training.nll_forward", str(model_dir), str(heldout), template]
        with log.open("wb") as stream:
            child = subprocess.Popen(
                [*command, str(result)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**without_secrets(os.environ), **environment},
                start_new_session=True,
                preexec_fn=children.die_with_parent,
            )
        try:
            while child.poll() is None:
                progress.update(done=len(_rows(result)), total=total, message="held-out NLL")
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            raise Interrupted("the NLL measurement was stopped; running again repeats it") from None
        finally:
            children.end(child)
        rows = _rows(result)
        if child.returncode or len(rows) != total:
            raise _failure(child.returncode, log.read_text(encoding="utf-8", errors="replace"), model_dir)
        return rows


def _rows(file: Path) -> list[NllRow]:
    if not file.exists():
        return []
    whole = file.read_text(encoding="utf-8").rpartition("\n")[0]
    return [NllRow.model_validate(json.loads(line)) for line in whole.split("\n") if line]


def _failure(code: int, output: str, model_dir: Path) -> InfrastructureError:
    memory = code == -9 or known_cause(output) == "memory"
    why = "it ran out of memory: close other programs or use a larger machine" if memory else last_error(output)
    return InfrastructureError(f"the NLL of {model_dir} could not be measured (exit code {code}): {why}")
