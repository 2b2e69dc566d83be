"""Grades an answer to a task: in fresh sandboxes, from the patch alone, on the ground that the task was proven on.

Called by the rollout and the evaluation. An infrastructure failure is raised and is no verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repoexpert.errors import BadInput, StageFailed
from repoexpert.experience.answers import (
    Answer,
    BadAnswer,
    check_tampering,
    read_answer,
    require_tests_only,
    sources_only,
)
from repoexpert.experience.grounds import load_ground
from repoexpert.experience.proving import outcome_of, result_of
from repoexpert.experience.suite_edits import written_tests
from repoexpert.experience.tasks import Task
from repoexpert.repository.analysis import location_of_test
from repoexpert.repository.diffs import make_patch
from repoexpert.repository.records import TestRun
from repoexpert.repository.testing import run_tests
from repoexpert.sandbox.protocol import SandboxPool

_UNRELATED = ("ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "TabError", "FixtureLookupError")


@dataclass(frozen=True)
class Verdict:
    """Whether an answer counts, and if not, why: a short constant and a text for people."""

    verified: bool
    reason: str = ""
    detail: str = ""


class Verifier:
    """Grades answers to tasks of one environment artifact."""

    def __init__(self, environment_dir: Path, pool: SandboxPool) -> None:
        self._ground = load_ground(environment_dir)
        self._pool = pool
        self._start = lru_cache(maxsize=8)(self._start_files)

    async def verify(self, task: Task, patch: str) -> Verdict:
        """The verdict on `patch`, a unified diff on the task's start tree.

        Reasons: empty-patch, patch-too-large, unsafe-path, patch-does-not-apply, tampering, tests-failed; for
        semanticRuntimeAlignment also not-only-tests, no-tests-written, tests-not-run, does-not-fail,
        fails-for-another-reason, fails-on-the-fix, unstable. Raises InfrastructureError.
        """
        tree = self._start(task.start_patch)
        try:
            answer = read_answer(patch, tree)
            check_tampering(answer, tree, self._ground.record.source_roots)
            if task.unit == "evolutionaryReplay":
                await self._verify_replay(task, answer, tree)
            elif task.unit == "semanticRuntimeAlignment":
                await self._verify_alignment(task, answer, tree)
            else:
                raise BadInput(f"unit {task.unit} is not available yet")
        except BadAnswer as e:
            return Verdict(False, e.reason, e.detail[:500])
        return Verdict(True)

    def _start_files(self, start_patch: str) -> Mapping[str, bytes]:
        """The start tree's files, as far as an answer may touch them."""
        tree = dict(self._ground.files)
        for path, content in read_answer(start_patch, tree).files.items():
            if content is None:
                tree.pop(path, None)
            else:
                tree[path] = content
        return tree

    async def _verify_replay(self, task: Task, answer: Answer, tree: Mapping[str, bytes]) -> None:
        kept = sources_only(answer, self._ground.layout)
        tests = (*task.verification.fail_to_pass, *task.verification.pass_to_pass)
        # The repository's own test files replace what the answer made of them.
        theirs = {location_of_test(test)[0] for test in tests} | set(task.verification.reference_files)
        restored = {path: self._ground.files[path] for path in sorted(theirs) if path in self._ground.files}
        patch = _patch(kept, tree, without=restored.keys())
        run = await self._run(task, patch, tests, files=restored)
        failed = [f"{test}: {outcome_of(test, run)}" for test in tests if outcome_of(test, run) != "passed"]
        if failed or run.problem:
            raise BadAnswer("tests-failed", run.problem or f"{len(failed)} of {len(tests)}: {', '.join(failed[:5])}")

    async def _verify_alignment(self, task: Task, answer: Answer, tree: Mapping[str, bytes]) -> None:
        require_tests_only(answer, self._ground.layout)
        written = {
            path: names
            for path, content in answer.files.items()
            if content is not None and (names := written_tests(tree.get(path), content))
        }
        if not written:
            raise BadAnswer("no-tests-written", ", ".join(answer.files))
        patch = _patch(answer, tree)
        asked = [f"{path}::{name.replace('.', '::')}" for path, names in written.items() for name in names]
        tests = await self._expand(task, patch, asked)
        runs = [await self._run(task, patch, tests) for _ in range(2)]
        _require_failure(tests, runs)
        for _ in range(2):
            run = await self._run(task, patch, tests, fix=task.verification.fix_patch)
            failed = [f"{test}: {outcome_of(test, run)}" for test in tests if outcome_of(test, run) != "passed"]
            if failed or run.problem:
                raise BadAnswer("fails-on-the-fix", run.problem or ", ".join(failed[:5]))

    async def _expand(self, task: Task, patch: str, asked: list[str]) -> tuple[str, ...]:
        """The node ids, with parameters, of the functions asked for, as the fixed tree collects them."""
        wanted = {location_of_test(test) for test in asked}
        run = await self._run(task, patch, None, fix=task.verification.fix_patch, paths=sorted({p for p, _ in wanted}))
        tests = tuple(sorted(test for test in run.results if location_of_test(test) in wanted))
        missing = wanted - {location_of_test(test) for test in tests}
        if missing or not tests:
            names = ", ".join(sorted(f"{path}::{name}" for path, name in missing))
            raise BadAnswer("tests-not-run", run.problem or f"not collected: {names}")
        return tests

    async def _run(
        self,
        task: Task,
        patch: str,
        tests: tuple[str, ...] | None,
        *,
        fix: str = "",
        files: Mapping[str, bytes] | None = None,
        paths: list[str] | None = None,
    ) -> TestRun:
        start = self._ground.start(task.start_patch, patch, fix, files=files)
        command = self._ground.record.test
        if paths is not None:
            command = command.model_copy(update={"paths": tuple(paths)})
        limit = 120.0 + 10 * sum(self._ground.baseline.seconds_of(test) for test in tests or ())
        try:
            async with self._pool.claim(start) as box:
                return await run_tests(box, command, tests=tests, timeout=min(limit, command.timeout_seconds + 120.0))
        except StageFailed as e:
            raise BadAnswer("patch-does-not-apply", str(e)) from e


def _patch(answer: Answer, tree: Mapping[str, bytes], without: Collection[str] = ()) -> str:
    """The answer written anew by our own hand, so that nothing but contents gets into the sandbox."""
    files = {path: (tree.get(path), content) for path, content in answer.files.items() if path not in without}
    try:
        return make_patch(files)
    except UnicodeDecodeError as e:
        raise BadAnswer("patch-does-not-apply", f"content that is not UTF-8: {e}") from e


def _require_failure(tests: tuple[str, ...], runs: list[TestRun]) -> None:
    for run in runs:
        if run.timed_out:
            raise BadAnswer("does-not-fail", run.problem)
    results = [[result_of(test, run) for run in runs] for test in tests]
    failing = [pair for pair in results if all(r is not None and r.outcome in ("failed", "error") for r in pair)]
    if not failing:
        unstable = any(r is not None and r.outcome in ("failed", "error") for pair in results for r in pair)
        raise BadAnswer("unstable" if unstable else "does-not-fail")
    good = [
        pair for pair in failing
        if all(r is not None and r.phase == "call" and r.error_type not in _UNRELATED for r in pair)
    ]  # fmt: skip
    if not good:
        kinds = sorted({r.error_type or r.phase for pair in failing for r in pair if r is not None})
        raise BadAnswer("fails-for-another-reason", ", ".join(kinds))
