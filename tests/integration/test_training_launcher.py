"""The launcher against trainers that misbehave: short Python programs that write what ms-swift writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from repoexpert.errors import InfrastructureError, StageFailed
from repoexpert.progress import NoProgress
from repoexpert.training.launcher import Expected, Outcome, train

_TRAINER = """
import json, os, pathlib, sys, time
output = pathlib.Path({output!r}); resume = {resume!r}; steps = {steps}
print("[INFO:swift] Dataset Token Length: 9±0, min=9, max=9, size={rows}", flush=True)
for step in range(resume + 1, steps + 1):
    {before}
    with open(output / "logging.jsonl", "a") as log:
        log.write(json.dumps({{"loss": {loss}, "grad_norm": 1.0, "global_step/max_steps": f"{{step}}/{{steps}}"}}) + "\\n")
    folder = output / f"checkpoint-{{step}}"; folder.mkdir()
    for name in ("optimizer.pt", "scheduler.pt"): (folder / name).write_text("x")
    (folder / "trainer_state.json").write_text(json.dumps({{"global_step": step}}))
    {after}
"""


def _trainer(output: Path, *, steps: int = 3, rows: int = 5, loss: str = "3.0 / step", before: str = "", after: str = "") -> Callable[[Path | None], list[str]]:  # fmt: skip
    def build(resume: Path | None) -> list[str]:
        at = int(resume.name.removeprefix("checkpoint-")) if resume else 0
        script = _TRAINER.format(
            output=str(output),
            resume=at,
            steps=steps,
            rows=rows,
            loss=loss,
            before=before or "pass",
            after=after or "pass",
        )
        return [sys.executable, "-c", script]

    return build


def _train(output: Path, build: Callable[[Path | None], list[str]]) -> Outcome:
    return train(build, output, Expected(rows=5, steps=3, tokens=900), {}, NoProgress())


def _steps(output: Path) -> list[str]:
    lines = (output / "logging.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["global_step/max_steps"] for line in lines]


def test_a_training_that_reaches_its_last_step_is_complete(tmp_path: Path) -> None:
    outcome = _train(tmp_path, _trainer(tmp_path))
    assert (outcome.checkpoint, outcome.first_loss, outcome.last_loss) == (tmp_path / "checkpoint-3", 3.0, 1.0)


def test_a_trainer_that_ends_early_without_an_error_is_not_complete(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="ended at step 1 of 3"):
        _train(tmp_path, _trainer(tmp_path, after="sys.exit(0)"))


def test_a_killed_trainer_is_resumed_and_its_log_has_every_step_once(tmp_path: Path) -> None:
    die = "(step == 2) and os.kill(os.getpid(), 9)"
    with pytest.raises(InfrastructureError, match="want of memory"):
        _train(tmp_path, _trainer(tmp_path, after=die))
    (tmp_path / "checkpoint-2/trainer_state.json").unlink()
    outcome = _train(tmp_path, _trainer(tmp_path))
    assert outcome.resumed_at == 1
    assert _steps(tmp_path) == ["1/3", "2/3", "3/3"]


def test_a_training_that_was_complete_is_not_started_again(tmp_path: Path) -> None:
    _train(tmp_path, _trainer(tmp_path))
    assert _train(tmp_path, lambda _: ["/does/not/exist"]).resumed_at == 3


_FAILURES = {
    "the loss became nan": ({"loss": "float('nan')", "after": "time.sleep(60)"}, StageFailed),
    "uses 4 of the dataset's 5 rows": ({"rows": 4, "before": "time.sleep(60)"}, StageFailed),
    "ran out of memory": ({"before": "raise RuntimeError('CUDA out of memory')"}, StageFailed),
    "the disk is full": ({"before": "raise OSError('No space left on device')"}, InfrastructureError),
    "exit code 1; full log: .*\n(.*\n)*KeyError: 'x'": ({"before": "{}['x']"}, InfrastructureError),
}


@pytest.mark.parametrize("message", _FAILURES)
def test_a_failure_says_why_at_once(message: str, tmp_path: Path) -> None:
    changes, kind = _FAILURES[message]
    started = time.monotonic()
    with pytest.raises(kind, match=message):
        _train(tmp_path, _trainer(tmp_path, **changes))  # type: ignore[arg-type]
    assert time.monotonic() - started < 30


_PARENT = """
import sys
from pathlib import Path
from repoexpert.errors import Interrupted
from repoexpert.progress import NoProgress
from repoexpert.training.launcher import Expected, train
program = "import time, pathlib, os; pathlib.Path(r'{pid}').write_text(str(os.getpid())); time.sleep(60)"
try:
    train(lambda _: [sys.executable, "-c", program], Path(r"{output}"), Expected(5, 3, 900), {{}}, NoProgress())
except Interrupted as error:
    print(error.stage_exit_code)
"""


@pytest.mark.parametrize(("number", "says"), [(signal.SIGINT, "75"), (signal.SIGKILL, "")])
def test_a_trainer_does_not_outlive_whoever_started_it(number: signal.Signals, says: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = _PARENT.format(pid=pid, output=tmp_path / "run")
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(pid.read_text(encoding="utf-8"))
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=60)
    assert output.strip() == says
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "Z" not in Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2]
    except OSError:
        return False
