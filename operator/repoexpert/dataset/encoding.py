"""A conversation as the student's tokens, and which of them are trained: what ms-swift's `template.encode` gives.

Written again because ms-swift takes ten seconds and 700 MB to import, and the dataset stage only counts. An integration
test holds it equal to ms-swift's own encoding, token for token and label for label. Used by the dataset stage (lengths)
and by the NLL measurement (exact training mask).

Only the ChatML family is covered: it is what Qwen and SmolLM2 speak.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from repoexpert.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

IGNORED = -100
"""Label of a token that is not trained (PyTorch's ignore_index)."""


class Tokenizer(Protocol):
    """Text to token ids, no special tokens added; the order of `texts` is kept."""

    def __call__(self, texts: Sequence[str]) -> list[list[int]]: ...


@dataclass(frozen=True)
class Template:
    """What differs within the ChatML family in ms-swift 4.6 (`swift/template/templates/{utils,qwen}.py`)."""

    default_system: str | None = None
    stop_words: tuple[str, ...] = ()


TEMPLATES: dict[str, Template] = {
    "chatml": Template(),
    "qwen2_5": Template(
        default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        stop_words=("<|endoftext|>",),
    ),
    "qwen3_nothinking": Template(stop_words=("<|endoftext|>",)),
}
"""ms-swift template name to its parts."""

_END = "<|im_end|>\n"


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of one conversation, of equal length."""

    ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """How many tokens are trained."""
        return sum(1 for label in self.labels if label != IGNORED)


def load_tokenizer(model: Path) -> Tokenizer:
    """The tokenizer of a Hugging Face model folder, through the Rust library alone."""
    from tokenizers import Tokenizer as RustTokenizer

    rust = RustTokenizer.from_file(str(model / "tokenizer.json"))
    rust.no_truncation()
    rust.no_padding()

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in rust.encode_batch_fast(list(texts), add_special_tokens=False)]

    return tokenize


def tokenizer_digest(model: Path) -> str:
    """sha256 of tokenizer.json."""
    return hashlib.sha256((model / "tokenizer.json").read_bytes()).hexdigest()


def encode(messages: Sequence[Mapping[str, Any]], template: str, tokenizer: Tokenizer) -> Encoded:
    """Encode one `messages` list: an optional system message, then user and assistant in turn, assistant last."""
    return encode_batch([messages], template, tokenizer)[0]


def encode_batch(
    conversations: Sequence[Sequence[Mapping[str, Any]]], template: str, tokenizer: Tokenizer
) -> list[Encoded]:
    """Encode many conversations with one call of the tokenizer, which then uses every core."""
    if template not in TEMPLATES:
        raise BadInput(f"chat template {template!r} is not supported (known: {', '.join(sorted(TEMPLATES))})")
    parts = [_segments(messages, TEMPLATES[template]) for messages in conversations]
    pieces = iter(tokenizer([text for segments in parts for text, _ in segments]))
    end = tokenizer([_END])[0]
    return [_join([(next(pieces), trained) for _, trained in segments], end) for segments in parts]


def _segments(messages: Sequence[Mapping[str, Any]], template: Template) -> list[tuple[str, bool]]:
    """Runs of text with one loss value each; ms-swift tokenizes each run on its own (`_simplify_context_list`)."""
    turns = list(messages)
    system = turns.pop(0)["content"] if turns and turns[0]["role"] == "system" else template.default_system
    texts: list[tuple[str, bool]] = [(f"<|im_start|>system\n{system}{_END}", False)] if system else []
    if len(turns) % 2 or not turns:
        raise ValueError("a conversation needs user and assistant turns in pairs")
    for index in range(0, len(turns), 2):
        user, assistant = turns[index], turns[index + 1]
        if (user["role"], assistant["role"]) != ("user", "assistant"):
            raise ValueError(f"turns {index} and {index + 1} are {user['role']} and {assistant['role']}")
        texts.append((f"<|im_start|>user\n{user['content']}{_END}<|im_start|>assistant\n", False))
        texts.append((assistant["content"], assistant.get("loss") is not False))
        if index + 2 < len(turns):
            texts.append((_END, False))
        elif not assistant["content"].endswith(template.stop_words):
            texts.append((_END, True))  # the suffix is trained whatever the last turn's `loss` says
    merged: list[tuple[str, bool]] = []
    for text, trained in texts:
        if merged and merged[-1][1] == trained:
            merged[-1] = (merged[-1][0] + text, trained)
        elif text:
            merged.append((text, trained))
    return merged


def _join(pieces: Sequence[tuple[list[int], bool]], end: list[int]) -> Encoded:
    """Concatenate; the end-of-turn tokens right after a trained run are trained too (`_add_dynamic_eos`)."""
    ids: list[int] = []
    labels: list[int] = []
    after_trained = False
    for tokens, trained in pieces:
        ids += tokens
        if trained:
            labels += tokens
        elif after_trained and tokens[: len(end)] == end:
            labels += end + [IGNORED] * (len(tokens) - len(end))
        else:
            labels += [IGNORED] * len(tokens)
        after_trained = trained
    if labels:
        labels[0] = IGNORED
    return Encoded(ids, labels)
