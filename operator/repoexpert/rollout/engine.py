"""The process engine: tasks times attempts over N sandboxes at once in one process.

Called by the rollout stage (teachers) and by evaluation (base, candidate). The agent is synchronous and lives in a
thread; sandboxes and grading live on the event loop. An attempt is a folder that is whole or absent, so a run that was
killed goes on where it was. A failed attempt never touches its siblings; one that the machine failed leaves no result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from repoexpert.agent.attempt import AttemptOutcome, run_attempt
from repoexpert.agent.config import AgentConfig
from repoexpert.agent.environment import Interruption
from repoexpert.errors import InfrastructureError, RepoExpertError, SandboxLost, StageFailed
from repoexpert.experience.tasks import Task
from repoexpert.models.chat import ChatModel
from repoexpert.progress import NoProgress, Progress
from repoexpert.rollout.attempts import AttemptFolders, reusable
from repoexpert.rollout.grading import VerifierLike
from repoexpert.rollout.ledger import Summary, total_cost, write_ledger
from repoexpert.rollout.records import TRAJECTORY, AttemptResult
from repoexpert.rollout.scheduling import Scheduler
from repoexpert.sandbox.protocol import SandboxPool, StartTree

_STOP_SECONDS = 10.0
_TRIES = 3
"""Sandboxes that one attempt may lose."""
_HOPELESS = 8
"""With so many infrastructure failures, one a sandbox at least, and not one result, no further task is begun."""


@dataclass
class _Run:
    """Everything the attempts of one call share."""

    pool: SandboxPool
    model_factory: Callable[[Task, int], ChatModel]
    agent_config: AgentConfig
    verifier: VerifierLike
    start_of: Callable[[Task], StartTree]
    key_of: Callable[[Task], str]
    attempts: int
    all_attempts: bool
    budget: Decimal | None
    folders: AttemptFolders
    reuse: Mapping[tuple[str, int], Path]
    executor: ThreadPoolExecutor
    results: dict[tuple[str, int], AttemptResult] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    failures: list[RepoExpertError] = field(default_factory=list)

    @property
    def over_budget(self) -> bool:
        return self.budget is not None and total_cost(self.results.values()) >= self.budget

    def hopeless(self, concurrency: int) -> bool:
        """Whether a service or the machine has failed every attempt so far, and often enough to stop trying."""
        lost = sum(isinstance(failure, InfrastructureError) for failure in self.failures)
        return not self.results and lost >= max(_HOPELESS, concurrency)


async def run_rollouts(
    tasks: Sequence[Task],
    *,
    pool: SandboxPool,
    model_factory: Callable[[Task, int], ChatModel],
    agent_config: AgentConfig,
    verifier: VerifierLike,
    start_of: Callable[[Task], StartTree],
    key_of: Callable[[Task], str],
    out: Path,
    attempts: int = 1,
    concurrency: int = 1,
    all_attempts: bool = False,
    quotas: Mapping[str, int] | None = None,
    budget: Decimal | None = None,
    reuse: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Summary:
    """Attempt every task and grade it; `out` gets `attempts/` and `ledger.jsonl` and may hold those of a killed run.

    attempts: at most this many a task, ended by the first verified one; with `all_attempts` exactly this many.
    quotas: unit to how many of its tasks shall be verified; None attempts every task.
    budget: no attempt starts once the results' cost has reached it (US dollars).
    reuse: earlier artifacts of the same expert; attempts with an equal key are taken over.
    Raises what makes every attempt senseless (BadInput: a wrong key, a wrong model name) after running ones ended, and
    InfrastructureError when no attempt at all could be made. Single infrastructure failures are counted in the summary.
    """
    started = time.monotonic()
    keys = {task.id: key_of(task) for task in tasks}
    folders = AttemptFolders(out)
    folders.tidy(keys)
    executor = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="attempt")
    try:
        run = _Run(
            pool, model_factory, agent_config, verifier, start_of, lambda task: keys[task.id], attempts, all_attempts,
            budget, folders, reusable(reuse), executor,
        )  # fmt: skip
        await _work_through(run, Scheduler(tasks, quotas), concurrency, progress or NoProgress())
    finally:
        # Never wait here: a thread that still runs needs this event loop to end.
        executor.shutdown(wait=False, cancel_futures=True)
    order = {task.id: index for index, task in enumerate(tasks)}
    run.summary.results = sorted(run.results.values(), key=lambda result: (order[result.task], result.attempt))
    run.summary.infrastructure_failures = len(run.failures)
    run.summary.seconds = time.monotonic() - started
    if run.failures and not run.results:
        raise InfrastructureError(f"no attempt could be made; the first failure: {run.failures[0]}") from run.failures[
            0
        ]
    write_ledger(out, run.summary.results)
    return run.summary


async def _work_through(run: _Run, scheduler: Scheduler, concurrency: int, progress: Progress) -> None:
    """Keep `concurrency` tasks going until the scheduler wants no more; the first fatal error is raised at the end."""
    running: dict[asyncio.Task[bool], Task] = {}
    fatal: BaseException | None = None
    ended = 0
    try:
        while True:
            going = fatal is None and not run.hopeless(concurrency)
            while going and len(running) < concurrency and (task := scheduler.next()) is not None:
                running[asyncio.create_task(_run_task(run, task))] = task
            _report(run, progress, ended, ended + scheduler.expected, len(running))
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                task = running.pop(finished)
                ended += 1
                fatal = fatal or finished.exception()
                scheduler.ended(task, verified=finished.exception() is None and finished.result())
    finally:
        for left in running:
            left.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if fatal is not None:
        raise fatal


def _report(run: _Run, progress: Progress, done: int, total: int, running: int) -> None:
    progress.update(
        done=done,
        total=total,
        message=f"{running} running",
        attempted=len(run.results),
        verified=sum(result.outcome == "verified" for result in run.results.values()),
        tokens=sum(result.prompt_tokens + result.completion_tokens for result in run.results.values()),
        cost=str(total_cost(run.results.values())),
        lost_sandboxes=run.summary.lost_sandboxes,
    )


async def _run_task(run: _Run, task: Task) -> bool:
    """All the attempts a task gets; True when one of them was verified."""
    verified = False
    for number in range(1, run.attempts + 1):
        result = _finished(run, task, number)
        if result is None:
            if run.over_budget:
                run.summary.stopped_by_budget = True
                break
            try:
                result = await _attempt(run, task, number)
            except (InfrastructureError, StageFailed) as error:
                run.failures.append(error)
                break
        else:
            run.summary.reused += 1
        run.results[task.id, number] = result
        verified = verified or result.outcome == "verified"
        if verified and not run.all_attempts:
            break
    return verified


def _finished(run: _Run, task: Task, number: int) -> AttemptResult | None:
    """The attempt's result when this folder or an earlier artifact has it."""
    key = run.key_of(task)
    result = run.folders.read(task.id, number, key)
    if result is None and (key, number) in run.reuse:
        result = run.folders.adopt(task.id, number, run.reuse[key, number])
    return result


async def _attempt(run: _Run, task: Task, number: int) -> AttemptResult:
    """One attempt in one folder; a lost sandbox is replaced, at most _TRIES in all, each time from the start."""
    for tries_left in reversed(range(_TRIES)):
        partial = run.folders.begin(task.id, number)
        model = run.model_factory(task, number)
        try:
            outcome = await _run_agent(run, task, model, partial / TRAJECTORY, number)
            result = await _grade(run, task, number, model, outcome)
            run.folders.complete(partial, result)
        except SandboxLost:
            run.summary.lost_sandboxes += 1
            if not tries_left:
                raise
        else:
            return result
        finally:
            run.folders.abandon(partial)
    raise AssertionError("unreachable: the last try returns or raises")


async def _run_agent(run: _Run, task: Task, model: ChatModel, trajectory: Path, number: int) -> AttemptOutcome:
    loop = asyncio.get_running_loop()
    interruption = Interruption()
    async with run.pool.claim(run.start_of(task)) as box:

        def work() -> AttemptOutcome:
            return run_attempt(
                model, box, loop, statement=task.statement, unit=task.unit, config=run.agent_config,
                trajectory=trajectory, facts={"task": task.id, "attempt": number}, interruption=interruption,
            )  # fmt: skip

        thread = loop.run_in_executor(run.executor, work)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            # The thread still uses the sandbox: it must end before the claim does.
            interruption.trigger()
            await asyncio.wait([thread], timeout=_STOP_SECONDS)
            raise


async def _grade(run: _Run, task: Task, number: int, model: ChatModel, outcome: AttemptOutcome) -> AttemptResult:
    """The attempt's result; only a non-empty submission reaches the verifier."""
    submitted = outcome.exit_status == "Submitted"
    verdict = await _verify(run, task, outcome.submission) if submitted and outcome.submission.strip() else None
    if verdict is not None:
        found, reason, detail = ("verified" if verdict[0] else "rejected"), *verdict[1:]
    elif submitted:
        found, reason, detail = "rejected", "empty-patch", "nothing was changed"
    else:
        found, reason, detail = "not-submitted", _kebab(outcome.exit_status), f"ended with {outcome.exit_status}"
    usage = model.usage
    return AttemptResult.model_validate(
        {
            "key": run.key_of(task),
            "task": task.id,
            "unit": task.unit,
            "attempt": number,
            "outcome": found,
            "reason": reason,
            "detail": detail,
            "exit_status": outcome.exit_status,
            "model": model.name,
            "scripted": model.config.get("provider") == "scripted",
            "patch": outcome.submission,
            "steps": outcome.steps,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cost": str(usage.cost.normalize()) if usage.cost else "0",
            "format_errors": usage.format_errors,
            "looping": outcome.looping,
            "suspicious": outcome.suspicious,
        }
    )


async def _verify(run: _Run, task: Task, patch: str) -> tuple[bool, str, str]:
    """(verified, reason, detail); a sandbox lost while grading is replaced without running the agent again."""
    for tries_left in reversed(range(_TRIES)):
        try:
            verdict = await run.verifier.verify(task, patch)
        except SandboxLost as error:
            run.summary.lost_sandboxes += 1
            if not tries_left:
                raise InfrastructureError(f"grading {task.id} lost {_TRIES} sandboxes: {error}") from error
        else:
            return verdict.verified, "" if verdict.verified else verdict.reason, verdict.detail
    raise AssertionError("unreachable: the last try returns or raises")


def _kebab(status: str) -> str:
    """`LimitsExceeded` to `limits-exceeded`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in status).lstrip("-")
