"""Our encoding's rules; that they equal ms-swift's is the integration test's matter."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from repoexpert.dataset.encoding import IGNORED, encode, encode_batch
from repoexpert.errors import BadInput


def characters(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(character) for character in text] for text in texts]


def _trained(messages: list[dict[str, object]], template: str = "chatml") -> str:
    encoded = encode(messages, template, characters)
    assert len(encoded.ids) == len(encoded.labels)
    assert all(label in {IGNORED, token} for token, label in zip(encoded.ids, encoded.labels, strict=True))
    return "".join(chr(label) for label in encoded.labels if label != IGNORED)


_TURNS = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "Q1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "Q2"},
    {"role": "assistant", "content": "A2"},
]


def test_every_reply_and_its_end_of_turn_is_trained() -> None:
    assert _trained(_TURNS) == "A1<|im_end|>\nA2<|im_end|>\n"


def test_a_masked_reply_is_not_trained() -> None:
    turns = [dict(turn) for turn in _TURNS]
    turns[2]["loss"] = False  # type: ignore[assignment]
    assert _trained(turns) == "A2<|im_end|>\n"


def test_the_text_is_chatml() -> None:
    text = "".join(map(chr, encode(_TURNS[:3], "chatml", characters).ids))
    assert text == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
    )


def test_a_template_may_have_a_default_system_message() -> None:
    assert "created by Alibaba" in "".join(map(chr, encode(_TURNS[1:3], "qwen2_5", characters).ids))
    assert "system" not in "".join(map(chr, encode(_TURNS[1:3], "qwen3_nothinking", characters).ids))


def test_a_batch_equals_its_members_one_by_one() -> None:
    batch = [_TURNS, _TURNS[:3], _TURNS[1:]]
    assert encode_batch(batch, "chatml", characters) == [encode(one, "chatml", characters) for one in batch]


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(BadInput, match="chat template 'llama3' is not supported"):
        encode(_TURNS, "llama3", characters)
    with pytest.raises(ValueError, match="pairs"):
        encode(_TURNS[:4], "chatml", characters)
    with pytest.raises(ValueError, match="assistant and user"):
        encode([_TURNS[0], _TURNS[2], _TURNS[1]], "chatml", characters)
