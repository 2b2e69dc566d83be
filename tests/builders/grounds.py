"""An environment artifact for the small library, made without installing: this interpreter's own pytest serves."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import repoexpert.repository
from repoexpert.repository.git import git_text
from repoexpert.repository.records import Baseline, EnvironmentRecord, TestCommand
from repoexpert.repository.testing import run_tests
from repoexpert.repository.trees import write_tree
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.protocol import Limits, SandboxPool, StartTree


def commit_at(git_dir: Path, cutoff: str) -> str:
    """The last commit of the first-parent history up to a day."""
    return git_text(git_dir, "rev-list", "-1", "--first-parent", f"--before={cutoff}T23:59:59Z", "main").strip()


def pools(scratch: Path) -> Callable[[], AbstractAsyncContextManager[SandboxPool]]:
    """Opens pools whose environment is this interpreter's."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[SandboxPool]:
        probe = Path(repoexpert.repository.__path__[0]) / "probe"
        async with BubblewrapPool(Path(sys.prefix), probe, Path(sys.base_prefix), Limits(), scratch) as pool:
            yield pool

    return opened


async def make_ground(folder: Path, git_dir: Path, commit: str, scratch: Path) -> Path:
    """Write the artifact to `folder`: the tree and a baseline of one real run; nothing is known of coverage."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    write_tree(git_dir, commit, folder / "tree.tar.zst")
    command = TestCommand(paths=("tests",), environment={"PYTHONPATH": "."})
    async with pools(scratch)() as pool, pool.claim(StartTree(folder / "tree.tar.zst")) as box:
        run = await run_tests(box, command)
    stable = tuple(test for test, result in run.results.items() if result.outcome == "passed")
    baseline = Baseline(stable=stable, flaky={}, failing=(), skipped=())
    record = EnvironmentRecord(
        url="file:///ledger", commit=commit, committed="2024-03-31T00:00:00+00:00", python="3.11", python_prefix=sys.base_prefix,
        exclude_newer="2024-04-01", attempts=(), test=command, source_roots=("",), packages=("ledger",), test_paths=("tests",),
    )  # fmt: skip
    (folder / "environment.json").write_text(record.model_dump_json())
    (folder / "baseline.json").write_text(baseline.model_dump_json())
    (folder / "coverage.json").write_text(json.dumps({"functions": [], "tests": {}}))
    return folder
