"""One model on one suite: the same agent in the same sandboxes as the teacher's, with the student as its model.

A run is an artifact of its own, keyed by the model's digest, the suite and everything the agent was given, so the base
is never run again for a new candidate. Called by the evaluation stage, which also starts the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repoexpert.agent.config import AgentConfig
from repoexpert.agent.prompting import prompts_of
from repoexpert.api.expert import RepoExpert
from repoexpert.errors import InfrastructureError
from repoexpert.evaluation.records import Role
from repoexpert.evaluation.suites import UNITS, digest_of
from repoexpert.experience.tasks import Task
from repoexpert.experience.verifying import Verifier
from repoexpert.models.chat import ChatModel
from repoexpert.models.openai import OpenAICompleter, Sampling
from repoexpert.progress import Progress
from repoexpert.rollout.engine import run_rollouts
from repoexpert.rollout.ledger import Summary
from repoexpert.sandbox.protocol import SandboxPool, StartTree

STAGE = "model-run"
FORMAT = 1
_MOST_MISSING = 0.1


@dataclass(frozen=True)
class Model:
    """A model to be judged."""

    role: Role
    folder: Path
    digest: str
    source: str


@dataclass(frozen=True)
class Endpoint:
    """Where the model answers."""

    base_url: str
    name: str
    context_tokens: int
    """The server's; the spec may ask for more than the model can take."""


def settings(expert: RepoExpert) -> dict[str, Any]:
    """What every attempt of an evaluation is given, JSON values: part of the run's fingerprint and of the report."""
    agent, serving = expert.spec.experience.agent, expert.spec.serving
    return {
        "step_limit": agent.step_limit,
        "agent_context_tokens": agent.context_tokens,
        "output_tokens": agent.output_tokens,
        "command_timeout_seconds": agent.command_timeout_seconds,
        "context_tokens": serving.context_tokens,
        "sampling": {
            "temperature": str(serving.sampling.temperature.normalize()),
            "top_p": str(serving.sampling.top_p.normalize()),
            "top_k": serving.sampling.top_k,
            "repetition_penalty": str(serving.sampling.repetition_penalty.normalize()),
        },
        "attempts": expert.spec.evaluation.attempts,
    }


def fingerprint(expert: RepoExpert, model_digest: str, suite_fingerprint: str) -> str:
    """What a run depends on. The model's role is not part of it: a promoted candidate is the served model's run."""
    prompts = {unit: prompts_of(unit).digest for unit in UNITS}
    return digest_of([STAGE, FORMAT, model_digest, suite_fingerprint, settings(expert), prompts])


async def run_model(
    expert: RepoExpert,
    endpoint: Endpoint,
    tasks: Sequence[Task],
    environment: Path,
    *,
    pool: SandboxPool,
    out: Path,
    concurrency: int,
    key: str,
    progress: Progress,
) -> Summary:
    """Attempt every task `evaluation.attempts` times; `out` may hold those of a killed run.

    `environment`: the suite's environment folder; `key`: the run's fingerprint. Raises InfrastructureError when more
    than a tenth of the attempts were lost to the machine: fewer are reported as missing.
    """
    spec = expert.spec
    overlay = environment / "overlay.tar.zst"
    agent = spec.experience.agent
    summary = await run_rollouts(
        tasks,
        pool=pool,
        model_factory=lambda _, attempt: _student(expert, endpoint, attempt),
        agent_config=AgentConfig(
            step_limit=agent.step_limit,
            context_tokens=agent.context_tokens,
            command_timeout_seconds=agent.command_timeout_seconds,
        ),
        verifier=Verifier(environment, pool),
        start_of=lambda task: StartTree(
            environment / "tree.tar.zst",
            overlay=overlay if overlay.exists() else None,
            patches=(task.start_patch,),
        ),
        key_of=lambda task: digest_of([key, task.id]),
        out=out,
        attempts=spec.evaluation.attempts,
        concurrency=concurrency,
        all_attempts=True,
        progress=progress,
    )
    _check(summary, len(tasks) * spec.evaluation.attempts)
    return summary


def _student(expert: RepoExpert, endpoint: Endpoint, attempt: int) -> ChatModel:
    sampling, agent = expert.spec.serving.sampling, expert.spec.experience.agent
    room = min(agent.context_tokens, endpoint.context_tokens - agent.output_tokens)
    completer = OpenAICompleter(
        endpoint.name,
        base_url=endpoint.base_url,
        api_key=None,
        sampling=Sampling(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=agent.output_tokens,
            seed=attempt,
        ),
        retries=2,
    )
    return ChatModel(completer, name=endpoint.name, context_tokens=max(1, room))


def _check(summary: Summary, wanted: int) -> None:
    missing = wanted - len(summary.results)
    if missing > _MOST_MISSING * wanted:
        raise InfrastructureError(
            f"{missing} of {wanted} evaluation attempts were lost to the machine, not to the model; finished ones are "
            "kept, run again to go on"
        )
