"""The agent's limits. The paper's values are the defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AgentConfig:
    """Limits on one attempt; 0 means no limit."""

    step_limit: int = 64
    context_tokens: int = 48_000
    command_timeout_seconds: int = 60
    wall_seconds: int = 3600
    """Of an attempt as a whole, checked between two steps."""
    max_consecutive_format_errors: int = 3
    loop_guard: bool = False
    """The paper's released agent: warns at the third identical answer, ends at the fifth. Off in the paper's text."""
