"""What of a trajectory is trained, and what is only seen."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from repoexpert.dataset.trajectories import to_conversation
from tests.builders.trajectories import ending, format_error, observation, opening, reply, trajectory


def _shape(messages: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    conversation = to_conversation(messages)
    assert conversation is not None
    return [(turn.role, turn.masked) for turn in conversation.turns]


def test_an_ordinary_trajectory_keeps_every_reply_and_ends_with_the_submission() -> None:
    conversation = to_conversation(trajectory(1, count=2))
    assert conversation is not None
    messages = conversation.messages()
    assert [message["role"] for message in messages] == ["system", "user", *["assistant", "user"] * 2, "assistant"]
    assert "COMPLETE_TASK" in messages[-1]["content"]
    assert not any("loss" in message for message in messages)


def test_a_reply_in_a_wrong_format_is_seen_but_not_trained() -> None:
    messages = [*opening("x"), format_error("no block at all"), reply("ls"), observation("a"), *ending()]
    assert _shape(messages) == [
        ("system", False), ("user", False), ("assistant", True), ("user", False), ("assistant", False),
        ("user", False), ("assistant", False),
    ]  # fmt: skip
    conversation = to_conversation(messages)
    assert conversation is not None
    assert conversation.messages()[2] == {"role": "assistant", "content": "no block at all", "loss": False}
    assert conversation.format_error_turns == 1


def test_a_wrong_reply_that_the_agent_kept_is_masked_where_it_stands() -> None:
    bad = {"role": "assistant", "content": "no block"}
    messages = [*opening("x"), bad, format_error("no block"), reply("ls"), observation("a"), *ending()]
    assert [masked for role, masked in _shape(messages) if role == "assistant"] == [True, False, False]


def test_the_repeats_of_a_loop_are_masked_and_its_first_turn_is_not() -> None:
    loop = [reply("ls", "again"), observation("same")] * 4
    messages = [*opening("x"), reply("cat a"), observation("1"), *loop, *ending()]
    masked = [masked for role, masked in _shape(messages) if role == "assistant"]
    assert masked == [False, False, True, True, True, False]


def test_two_equal_turns_are_no_loop() -> None:
    messages = [*opening("x"), *[reply("ls"), observation("same")] * 2, *ending()]
    assert not any(masked for _, masked in _shape(messages))


def test_the_same_command_with_another_output_is_no_loop() -> None:
    turns = [turn for output in "123" for turn in (reply("pytest"), observation(output))]
    assert not any(masked for _, masked in _shape([*opening("x"), *turns, *ending()]))


def test_other_words_around_the_same_command_are_still_a_loop() -> None:
    turns = [turn for thought in "abc" for turn in (reply("ls", thought), observation("same"))]
    masked = [masked for role, masked in _shape([*opening("x"), *turns, *ending()]) if role == "assistant"]
    assert masked == [False, True, True, False]


def test_nothing_after_the_last_reply_is_kept() -> None:
    messages = [*opening("x"), reply("ls"), observation("never answered"), {"role": "exit", "content": ""}]
    assert _shape(messages)[-1] == ("assistant", False)


def test_a_trajectory_without_a_reply_gives_nothing() -> None:
    assert to_conversation(opening("x")) is None
    assert to_conversation([]) is None
    assert to_conversation([*opening("x"), format_error("bad"), {"role": "exit", "content": ""}]) is None
    assert to_conversation([reply("ls")]) is None


_MESSAGE = st.builds(
    lambda role, content, wrong: {
        "role": role,
        "content": content,
        "extra": {"interrupt_type": "FormatError", "model_response": "bad"} if wrong else {},
    },
    st.sampled_from(["system", "user", "assistant", "tool", "exit"]),
    st.text(string.ascii_letters + "`\n ", max_size=30),
    st.booleans(),
)


@given(st.lists(_MESSAGE, max_size=20))
def test_whatever_was_recorded_the_row_alternates_and_ends_with_a_reply(messages: list[dict[str, Any]]) -> None:
    conversation = to_conversation(messages)
    if conversation is None:
        return
    roles = [turn.role for turn in conversation.turns]
    body = roles[1:] if roles[0] == "system" else roles
    assert body == ["user", "assistant"] * (len(body) // 2)
    assert any(turn.role == "assistant" and not turn.masked for turn in conversation.turns)
    assert all(turn.role == "assistant" for turn in conversation.turns if turn.masked)
