"""Reads finished attempts and turns mini-SWE-agent's trajectory into training messages with masked turns.

First step of the dataset; called by `build`. A masked turn stays in the context and carries `"loss": false`: the student
sees it and does not learn to write it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repoexpert.errors import StageFailed
from repoexpert.rollout.records import TRAJECTORY, AttemptResult

LOOP_RUN = 3
"""The same action with the same output this many times in a row is a loop."""


@dataclass(frozen=True)
class Attempt:
    """One finished attempt: its verdict and where its trajectory lies."""

    result: AttemptResult
    trajectory: Path

    @property
    def id(self) -> str:
        """`TASK/N`, unique in a rollout."""
        return f"{self.result.task}/{self.result.attempt}"


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str
    masked: bool = False


@dataclass(frozen=True)
class Conversation:
    """Turns in ms-swift's order (system, user, assistant, ...; assistant last), with what was masked and why."""

    turns: tuple[Turn, ...]
    loop_turns: int
    format_error_turns: int

    @property
    def assistant_turns(self) -> int:
        return sum(1 for turn in self.turns if turn.role == "assistant")

    @property
    def text(self) -> str:
        """What the teacher wrote and the student would learn."""
        return "\n".join(turn.content for turn in self.turns if turn.role == "assistant" and not turn.masked)

    def messages(self) -> list[dict[str, Any]]:
        """As ms-swift reads them; `loss` only where a turn is masked."""
        return [
            {"role": turn.role, "content": turn.content, **({"loss": False} if turn.masked else {})}
            for turn in self.turns
        ]


def read_attempts(folder: Path) -> Iterator[Attempt]:
    """Every finished attempt below `folder`/attempts, by task and number; unfinished ones have no result and are none."""
    for file in sorted((folder / "attempts").glob("*/*/result.json"), key=_attempt_order):
        try:
            result = AttemptResult.model_validate_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StageFailed(f"the attempt's record {file} cannot be read: {error}") from error
        yield Attempt(result=result, trajectory=file.with_name(TRAJECTORY))


def _attempt_order(file: Path) -> tuple[str, int, str]:
    number = file.parent.name
    return file.parent.parent.name, int(number) if number.isdigit() else -1, number


def read_conversation(attempt: Attempt) -> Conversation | None:
    """The attempt's conversation; None when the teacher wrote nothing that could be trained."""
    try:
        messages = json.loads(attempt.trajectory.read_text(encoding="utf-8"))["messages"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageFailed(
            f"the trajectory of attempt {attempt.id} cannot be read ({attempt.trajectory}): {error}; "
            "verify the rollout artifact with `repoexpert artifacts verify`"
        ) from error
    return to_conversation(messages)


def to_conversation(messages: Sequence[Mapping[str, Any]]) -> Conversation | None:
    """From mini-SWE-agent's messages (`trajectory_format` 1.1).

    A reply that was answered with a complaint (`extra.interrupt_type`: wrong format, repetition) is kept as a masked
    turn; stock mini-SWE-agent leaves it out of `messages` and stores it as the complaint's `extra.model_response`. Adjacent messages of one role are joined, the final `exit` and
    whatever follows the last reply are left out.
    """
    turns = _flatten(messages)
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if [turn.role for turn in turns if turn.role != "system"][:1] != ["user"]:
        return None
    format_errors = sum(1 for turn in turns if turn.role == "assistant" and turn.masked)
    loops = _loop_turns(turns)
    masked = tuple(Turn(t.role, t.content, t.masked or i in loops) for i, t in enumerate(turns))
    if all(turn.masked for turn in masked if turn.role == "assistant"):
        return None
    return Conversation(masked, loop_turns=len(loops), format_error_turns=format_errors)


def _flatten(messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages:
        role, extra = message["role"], message.get("extra") or {}
        if role == "exit":
            break
        if role != "assistant" and not (role == "system" and not turns):
            role = "user"  # whatever else is said to the student is an observation
        if extra.get("interrupt_type") and role == "user":
            _mask_complained(turns, extra.get("model_response"))
        _append(turns, Turn(role, _text(message.get("content"))))
    return turns


def _mask_complained(turns: list[Turn], response: Any) -> None:
    if turns and turns[-1].role == "assistant":
        turns[-1] = Turn("assistant", turns[-1].content, masked=True)
    elif isinstance(response, str):
        turns.append(Turn("assistant", response, masked=True))


def _append(turns: list[Turn], turn: Turn) -> None:
    if turns and turns[-1].role == turn.role:
        last = turns.pop()
        turn = Turn(turn.role, f"{last.content}\n{turn.content}", masked=last.masked or turn.masked)
    turns.append(turn)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _loop_turns(turns: Sequence[Turn]) -> set[int]:
    """Indices of the replies that repeat: within a run of LOOP_RUN equal (action, output) pairs, all but the first."""
    steps = [
        (index, (_action(turn.content), turns[index + 1].content if index + 1 < len(turns) else ""))
        for index, turn in enumerate(turns)
        if turn.role == "assistant"
    ]
    repeated: set[int] = set()
    start = 0
    for position in range(1, len(steps) + 1):
        if position < len(steps) and steps[position][1] == steps[start][1]:
            continue
        if position - start >= LOOP_RUN:
            repeated.update(index for index, _ in steps[start + 1 : position])
        start = position
    return repeated


def _action(reply: str) -> str:
    """The command in the reply's fence; the whole reply when there is none."""
    before, fence, rest = reply.partition("```")
    return rest.rpartition("```")[0].partition("\n")[2].strip() if fence else before.strip()
