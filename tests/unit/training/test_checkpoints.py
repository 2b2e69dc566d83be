"""Which checkpoint is whole, and what of it is the model."""

from __future__ import annotations

import json
from pathlib import Path

from repoexpert.training.checkpoints import checkpoints, collect_model, resume_point


def _checkpoint(output: Path, step: int, *, whole: bool = True) -> Path:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in ("optimizer.pt", "scheduler.pt", "model.safetensors", "config.json", "args.json"):
        (folder / name).write_text(f"{name} {step}", encoding="utf-8")
    (folder / "trainer_state.json").write_text(
        json.dumps({"global_step": step}) if whole else '{"glo', encoding="utf-8"
    )
    return folder


def test_the_newest_whole_checkpoint_is_where_to_go_on_and_broken_ones_go(tmp_path: Path) -> None:
    _checkpoint(tmp_path, 9)
    newest = _checkpoint(tmp_path, 10)
    broken = _checkpoint(tmp_path, 11, whole=False)
    unfinished = _checkpoint(tmp_path, 12)
    (unfinished / "optimizer.pt").unlink()
    (tmp_path / "last-checkpoint").symlink_to("checkpoint-12")
    assert resume_point(tmp_path) == newest
    assert not broken.exists()
    assert not unfinished.exists()


def test_without_a_whole_checkpoint_training_begins_anew(tmp_path: Path) -> None:
    assert resume_point(tmp_path) is None
    _checkpoint(tmp_path, 1, whole=False)
    assert resume_point(tmp_path) is None
    assert checkpoints(tmp_path) == []


def test_a_megatron_checkpoint_is_whole_when_its_last_file_names_its_step(tmp_path: Path) -> None:
    for step, written in ((10, "10"), (20, "10")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/latest_checkpointed_iteration.txt").write_text(written, encoding="utf-8")
    assert resume_point(tmp_path) == tmp_path / "checkpoint-10"


def test_a_model_takes_its_weights_from_the_checkpoint_and_what_lacks_from_the_student(tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path, 3)
    (checkpoint / "model.safetensors").chmod(0o600)
    student = tmp_path / "student"
    student.mkdir()
    for name in ("config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja",
                 "model-00001-of-00002.safetensors", "model.safetensors.index.json"):  # fmt: skip
        (student / name).write_text("student", encoding="utf-8")
    collect_model(checkpoint, student, tmp_path / "model")
    found = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "model").iterdir()}
    assert found == {
        "config.json": "config.json 3",
        "model.safetensors": "model.safetensors 3",
        "generation_config.json": "student",
        "tokenizer.json": "student",
        "chat_template.jinja": "student",
    }
    assert (tmp_path / "model/model.safetensors").stat().st_mode & 0o777 == 0o644
