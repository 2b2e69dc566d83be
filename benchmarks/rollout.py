"""Rollout engine: wall time with a teacher of fixed latency at 64 concurrent, against the ideal.

Ideal = the sum of the teacher's latencies / 64. Bound: 90 % of it with an environment that does nothing; with real
bubblewrap the figure also shows what the machine's cores allow. Run: python -m benchmarks.rollout
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from repoexpert.agent.config import AgentConfig
from repoexpert.experience.tasks import Task
from repoexpert.models.chat import ChatModel
from repoexpert.rollout.engine import run_rollouts
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.protocol import Limits, Result, SandboxPool, StartTree
from tests.builders.tasks import make_task
from tests.fakes.completers import SUBMIT, FakeCompleter, turn
from tests.fakes.sandboxes import FakePool

CONCURRENT = 64
STEPS = 38
LATENCY = 0.25
ROUNDS = 2
BOUND = 0.9


@dataclass(frozen=True)
class Yes:
    """Grading is not what is measured here."""

    verified: bool = True
    reason: str = ""
    detail: str = ""


class Grader:
    """Says yes at once."""

    async def verify(self, task: Task, patch: str) -> Yes:
        return Yes()


def model(_task: Task, _number: int) -> ChatModel:
    """37 small commands, then the submission; each answer takes LATENCY."""
    answers = [turn(f"echo {step} && cat README") for step in range(STEPS - 1)]
    return ChatModel(FakeCompleter([*answers, turn(SUBMIT)], latency=LATENCY), name="stub")


def shell(command: str) -> Result:
    """What the environment without a sandbox answers."""
    return Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\npatch\n" if command == SUBMIT else "line\n" * 40, 0)


async def measure(name: str, pool: SandboxPool, archive: Path, out: Path) -> float:
    """Part of the ideal that was reached."""
    tasks = [make_task(number) for number in range(CONCURRENT * ROUNDS)]
    started, cpu = time.perf_counter(), time.process_time()
    summary = await run_rollouts(
        tasks,
        pool=pool,
        model_factory=model,
        agent_config=AgentConfig(),
        verifier=Grader(),
        start_of=lambda _: StartTree(archive),
        key_of=lambda task: task.id,
        out=out,
        concurrency=CONCURRENT,
    )
    wall = time.perf_counter() - started
    ideal = len(tasks) * STEPS * LATENCY / CONCURRENT
    print(
        f"{name:28s} {len(summary.results)} attempts x {STEPS} steps: {wall:6.1f} s, ideal {ideal:.1f} s: "
        f"{ideal / wall:.1%}; this process used {(time.process_time() - cpu) / wall:.0%} of a core",
        flush=True,
    )
    return ideal / wall


async def run(folder: Path) -> bool:
    (folder / "source").mkdir()
    (folder / "source/README").write_text("line\n" * 40)
    archive = folder / "tree.tar"
    tar = await asyncio.create_subprocess_exec("tar", "-cf", str(archive), "-C", str(folder / "source"), ".")
    await tar.wait()
    print(f"{CONCURRENT} concurrent, {LATENCY} s a step, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    reached = await measure("environment that does nothing", FakePool(shell), archive, folder / "noop")
    async with BubblewrapPool(None, None, Path(sys.base_prefix), Limits(), folder / "scratch") as pool:
        await measure("bubblewrap", pool, archive, folder / "bubblewrap")
    return reached >= BOUND


def main() -> int:
    """Print the figures; exit code 1 when the bound is missed."""
    with tempfile.TemporaryDirectory() as folder:
        return 0 if asyncio.run(run(Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
