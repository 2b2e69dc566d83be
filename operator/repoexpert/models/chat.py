"""A chat model as mini-SWE-agent wants it, over anything that can complete a conversation.

A provider implements only `Completer.complete`; the protocol, the accounting and the context limit are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from repoexpert.models import mini
from repoexpert.models.pricing import Price
from repoexpert.models.text_protocol import find_actions, format_error, render_observation

CONTEXT_EXCEEDED = "ContextExceeded"
"""Exit status of an attempt whose conversation no longer fits the context."""
_CHARACTERS_PER_TOKEN = 3.5
_SILENCE = "(no answer)"
"""Providers refuse empty messages in a conversation."""


class ContextExceeded(Exception):
    """The provider refused the conversation as too long."""


@dataclass(frozen=True)
class Completion:
    """One answer. Token counts are the provider's own; 0 when it tells none."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"


class Completer(Protocol):
    """A provider's client for one model with fixed sampling."""

    @property
    def description(self) -> dict[str, Any]:
        """What to record of it in a trajectory: provider, model, sampling. Never a key."""

    def complete(self, messages: Sequence[dict[str, str]]) -> Completion:
        """Answer a conversation of {role, content}. Raises ContextExceeded, BadInput, InfrastructureError."""


@dataclass
class Usage:
    """What a model has used so far in one attempt."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    format_errors: int = 0
    cost: Decimal = field(default_factory=Decimal)


class ChatModel:
    """mini-SWE-agent's Model over a Completer, for one attempt."""

    def __init__(self, completer: Completer, *, name: str, price: Price | None = None, context_tokens: int = 0) -> None:
        self.config = {"model_name": name, "context_tokens": context_tokens, **completer.description}
        self.name = name
        self.usage = Usage()
        self._completer = completer
        self._price = price or Price()
        self._context_tokens = context_tokens
        self._seen_messages = 0
        self._seen_tokens = 0

    def query(self, messages: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        """Ask for the next action. Raises mini-SWE-agent's FormatError and LimitsExceeded, else what `complete` does."""
        if 0 < self._context_tokens < self._expected_tokens(messages):
            raise _context_exceeded()
        plain = [{"role": message["role"], "content": message["content"]} for message in messages]
        try:
            completion = self._completer.complete(plain)
        except ContextExceeded as error:
            raise _context_exceeded() from error
        cost = self._account(completion, plain)
        actions = find_actions(completion.text)
        extra = {
            "cost": float(cost),
            "usage": {
                "prompt_tokens": completion.prompt_tokens,
                "completion_tokens": completion.completion_tokens,
            },
            "finish_reason": completion.finish_reason,
        }
        answer = {"role": "assistant", "content": completion.text or _SILENCE}
        if len(actions) != 1:
            self.usage.format_errors += 1
            # The answer itself stays in the conversation, as in the paper's agent, so that it can be masked later.
            raise mini.exceptions().FormatError(
                {**answer, "extra": {**extra, "actions": []}},
                {
                    "role": "user",
                    "content": format_error(len(actions)),
                    "extra": {"interrupt_type": "FormatError", "n_actions": len(actions)},
                },
            )
        return {**answer, "extra": {**extra, "actions": [{"command": actions[0]}]}}

    def format_message(self, **message: Any) -> dict[str, Any]:
        """A message as this protocol carries it: unchanged."""
        return message

    def format_observation_messages(
        self, message: dict[str, Any], outputs: list[dict[str, Any]], template_vars: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One user message for each output."""
        return [
            {
                "role": "user",
                "content": render_observation(output),
                "extra": {"returncode": output.get("returncode"), **output.get("extra", {})},
            }
            for output in outputs
        ]

    def get_template_vars(self, **_: Any) -> dict[str, Any]:
        """Nothing of the model is for a prompt."""
        return {}

    def serialize(self) -> dict[str, Any]:
        """The model's part of a trajectory file."""
        kind = f"{type(self).__module__}.{type(self).__name__}"
        return {"info": {"config": {"model": dict(self.config), "model_type": kind}}}

    def _expected_tokens(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of the conversation: what the provider counted last, and an estimate of what came after."""
        fresh = sum(len(str(message["content"])) for message in messages[self._seen_messages :])
        return self._seen_tokens + int(fresh / _CHARACTERS_PER_TOKEN)

    def _account(self, completion: Completion, messages: list[dict[str, str]]) -> Decimal:
        self.usage.calls += 1
        self.usage.prompt_tokens += completion.prompt_tokens
        self.usage.completion_tokens += completion.completion_tokens
        if completion.prompt_tokens:
            self._seen_messages = len(messages) + 1
            self._seen_tokens = completion.prompt_tokens + completion.completion_tokens
        cost = self._price.cost(completion.prompt_tokens, completion.completion_tokens)
        self.usage.cost += cost
        return cost


def _context_exceeded() -> Exception:
    error: Exception = mini.exceptions().LimitsExceeded(
        {"role": "exit", "content": CONTEXT_EXCEEDED, "extra": {"exit_status": CONTEXT_EXCEEDED, "submission": ""}}
    )
    return error
