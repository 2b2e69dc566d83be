"""Our encoding against ms-swift's own, and our NLL against the loss of the libraries: token for token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repoexpert.dataset.encoding import encode_batch, load_tokenizer
from repoexpert.training.nll import compute_nll
from tests.builders.trajectories import ending, format_error, observation, opening, reply, trajectory
from tests.fakes.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(900)

_SWIFT = """
import json, sys
from swift.model import get_processor
from swift.template import get_template
model, model_type, template, rows, out = sys.argv[1:]
template = get_template(get_processor(model, model_type=model_type), template_type=template, max_length=None)
template.set_mode("train")
with open(out, "w") as stream:
    for line in open(rows):
        encoded = template.encode({"messages": json.loads(line)["messages"]})
        stream.write(json.dumps({"ids": list(encoded["input_ids"]), "labels": list(encoded["labels"])}) + "\\n")
"""

_LOSS = """
import json, sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
losses = []
for line in open(sys.argv[2]):
    row = json.loads(line)
    with torch.inference_mode():
        loss = model(input_ids=torch.tensor([row["ids"]]), labels=torch.tensor([row["labels"]])).loss
    losses.append(loss.item())
json.dump(losses, open(sys.argv[3], "w"))
"""


def _child(script: str, *arguments: Any) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "MODELSCOPE_LOG_LEVEL": "40"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _rows() -> list[dict[str, Any]]:
    from repoexpert.dataset.trajectories import to_conversation

    odd = "tabs\t, é 漢字 🙂, <image> <|endoftext|> {{QUERY}} <tool_call> \r\n   trailing  "
    shapes = [
        trajectory(1, count=3),
        [*opening("x"), format_error("no block"), reply("ls"), observation("a"), *ending()],
        [*opening("x"), *[reply("ls"), observation("same")] * 4, reply("cat x"), observation(odd), *ending()],
        [*opening(odd), reply(odd, odd), observation(""), *ending()],
        [*opening("x")[1:], reply("ls"), observation(" leading"), {"role": "assistant", "content": " \nspace"}],
        [*opening("x"), {"role": "assistant", "content": "ends by itself<|endoftext|>"}],
    ]
    conversations = [to_conversation(shape) for shape in shapes]
    rows = [{"id": str(i), "messages": one.messages()} for i, one in enumerate(conversations) if one]
    last_masked = [*rows[0]["messages"][:-1], {**rows[0]["messages"][-1], "loss": False}]  # type: ignore[misc, list-item]
    return [*rows, {"id": "last masked", "messages": last_masked}]


def _swift_encoding(model: Path, model_type: str, template: str, folder: Path) -> list[dict[str, Any]]:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()), encoding="utf-8")
    _child(_SWIFT, model, model_type, template, folder / "rows.jsonl", folder / "swift.jsonl")
    return [json.loads(line) for line in (folder / "swift.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("model_type", "template"), [("qwen3", "qwen3_nothinking"), ("qwen3", "chatml")])
def test_ids_and_labels_equal_those_that_ms_swift_trains_on(tmp_path: Path, model_type: str, template: str) -> None:
    model = make_tiny_model(tmp_path / "model")
    theirs = _swift_encoding(model, model_type, template, tmp_path)
    ours = encode_batch([row["messages"] for row in _rows()], template, load_tokenizer(model))
    assert [{"ids": one.ids, "labels": one.labels} for one in ours] == theirs


def test_the_nll_equals_the_librarys_loss_and_is_not_measured_twice(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    encoded = encode_batch([row["messages"] for row in _rows()], "qwen3_nothinking", load_tokenizer(model))
    lines = [json.dumps({"ids": one.ids, "labels": one.labels}) for one in encoded]
    (tmp_path / "encoded.jsonl").write_text("\n".join(lines), encoding="utf-8")
    _child(_LOSS, model, tmp_path / "encoded.jsonl", tmp_path / "losses.json")
    losses = json.loads((tmp_path / "losses.json").read_text(encoding="utf-8"))

    rows = "".join(json.dumps(row) + "\n" for row in _rows())
    (tmp_path / "heldout.jsonl").write_text(rows, encoding="utf-8")
    report = compute_nll(model, tmp_path / "heldout.jsonl", tmp_path / "nll.json")
    assert [row.nll for row in report.rows] == pytest.approx(losses, abs=1e-5)
    counts = [one.trained for one in encoded]
    assert [row.tokens for row in report.rows] == counts
    weighted = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)
    assert report.token_weighted == pytest.approx(weighted, abs=1e-5)

    written = (tmp_path / "nll.json").stat().st_mtime_ns
    assert compute_nll(model, tmp_path / "heldout.jsonl", tmp_path / "nll.json") == report
    assert (tmp_path / "nll.json").stat().st_mtime_ns == written
