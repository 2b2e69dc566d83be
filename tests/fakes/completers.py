"""Completers that answer from a list or a function, at once or after a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from repoexpert.models.chat import Completion

SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git add -A && git diff --cached"


def turn(command: str, thought: str = "next") -> str:
    """A well-formed answer."""
    return f"THOUGHT: {thought}\n\n```bash\n{command}\n```"


class FakeCompleter:
    """Gives the answers in turn, then the last one for ever; an exception in the list is raised."""

    def __init__(
        self, answers: Sequence[str | Exception], *, tokens: tuple[int, int] = (100, 10), latency: float = 0.0
    ) -> None:
        self._answers = list(answers)
        self._tokens = tokens
        self._latency = latency
        self.seen: list[list[dict[str, str]]] = []
        self.on_call: Callable[[], None] = lambda: None

    @property
    def description(self) -> dict[str, Any]:
        return {"provider": "fake", "model": "fake"}

    def complete(self, messages: Sequence[dict[str, str]]) -> Completion:
        self.on_call()
        if self._latency:
            time.sleep(self._latency)
        answer = self._answers[min(len(self.seen), len(self._answers) - 1)]
        self.seen.append([dict(message) for message in messages])
        if isinstance(answer, Exception):
            raise answer
        return Completion(answer, *self._tokens)
