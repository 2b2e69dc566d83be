"""Which base model it is: by its files, never by its folder's name."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from repoexpert.errors import BadInput
from repoexpert.training.students import digest, identify, resolve_student
from repoexpert.training.versions import parameter_count

_CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_THINKING = _CHATML.replace("assistant\n", "assistant\n<think>\n")
_HYBRID = _CHATML + "{% if enable_thinking is false %}<think></think>{% endif %}"


def _model(folder: Path, architecture: str = "LlamaForCausalLM", chat: str = _CHATML) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": chat}), encoding="utf-8")
    header = json.dumps({"a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}, "__metadata__": {}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 60)
    return folder


_KNOWN = {
    "SmolLM2": ("LlamaForCausalLM", ("llama", "chatml")),
    "Qwen3-4B-Instruct-2507": ("Qwen3ForCausalLM", ("qwen3", "qwen3_nothinking")),
    "Qwen2.5-Coder": ("Qwen2ForCausalLM", ("qwen2", "qwen2_5")),
    "Qwen3-30B-A3B-Instruct-2507": ("Qwen3MoeForCausalLM", ("qwen3_moe", "qwen3_nothinking")),
}


@pytest.mark.parametrize("name", _KNOWN)
def test_type_and_template_come_from_the_files(name: str, tmp_path: Path) -> None:
    architecture, expected = _KNOWN[name]
    assert identify(_model(tmp_path / "misleading-Qwen3-Thinking", architecture), "x") == expected


_REFUSED = {
    "architecture GemmaForCausalLM is not supported": ("GemmaForCausalLM", _CHATML),
    "not ChatML": ("LlamaForCausalLM", "<|start_header_id|>"),
    "thinking models are not supported": ("Qwen3ForCausalLM", _THINKING),
    "use the Instruct variant": ("Qwen3ForCausalLM", _HYBRID),
}


@pytest.mark.parametrize("message", _REFUSED)
def test_a_model_that_would_be_served_unlike_it_was_trained_is_refused(message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        identify(_model(tmp_path / "m", *_REFUSED[message]), "hf://a/b")


def test_a_model_on_this_machine_is_used_in_place_and_its_digest_follows_its_content(tmp_path: Path) -> None:
    model = _model(tmp_path / "m")
    first = resolve_student(f"file://{model}", tmp_path / "cache")
    assert (first.path, first.model_type, first.digest) == (model, "llama", digest(model))
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-1] + b"x")
    assert resolve_student(f"file://{model}", tmp_path / "cache").digest == digest(model) != first.digest


_MISSING = {
    "there is no folder": "file:///does/not/exist",
    "use hf://OWNER/NAME": "ftp://host/model",
    "lacks config.json, tokenizer.json, \\*.safetensors": "file://{empty}",
}


@pytest.mark.parametrize("message", _MISSING)
def test_a_missing_base_model_is_bad_input(message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        resolve_student(_MISSING[message].format(empty=tmp_path), tmp_path / "cache")
    assert caught.value.exit_code == 2
    students = tmp_path / "cache/students"
    assert not students.exists() or not [entry for entry in students.iterdir() if entry.is_dir()]


def test_parameters_are_counted_from_the_headers(tmp_path: Path) -> None:
    assert parameter_count(_model(tmp_path / "m")) == 15
