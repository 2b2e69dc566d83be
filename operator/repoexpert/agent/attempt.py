"""One attempt at one statement in one sandbox: the whole agent loop, from prompts to what was submitted.

Called by the rollout engine (collection and evaluation) from a worker thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repoexpert.agent.behaviour import is_looping, suspicious_commands, turns_of
from repoexpert.agent.config import AgentConfig
from repoexpert.agent.environment import Interruption, SandboxEnvironment
from repoexpert.agent.prompting import prompts_of
from repoexpert.models.chat import ChatModel
from repoexpert.sandbox.protocol import Sandbox


@dataclass(frozen=True)
class AttemptOutcome:
    """How the agent's run ended; whether it solved anything is the verifier's to say."""

    exit_status: str
    submission: str
    steps: int
    looping: bool
    suspicious: tuple[str, ...]


def run_attempt(
    model: ChatModel,
    box: Sandbox,
    loop: asyncio.AbstractEventLoop,
    *,
    statement: str,
    unit: str,
    config: AgentConfig,
    trajectory: Path | None,
    facts: dict[str, Any] | None = None,
    interruption: Interruption | None = None,
) -> AttemptOutcome:
    """Run the agent to its end; blocks, so call it in a thread while `loop` runs elsewhere.

    `facts` go into the trajectory's `info.repoexpert`. SandboxLost, InfrastructureError and BadInput pass through.
    """
    from repoexpert.agent.mini_agent import TrajectoryAgent

    prompts = prompts_of(unit)
    environment = SandboxEnvironment(
        box, loop, timeout=config.command_timeout_seconds, step_limit=config.step_limit, interruption=interruption
    )
    agent = TrajectoryAgent(
        model,
        environment,
        trajectory=trajectory,
        facts={"repoexpert": {"unit": unit, "prompts": prompts.digest, "limits": asdict(config), **(facts or {})}},
        loop_guard=config.loop_guard,
        system_template=prompts.system,
        instance_template=prompts.instance,
        step_limit=config.step_limit,
        cost_limit=0.0,
        wall_time_limit_seconds=config.wall_seconds,
        max_consecutive_format_errors=config.max_consecutive_format_errors,
    )
    ended = agent.run(statement)
    turns = turns_of(agent.messages)
    return AttemptOutcome(
        exit_status=str(ended.get("exit_status", "")),
        submission=str(ended.get("submission", "")),
        steps=agent.n_calls,
        looping=is_looping(turns),
        suspicious=suspicious_commands(command for command, _ in turns),
    )
