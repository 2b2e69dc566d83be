"""A small rollout with the scripted teacher in real sandboxes; also a program, so that it can be killed.

python -m tests.builders.scripted_rollouts OUT SCRATCH CONCURRENCY
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from repoexpert.agent.config import AgentConfig
from repoexpert.api.experience import Agent, Teacher
from repoexpert.experience.tasks import Task
from repoexpert.rollout.engine import run_rollouts
from repoexpert.rollout.ledger import Summary
from repoexpert.rollout.teachers import teacher_factory
from repoexpert.sandbox.protocol import SandboxPool, StartTree
from tests.builders.sandboxes import PYTHON, make_archive, make_pool
from tests.builders.tasks import make_task

TREE = {
    "lib.py": "def answer(x):\n    return x + 1\n",
    "test_lib.py": "from lib import answer\nassert answer(1) == 2, answer(1)\n",
}
TEST_REFERENCE = """\
diff --git a/test_lib.py b/test_lib.py
--- a/test_lib.py
+++ b/test_lib.py
@@ -1,2 +1,3 @@
 from lib import answer
 assert answer(1) == 2, answer(1)
+assert answer(2) == 3, answer(2)
"""


@dataclass(frozen=True)
class Verdict:
    """What the grader below says."""

    verified: bool
    reason: str
    detail: str = ""


class ProgramGrader:
    """Runs the tree's own test program on start tree and answer."""

    def __init__(self, pool: SandboxPool, archive: Path) -> None:
        self._pool = pool
        self._archive = archive

    async def verify(self, task: Task, patch: str) -> Verdict:
        start = StartTree(self._archive, patches=(task.start_patch, patch), commit=False)
        async with self._pool.claim(start) as box:
            passed = (await box.run(f"{PYTHON} test_lib.py", timeout=20)).exit_code == 0
        wanted = task.unit == "evolutionaryReplay"
        return Verdict(passed == wanted, "tests-failed")


def tasks() -> list[Task]:
    """Six tasks, every third of which asks for a test."""
    return [
        make_task(number, "semanticRuntimeAlignment", reference=TEST_REFERENCE)
        if number % 3 == 2
        else make_task(number)
        for number in range(6)
    ]


async def collect(out: Path, scratch: Path, concurrency: int) -> Summary:
    """Attempt them all."""
    archive = make_archive(scratch / "tree.tar", TREE)
    async with make_pool(scratch / "boxes") as pool:
        return await run_rollouts(
            tasks(),
            pool=pool,
            model_factory=teacher_factory(Teacher(provider="scripted"), Agent(), test_command=[PYTHON, "-m", "pytest"]),
            agent_config=AgentConfig(),
            verifier=ProgramGrader(pool, archive),
            start_of=lambda task: StartTree(archive, patches=(task.start_patch,)),
            key_of=lambda task: f"key-{task.id}",
            out=out,
            concurrency=concurrency,
        )


if __name__ == "__main__":
    asyncio.run(collect(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
