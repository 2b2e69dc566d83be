"""The rollout stage: the teacher attempts the tasks in sandboxes; verified attempts become experience.

Reads the environment and tasks artifacts, writes `attempts/` and `ledger.jsonl`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from repoexpert.agent.config import AgentConfig
from repoexpert.agent.prompting import prompts_of
from repoexpert.api.experience import Teacher
from repoexpert.errors import BadInput, InfrastructureError, RepoExpertError, StageFailed
from repoexpert.experience.tasks import Task, read_tasks
from repoexpert.experience.verifying import Verifier
from repoexpert.models import scripted
from repoexpert.models.pricing import Price, price_of
from repoexpert.repository.records import EnvironmentRecord
from repoexpert.rollout.engine import run_rollouts
from repoexpert.rollout.ledger import Summary
from repoexpert.rollout.teachers import teacher_factory
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.environments import unpack_cached
from repoexpert.sandbox.protocol import Limits, StartTree
from repoexpert.stages.context import StageContext

log = logging.getLogger(__name__)

_SCRIPTED_PER_JOB = 2
"""A scripted teacher never waits for a model, so more sandboxes at once would only queue for the processor."""
_EARLIER = 3
"""Earlier rollouts to look for equal attempts in."""
_MOST_FAILED = 0.1
"""With a larger part of the attempts lost to the machine the artifact would not mean anything."""


def run(context: StageContext) -> dict[str, Any]:
    """Collect verified attempts up to the mix's quotas."""
    experience = context.expert.spec.experience
    if experience.rollout.engine == "ray":
        raise BadInput("spec.experience.rollout.engine: `ray` is not available yet; use `process` or `auto`")
    tasks = read_tasks(context.inputs["tasks"] / "tasks.jsonl")
    quotas = {name: count for name, count in experience.units.model_dump(by_alias=True).items() if count}
    tasks = [task for task in tasks if task.unit in quotas]
    if not tasks:
        raise StageFailed("there is no proven task for any unit of spec.experience.units: nothing can be attempted")
    if unpriced(experience.teacher):
        log.warning(
            "no price of %s is known, so its attempts count as free and spec.experience.budget.maxCost ends nothing",
            experience.teacher.model,
        )
    summary = asyncio.run(_collect(context, tasks, quotas))
    _check(summary)
    per_unit = {unit: sum(task.unit == unit for task in tasks) for unit in quotas}
    return {**summary.figures(per_unit), "quotas": quotas, "teacher": experience.teacher.model}


def unpriced(teacher: Teacher) -> bool:
    """Whether a budget cannot bound this teacher: a model that is not on the price list."""
    return teacher.provider != "scripted" and price_of(teacher.model) == Price()


async def _collect(context: StageContext, tasks: list[Task], quotas: dict[str, int]) -> Summary:
    spec = context.expert.spec
    folder = context.inputs["environment"]
    record = EnvironmentRecord.model_validate_json((folder / "environment.json").read_bytes())
    environment_dir = await asyncio.to_thread(unpack_cached, folder / "env.tar.zst", context.cache)
    probe_dir = await asyncio.to_thread(unpack_cached, folder / "probe.tar.zst", context.cache)
    overlay = folder / "overlay.tar.zst"
    agent = agent_config(context)
    prefix = attempt_key_prefix(context, agent)
    async with BubblewrapPool(
        environment_dir,
        probe_dir,
        Path(record.python_prefix),
        Limits(),
        context.cache / "sandboxes",
        environment=record.test.environment,
    ) as pool:
        return await run_rollouts(
            tasks,
            pool=pool,
            model_factory=teacher_factory(
                spec.experience.teacher, spec.experience.agent, test_command=record.test.command
            ),
            agent_config=agent,
            verifier=Verifier(folder, pool),
            start_of=lambda task: StartTree(
                folder / "tree.tar.zst", overlay=overlay if overlay.exists() else None, patches=(task.start_patch,)
            ),
            key_of=lambda task: _digest([*prefix, task.id, prompts_of(task.unit).digest]),
            out=context.work,
            attempts=spec.experience.rollout.attempts_per_task,
            concurrency=_concurrency(context),
            quotas=quotas,
            budget=spec.experience.budget.max_cost,
            reuse=_earlier(context),
            progress=context.progress,
        )


def agent_config(context: StageContext) -> AgentConfig:
    """The agent's limits from the spec."""
    agent = context.expert.spec.experience.agent
    return AgentConfig(
        step_limit=agent.step_limit,
        context_tokens=agent.context_tokens,
        command_timeout_seconds=agent.command_timeout_seconds,
    )


def attempt_key_prefix(context: StageContext, agent: AgentConfig) -> list[Any]:
    """What every attempt of this stage depends on beside its task."""
    experience = context.expert.spec.experience
    folder = context.inputs["environment"]
    teacher = experience.teacher
    return [
        "attempt-1",
        _file_digests(folder, "tree.tar.zst", "overlay.tar.zst", "env.tar.zst"),
        vars(agent),
        [str(experience.agent.temperature), str(experience.agent.top_p), experience.agent.output_tokens],
        [teacher.provider, teacher.model, teacher.base_url],
        scripted.VERSION if teacher.provider == "scripted" else 0,
    ]


def _concurrency(context: StageContext) -> int:
    experience = context.expert.spec.experience
    wanted = experience.rollout.concurrency
    return min(wanted, _SCRIPTED_PER_JOB * context.jobs) if experience.teacher.provider == "scripted" else wanted


def _earlier(context: StageContext) -> list[Path]:
    """The newest earlier rollout artifacts of this expert; one that is damaged or gone is no help and no failure."""
    metadata = context.expert.metadata
    manifests = context.store.list(metadata.namespace, metadata.name, "rollout")
    folders = []
    for manifest in sorted(manifests, key=lambda manifest: manifest.created, reverse=True)[:_EARLIER]:
        with contextlib.suppress(RepoExpertError):
            folders.append(context.store.fetch(manifest.key))
    return folders


def _check(summary: Summary) -> None:
    tried = len(summary.results) + summary.infrastructure_failures
    if summary.infrastructure_failures > _MOST_FAILED * tried:
        raise InfrastructureError(
            f"{summary.infrastructure_failures} of {tried} attempts failed for reasons of the machine or a service;"
            " finished ones are kept, run again to go on"
        )
    if not any(result.outcome == "verified" for result in summary.results):
        reasons = ", ".join(f"{reason} {count}" for reason, count in summary.figures()["reasons"].items())
        raise StageFailed(
            f"none of {len(summary.results)} attempts was verified, so there is nothing to learn from ({reasons});"
            " try another teacher, a higher spec.experience.agent.stepLimit or more rollout.attemptsPerTask"
        )


def _file_digests(folder: Path, *names: str) -> list[str]:
    digests = []
    for name in names:
        path = folder / name
        if path.exists():
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
