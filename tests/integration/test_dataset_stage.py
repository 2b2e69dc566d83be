"""The dataset stage on folders as upstream stages leave them, with a real tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repoexpert.errors import StageFailed
from repoexpert.stages import dataset
from tests.builders.student_runs import context, expert, write_inputs
from tests.fakes.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(300)


def test_the_stage_writes_the_same_bytes_twice_and_says_what_it_did(tmp_path: Path) -> None:
    made = expert(f"file://{make_tiny_model(tmp_path / 'model')}")
    inputs = write_inputs(tmp_path)
    summary = dataset.run(context(made, tmp_path, inputs, "first"))
    assert dataset.run(context(made, tmp_path, inputs, "second")) == summary
    for name in ("train.jsonl", "heldout.jsonl", "dataset.json", "data/evo_replay/pkg.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert summary["rows"] == {"train": 6, "heldout": 4}
    assert summary["template"] == "qwen3_nothinking"
    assert summary["scripted"] == 10
    assert json.loads((tmp_path / "first/dataset.json").read_text(encoding="utf-8")) == summary


def test_nothing_left_to_train_is_a_failure_with_every_loss_in_a_table(tmp_path: Path) -> None:
    made = expert(f"file://{make_tiny_model(tmp_path / 'model')}", maxLength=64)
    with pytest.raises(StageFailed, match="no trajectory is left to train on, of 10 attempts") as caught:
        dataset.run(context(made, tmp_path, write_inputs(tmp_path), "work"))
    header, line = (row.split() for row in str(caught.value).splitlines()[1:3])
    assert dict(zip(header, line, strict=True))["tooLong"] == "10"
