"""The termination message: written by the entry, read by the runner and by Kubernetes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.errors import BadInput, InfrastructureError, Interrupted, SandboxLost, StageFailed
from repoexpert.stages.termination import LIMIT, Termination, decode, encode, kind_of
from repoexpert.storage.store import CorruptArtifact


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (BadInput("x"), "bad-input", 42),
        (StageFailed("x"), "failed", 42),
        (InfrastructureError("x"), "infrastructure", 75),
        (SandboxLost("x"), "infrastructure", 75),
        (Interrupted("x"), "interrupted", 75),
        (CorruptArtifact("x"), "infrastructure", 42),
    ],
)
def test_each_error_has_a_word_and_an_exit_code(error: Exception, kind: str, code: int) -> None:
    assert (kind_of(error), getattr(error, "stage_exit_code", None)) == (kind, code)


def test_anything_else_is_a_bug() -> None:
    assert kind_of(KeyError("x")) == "bug"


@given(message=st.text(max_size=30), log=st.text(max_size=30), fact=st.text(max_size=30), times=st.integers(0, 400))
def test_a_message_of_any_length_fits_into_4_kb_and_keeps_its_kind(
    message: str, log: str, fact: str, times: int
) -> None:
    long = Termination(
        kind="failed", stage="tasks", message=message * times, log=log * times, summary={"x": fact * times}
    )
    content = encode(long)
    assert len(content) <= LIMIT
    read = decode(content)
    assert read is not None
    assert (read.kind, read.stage) == ("failed", "tasks")


@pytest.mark.parametrize("char", ["\x00", "😀", "\udc80", "ü"])
def test_characters_that_take_many_bytes_fit_as_well(char: str) -> None:
    assert len(encode(Termination(kind="bug", stage="tasks", message=char * 9000, log=char * 9000))) <= LIMIT


def test_a_short_message_comes_back_whole() -> None:
    ended = Termination(kind="complete", stage="tasks", fingerprint="f", summary={"n": 1}, message="ü", log="l")
    assert decode(encode(ended)) == ended


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "other", "stage": "x"}'])
def test_what_a_killed_stage_left_is_no_message(content: bytes) -> None:
    assert decode(content) is None
