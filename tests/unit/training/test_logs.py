"""What ms-swift's log and output say."""

from __future__ import annotations

from pathlib import Path

from repoexpert.training.logs import (
    LoggedStep,
    known_cause,
    last_error,
    logged_steps,
    read_rows,
    rows_trained,
    without_replayed,
)

_TRANSFORMERS = {"loss": 2.5, "grad_norm": 1.0, "learning_rate": 1e-5, "global_step/max_steps": "5/24"}
_MEGATRON = {"loss": 2.5, "grad_norm": 1.0, "learning_rate": 1e-5, "iteration": "5/24"}
_SUMMARY = {"train_dataset": "size=64", "global_step": 24}


def test_steps_of_both_engines_are_read_and_other_rows_are_not() -> None:
    step = LoggedStep(step=5, steps=24, loss=2.5, learning_rate=1e-5, grad_norm=1.0)
    rows = [_TRANSFORMERS, _MEGATRON, _SUMMARY, {"iteration": "x", "loss": 1}, {"eval_loss": 1, "iteration": "5/24"}]
    assert logged_steps(rows) == [step, step]


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "logging.jsonl"
    assert read_rows(file) == []
    file.write_text('{"loss": 1}\n[1]\n{"lo', encoding="utf-8")
    assert read_rows(file) == [{"loss": 1}]


def test_nan_anywhere_is_not_finite(tmp_path: Path) -> None:
    file = tmp_path / "logging.jsonl"
    file.write_text('{"loss": NaN, "iteration": "1/2"}\n{"loss": 1.0, "grad_norm": Infinity, "iteration": "2/2"}\n')
    assert [step.finite for step in logged_steps(read_rows(file))] == [False, False]
    assert LoggedStep(1, 2, 0.5).finite


def test_steps_after_the_checkpoint_are_forgotten() -> None:
    rows = [{**_TRANSFORMERS, "global_step/max_steps": f"{step}/9"} for step in (1, 2, 3, 4)]
    assert without_replayed([*rows, _SUMMARY], 2) == rows[:2]
    assert without_replayed(rows, 0) == []


def test_the_number_of_rows_is_read_from_the_output() -> None:
    line = "[INFO:swift] Dataset Token Length: 1031.6±8.9, min=1018.0, max=1047.0, size=23\n"
    assert rows_trained("loading\n" + line) == 23
    assert rows_trained("loading") is None


def test_known_causes_are_recognized() -> None:
    assert known_cause("torch.OutOfMemoryError: CUDA out of memory. Tried") == "memory"
    assert known_cause("[enforce fail] DefaultCPUAllocator: can't allocate memory") == "memory"
    assert known_cause("OSError: [Errno 28] No space left on device") == "disk"
    assert known_cause("KeyError: 'x'") is None


def test_the_error_is_shown_without_progress_bars() -> None:
    output = "a\rTrain: 50%|██| 1/2\rTraceback\n  File x\nValueError: bad\n\n"
    assert last_error(output, 2) == "  File x\nValueError: bad"
