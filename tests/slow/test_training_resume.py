"""Real ms-swift on the tiny model: the whole stage, and that a kill costs nothing but time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from repoexpert.api.expert import RepoExpert
from repoexpert.stages import dataset, training
from tests.builders.student_runs import context, expert, write_inputs
from tests.fakes.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(1200)

_STAGE = """
import json, sys
from pathlib import Path
from repoexpert.api.expert import RepoExpert
from repoexpert.stages import training
from tests.builders.student_runs import context
root = Path(sys.argv[1])
expert = RepoExpert.model_validate_json((root / "expert.json").read_text())
print(json.dumps(training.run(context(expert, root, {"dataset": root / "dataset"}, sys.argv[2]))))
"""


def _prepared(root: Path, **recipe: Any) -> RepoExpert:
    model = make_tiny_model(root / "some-folder-name")
    made = expert(f"file://{model}", **recipe)
    dataset.run(context(made, root, write_inputs(root, tasks=14, count=2), "dataset"))
    (root / "expert.json").write_text(made.model_dump_json(by_alias=True), encoding="utf-8")
    return made


def _start(root: Path, work: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _STAGE, str(root), work], stdout=subprocess.PIPE)


def _curve(work: Path) -> list[tuple[Any, ...]]:
    rows = [json.loads(line) for line in (work / "logging.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["global_step/max_steps"], row["loss"], row["learning_rate"]) for row in rows if "loss" in row]


def _killed_after_a_checkpoint(root: Path, work: str) -> None:
    child = _start(root, work)
    log = root / work / "run/logging.jsonl"
    while not (log.exists() and len(log.read_text(encoding="utf-8").splitlines()) >= 4):
        assert child.poll() is None, "the stage ended before it could be killed"
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.communicate()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _trainers(root: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "swift.cli.sft" in command and str(root) in command:
                found.append(entry.name)
    return found


def test_a_killed_training_resumes_on_the_same_curve_and_leaves_no_trainer_behind(tmp_path: Path) -> None:
    made = _prepared(tmp_path, epochs=2, checkpointSteps=2)
    undisturbed = training.run(context(made, tmp_path, {"dataset": tmp_path / "dataset"}, "undisturbed"))
    assert undisturbed["steps"] == 10
    _killed_after_a_checkpoint(tmp_path, "killed")
    time.sleep(1)
    assert _trainers(tmp_path) == []
    assert not (tmp_path / "killed/model").exists()
    resumed = training.run(context(made, tmp_path, {"dataset": tmp_path / "dataset"}, "killed"))
    assert resumed["resumedAt"] in {2, 4}
    assert _curve(tmp_path / "killed") == _curve(tmp_path / "undisturbed")
    weights = [(tmp_path / work / "model/model.safetensors").read_bytes() for work in ("killed", "undisturbed")]
    assert weights[0] == weights[1]
    assert _names(tmp_path / "killed") == ["logging.jsonl", "model", "recipe.json"]
    model = _names(tmp_path / "killed/model")
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(model)
    assert not {"optimizer.pt", "trainer_state.json", "args.json"} & set(model)
    recipe = (tmp_path / "killed/recipe.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in recipe.replace(f"file://{tmp_path}/some-folder-name", ""), (
        "only the spec names a folder"
    )


def test_a_lora_student_is_served_as_full_weights(tmp_path: Path) -> None:
    made = _prepared(tmp_path, method="lora", loraRank=4)
    summary = training.run(context(made, tmp_path, {"dataset": tmp_path / "dataset"}, "training"))
    assert summary["steps"] == 5
    model = _names(tmp_path / "training/model")
    assert "model.safetensors" in model
    assert not [name for name in model if name.startswith("adapter")]
    base = (tmp_path / "some-folder-name/model.safetensors").read_bytes()
    assert (tmp_path / "training/model/model.safetensors").read_bytes() != base
