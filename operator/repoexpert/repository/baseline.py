"""What the suite does before anybody changes anything: three runs, one of them shuffled, and what each test executes.

Called by the environment stage; `coverage_for` also by whoever needs tests that a suite run in part left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from repoexpert.repository.records import SLOW_SECONDS, Baseline, TestCommand, TestRun
from repoexpert.repository.testing import run_tests, run_tests_with_coverage
from repoexpert.sandbox.protocol import Sandbox, SandboxPool, StartTree

SHUFFLE_SEED = 20_240_229
_BAD = ("failed", "error", "timeout")
_QUIET = ("skipped", "xfailed")
_LARGE = 2000
"""A suite of more tests is run in fair order at once: it may not fit the budget."""
Coverage = Mapping[str, tuple[str, ...]]
Tell = Callable[[int, str], None]


class Measured(BaseModel):
    """Result of the baseline."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[TestRun, ...]
    coverage: dict[str, tuple[str, ...]]
    partial: bool


async def measure(
    pool: SandboxPool, start: StartTree, command: TestCommand, tests: Sequence[str], state: Path, tell: Tell
) -> Measured:
    """Run the suite three times and once more under coverage; finished runs are kept in `state` for a second try.

    A suite that does not fit `command.timeout_seconds` is run in part: whole files, in an order that favours no folder.
    """
    first, partial = await _first(pool, start, command, tests, state)
    tell(1, f"{len(first.results)} tests in {first.seconds:.0f} s")
    done = [test for test in tests if test in first.results]
    passed = [test for test in done if first.results[test].outcome == "passed"]
    # Under coverage everything is slower: pure Python about three times.
    longer = command.model_copy(
        update={
            "timeout_seconds": command.timeout_seconds * 4,
            "test_timeout_seconds": command.test_timeout_seconds * 3,
        }
    )
    selection = done if partial else None

    async def again(name: str, seed: int | None) -> TestRun:
        async def run(box: Sandbox) -> TestRun:
            limit = command.timeout_seconds * 1.5
            return await run_tests(box, command, tests=selection, timeout=limit, shuffle_seed=seed)

        return TestRun.model_validate(await _kept(state / f"{name}.json", lambda: _in_box(pool, start, run)))

    async def covered() -> Coverage:
        return await _coverage(pool, start, longer, passed, state / "coverage.json")

    shuffled, third, coverage = await asyncio.gather(again("shuffled", SHUFFLE_SEED), again("third", None), covered())
    tell(3, "three runs and coverage done")
    return Measured(runs=(first, shuffled, third), coverage=dict(coverage), partial=partial)


async def _first(
    pool: SandboxPool, start: StartTree, command: TestCommand, tests: Sequence[str], state: Path
) -> tuple[TestRun, bool]:
    async def plain(box: Sandbox) -> TestRun:
        return await run_tests(box, command)

    async def fair(box: Sandbox) -> TestRun:
        return await run_tests(box, command, tests=fair_order(tests))

    if len(tests) <= _LARGE:
        run = TestRun.model_validate(await _kept(state / "plain.json", lambda: _in_box(pool, start, plain)))
        if not run.timed_out:
            return run, False
    run = TestRun.model_validate(await _kept(state / "fair.json", lambda: _in_box(pool, start, fair)))
    return run, run.timed_out


async def _in_box(pool: SandboxPool, start: StartTree, run: Callable[[Sandbox], Awaitable[TestRun]]) -> dict[str, Any]:
    async with pool.claim(start) as box:
        return (await run(box)).model_dump(mode="json")


async def _kept(file: Path, make: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """The value in `file`, made and written first if it is not there."""
    kept = _load(file)
    if kept is None:
        kept = await make()
        _save(file, kept)
    return kept


def _load(file: Path) -> dict[str, Any] | None:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def _save(file: Path, value: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps(value), encoding="utf-8")
    aside.replace(file)


async def _coverage(
    pool: SandboxPool, start: StartTree, command: TestCommand, tests: Sequence[str], file: Path
) -> Coverage:
    async def make() -> dict[str, Any]:
        async with pool.claim(start) as box:
            return dict(await coverage_for(box, command, tests, timeout=command.timeout_seconds))

    return {test: tuple(functions) for test, functions in (await _kept(file, make)).items()}


async def coverage_for(
    box: Sandbox, command: TestCommand, tests: Sequence[str], *, timeout: float
) -> dict[str, tuple[str, ...]]:
    """Functions (`path::qualified.name`) that each of `tests` executes; a test that does not pass is left out."""
    if not tests:
        return {}
    run, coverage = await run_tests_with_coverage(box, command, tests=tests, timeout=timeout)
    passed = {test for test, result in run.results.items() if result.outcome == "passed"}
    return {test: functions for test, functions in coverage.items() if test in passed}


def fair_order(tests: Sequence[str]) -> list[str]:
    """Whole files, spread over the folders: folders take turns, files within a folder in a fixed random order."""
    folders: dict[str, dict[str, list[str]]] = {}
    for test in tests:
        file = test.partition("::")[0]
        folders.setdefault(file.rpartition("/")[0], {}).setdefault(file, []).append(test)
    queues = [sorted(files, key=_dice, reverse=True) for _, files in sorted(folders.items())]
    ordered: list[str] = []
    while queues:
        for queue in queues:
            file = queue.pop()
            ordered += folders[file.rpartition("/")[0]][file]
        queues = [queue for queue in queues if queue]
    return ordered


def _dice(file: str) -> str:
    return hashlib.sha256(file.encode(errors="surrogateescape")).hexdigest()


def judge(runs: Sequence[TestRun]) -> Baseline:
    """Sort the tests by what they did in every run. A test missing in a run is flaky with `missing` there."""
    stable, failing, skipped = [], [], []
    flaky: dict[str, tuple[str, ...]] = {}
    for test in sorted({test for run in runs for test in run.results}):
        outcomes = tuple(str(run.results[test].outcome) if test in run.results else "missing" for run in runs)
        if all(outcome == "passed" for outcome in outcomes):
            stable.append(test)
        elif all(outcome in _BAD for outcome in outcomes):
            failing.append(test)
        elif all(outcome in _QUIET for outcome in outcomes):
            skipped.append(test)
        else:
            flaky[test] = outcomes
    return Baseline(
        stable=tuple(stable),
        flaky=flaky,
        failing=tuple(failing),
        skipped=tuple(skipped),
        slow=tuple(test for test in stable if min(run.results[test].seconds for run in runs) > SLOW_SECONDS),
    )


def coverage_document(coverage: Coverage) -> dict[str, Any]:
    """`coverage.json`: each function's name once, tests as lists of indices."""
    functions = sorted({function for executed in coverage.values() for function in executed})
    index = {function: number for number, function in enumerate(functions)}
    tests = {test: sorted(index[function] for function in coverage[test]) for test in sorted(coverage)}
    return {"functions": functions, "tests": tests}


def read_coverage(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Test id to the functions it executes, from `coverage.json`."""
    functions = document["functions"]
    return {test: tuple(functions[index] for index in indices) for test, indices in document["tests"].items()}
