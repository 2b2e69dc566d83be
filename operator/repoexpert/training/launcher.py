"""Runs the trainer as a child process to its end: watches it, reports, stops it cleanly, finds out why it failed.

Called by the training stage. The trainer is the child itself (no shell, no wrapper), in a process group of its own, and
dies with this process however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repoexpert.errors import InfrastructureError, Interrupted, StageFailed
from repoexpert.progress import Progress
from repoexpert.repository.credentials import without_secrets
from repoexpert.training import checkpoints, children, logs

_POLL_SECONDS = 0.5
_OUTPUT_TAIL = 400_000


@dataclass(frozen=True)
class Expected:
    """What the trainer should do, so that doing less is noticed."""

    rows: int
    steps: int
    tokens: int
    """Over all epochs."""


@dataclass(frozen=True)
class Outcome:
    """A training that reached its last step."""

    checkpoint: Path
    steps: int
    first_loss: float
    last_loss: float
    seconds: float
    """Of this start alone."""
    resumed_at: int
    """The step this start went on from; 0 when it was the first."""


def train(
    build_command: Callable[[Path | None], Sequence[str]],
    output: Path,
    expected: Expected,
    environment: Mapping[str, str],
    progress: Progress,
) -> Outcome:
    """Train in `output` from the newest whole checkpoint there, or from the start.

    Raises Interrupted when stopped (the newest checkpoint stays), StageFailed when the training cannot succeed (NaN,
    rows dropped, out of memory), InfrastructureError when the trainer died for another reason.
    """
    output.mkdir(parents=True, exist_ok=True)
    resume = checkpoints.resume_point(output)
    resumed_at = checkpoints.step_of(resume) if resume else 0
    _rewind_log(output / "logging.jsonl", resumed_at)
    started = time.monotonic()
    if resumed_at < expected.steps:
        _run(build_command(resume), output, expected, environment, progress)
    steps = logs.logged_steps(logs.read_rows(output / "logging.jsonl"))
    final = checkpoints.resume_point(output)
    if final is None or checkpoints.step_of(final) != expected.steps:
        reached = checkpoints.step_of(final) if final else 0
        raise InfrastructureError(
            f"the trainer ended at step {reached} of {expected.steps} without an error; see {output / 'trainer.log'}; "
            "running again goes on from there"
        )
    return Outcome(
        checkpoint=final,
        steps=expected.steps,
        first_loss=steps[0].loss,
        last_loss=steps[-1].loss,
        seconds=time.monotonic() - started,
        resumed_at=resumed_at,
    )


def _rewind_log(file: Path, resumed_at: int) -> None:
    """Drop the rows of steps that will be trained again: the trainer appends."""
    if file.exists():
        kept = logs.without_replayed(logs.read_rows(file), resumed_at)
        aside = file.with_name(".logging.aside")
        aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        aside.replace(file)


def _run(
    command: Sequence[str],
    output: Path,
    expected: Expected,
    environment: Mapping[str, str],
    progress: Progress,
) -> None:
    log = output / "trainer.log"
    with log.open("ab") as stream:
        begin = stream.tell()
        child = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**without_secrets(os.environ), **environment},
            start_new_session=True,
            preexec_fn=children.die_with_parent,
        )
    try:
        watch = _Watch(output, begin, expected, progress)
        while child.poll() is None:
            watch.look()
            time.sleep(_POLL_SECONDS)
        watch.look()
    except KeyboardInterrupt:
        raise Interrupted(
            f"training stopped; its newest checkpoint in {output} is kept and running again goes on from there"
        ) from None
    finally:
        children.end(child)
    if child.returncode:
        raise _explain(child.returncode, watch.text(), log)


class _Watch:
    """Looks at a running trainer: reports its steps, raises when going on makes no sense."""

    def __init__(self, output: Path, begin: int, expected: Expected, progress: Progress) -> None:
        self._output = output
        self._begin = begin
        self._expected = expected
        self._progress = progress
        self._first: tuple[int, float] = (0, 0.0)
        self._seen: tuple[int, float] | None = None

    def look(self) -> None:
        self._check_rows()
        steps = logs.logged_steps(logs.read_rows(self._output / "logging.jsonl"))
        if not steps:
            self._progress.update(done=0, total=self._expected.steps, message="loading the model")
            return
        newest = steps[-1]
        if not newest.finite:
            raise StageFailed(
                f"the loss became {newest.loss} (gradient {newest.grad_norm}) at step {newest.step} of {newest.steps}: "
                "lower training.learningRate, or look for a broken row in the dataset"
            )
        self._report(newest)

    def _report(self, newest: logs.LoggedStep) -> None:
        now = time.monotonic()
        if self._seen is None or newest.step != self._seen[0]:
            self._first = self._first if self._seen else (newest.step, now)
            self._seen = (newest.step, now)
        done, seconds = newest.step - self._first[0], self._seen[1] - self._first[1]
        rate = done / seconds if done and seconds else 0.0
        facts = {"loss": newest.loss, "step": newest.step, "steps": newest.steps}
        if rate:
            facts["tokensPerSecond"] = round(rate * self._expected.tokens / self._expected.steps, 1)
            facts["etaSeconds"] = round((newest.steps - newest.step) / rate)
        self._progress.update(done=newest.step, total=newest.steps, message=f"loss {newest.loss:.4f}", **facts)

    def _check_rows(self) -> None:
        kept = logs.rows_trained(self.text())
        if kept is not None and kept != self._expected.rows:
            raise StageFailed(
                f"the trainer uses {kept} of the dataset's {self._expected.rows} rows: it drops what it cannot encode "
                f"without an error; compare training.maxLength and {self._output / 'trainer.log'}"
            )

    def text(self) -> str:
        """What this start of the trainer has printed, its end when that is long."""
        with (self._output / "trainer.log").open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._begin, size - _OUTPUT_TAIL))
            return stream.read().decode(errors="replace")


def _explain(code: int, output: str, log: Path) -> StageFailed | InfrastructureError:
    cause = logs.known_cause(output)
    if cause == "memory":
        return StageFailed(
            "training ran out of memory: lower training.maxLength, use more or larger GPUs, or method lora; "
            f"full log: {log}\n{logs.last_error(output, 3)}"
        )
    if cause == "disk":
        return InfrastructureError(
            f"the disk is full: a checkpoint could not be written; free space below {log.parent}"
        )
    if code == -signal.SIGKILL:
        return InfrastructureError(
            "the trainer was killed (SIGKILL), most likely by the kernel for want of memory: close other programs, lower "
            f"training.maxLength, or use a larger machine; running again goes on from the newest checkpoint; log: {log}"
        )
    return InfrastructureError(f"the trainer failed with exit code {code}; full log: {log}\n{logs.last_error(output)}")
