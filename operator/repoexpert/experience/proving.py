"""Proves candidates before any model sees them: with the change undone tests break, with it back they pass, twice.

Every run is in a fresh sandbox. An infrastructure failure is raised, never a reason to reject. Called by making.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repoexpert.errors import StageFailed
from repoexpert.experience.findings import Failing, Finding, Reason, key_of
from repoexpert.experience.grounds import Ground
from repoexpert.experience.selection import Selection, select_tests
from repoexpert.experience.statements import scrub
from repoexpert.experience.suite_edits import remove_tests
from repoexpert.repository.analysis import location_of_test
from repoexpert.repository.candidates import Candidate
from repoexpert.repository.diffs import make_patch
from repoexpert.repository.records import TestResult, TestRun
from repoexpert.repository.testing import run_tests
from repoexpert.sandbox.protocol import SandboxPool, StartTree

TEST_SECONDS = 20
"""Limit of one test while proving: an undone change that makes tests hang is no task."""
_BROAD = 0.5
_MESSAGE = 1200


class Rejected(Exception):
    """A candidate that is no task."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Split:
    """The selected tests by what they do when the change is undone."""

    fail: Mapping[str, Failing]
    passing: tuple[str, ...]


class Prover:
    """Proves candidates of one environment."""

    def __init__(self, ground: Ground, pool: SandboxPool) -> None:
        self._ground = ground
        self._pool = pool

    async def prove(self, candidate: Candidate) -> Finding:
        """A proof or the reason for rejecting. Raises InfrastructureError."""
        key = key_of(candidate)
        try:
            return await self._prove(candidate, key)
        except Rejected as e:
            return Finding(key=key, reason=e.reason, detail=e.detail[:500])
        except UnicodeDecodeError:
            return Finding(key=key, reason="not-utf8")

    async def _prove(self, candidate: Candidate, key: str) -> Finding:
        files = sorted(candidate.part.files)
        selection = select_tests(self._ground, files, candidate.part.symbols)
        if not selection.tests:
            raise Rejected("no-tests-found")
        split = await self._break(candidate, selection)
        removal = self._removal(split.fail)
        tree = self._ground.files
        bug = {path: (tree.get(path), content) for path, content in candidate.part.files.items()}
        tests = {path: (tree.get(path), content) for path, content in removal.items()}
        finding = Finding(
            key=key,
            start_patch=make_patch({**bug, **tests}),
            sources_patch=make_patch({path: (new, old) for path, (old, new) in bug.items()}),
            tests_patch=make_patch({path: (new, old) for path, (old, new) in tests.items()}),
            reference_files=tuple(sorted(removal)),
            fail_to_pass=dict(sorted(split.fail.items())),
            pass_to_pass=split.passing,
            selected_by=selection.by,
        )
        await self._check_reference(finding)
        await self._check_start(finding, removal)
        return finding

    async def _break(self, candidate: Candidate, selection: Selection) -> Split:
        """Run the selection twice with the change undone."""
        start = self._ground.start(candidate.patch)
        first = await self.run(start, selection.all)
        self._trusted(first)
        if not any(_bad(outcome_of(test, first)) for test in selection.all):
            raise Rejected("no-test-breaks")
        split = split_runs(selection.all, first, await self.run(start, selection.all))
        if not split.fail:
            raise Rejected("unstable")
        hanging = [test for test, failing in split.fail.items() if failing.error == "Timeout"]
        if hanging:
            raise Rejected("hangs", f"{len(hanging)} of {len(selection.all)} tests")
        if all(failing.error in ("NameError", "UnboundLocalError") for failing in split.fail.values()):
            raise Rejected("undefined-name", next(iter(split.fail.values())).message)
        self._narrow(split, selection)
        return split

    def _trusted(self, run: TestRun) -> None:
        if run.timed_out:
            raise Rejected("hangs", run.problem)
        if run.problem:
            raise Rejected("too-broad", run.problem)

    def _narrow(self, split: Split, selection: Selection) -> None:
        broken = [test for test in selection.controls if test in split.fail]
        if selection.controls and len(broken) >= max(2, math.ceil(len(selection.controls) * _BROAD)):
            raise Rejected("too-broad", f"{len(broken)} of {len(selection.controls)} unrelated tests fail")
        stable = len(self._ground.baseline.stable)
        if len(split.fail) > max(1, stable * _BROAD):
            raise Rejected("too-broad", f"{len(split.fail)} of {stable} stable tests fail")

    def _removal(self, failing: Mapping[str, Failing]) -> dict[str, bytes | None]:
        """Test file to its content without the failing tests; None where all of its tests fail."""
        by_file: dict[str, set[str]] = {}
        for test in failing:
            path, name = location_of_test(test)
            by_file.setdefault(path, set()).add(name)
        removal: dict[str, bytes | None] = {}
        for path, names in sorted(by_file.items()):
            stable = {location_of_test(t)[1] for t in self._ground.baseline.stable if location_of_test(t)[0] == path}
            importing = any(failing[t].phase == "collect" for t in failing if location_of_test(t)[0] == path)
            if importing or stable <= names:
                removal[path] = None
                continue
            without = remove_tests(self._ground.files.get(path, b""), names)
            if without is None:
                raise Rejected("test-not-removable", f"{path}: {', '.join(sorted(names))}")
            removal[path] = without
        return removal

    async def _check_reference(self, finding: Finding) -> None:
        tests = (*finding.fail_to_pass, *finding.pass_to_pass)
        restored = {path: self._ground.files[path] for path in finding.reference_files}
        for _ in range(2):
            run = await self.run(self._ground.start(finding.start_patch, finding.sources_patch, files=restored), tests)
            failed = [test for test in tests if outcome_of(test, run) != "passed"]
            if failed or run.problem:
                raise Rejected("reference-fails", run.problem or ", ".join(failed[:5]))

    async def _check_start(self, finding: Finding, removal: Mapping[str, bytes | None]) -> None:
        """The start tree as an agent meets it: nothing of what is left may fail."""
        gone = {location_of_test(test) for test in finding.fail_to_pass}
        left = [
            test for test in finding.pass_to_pass
            if location_of_test(test) not in gone and removal.get(location_of_test(test)[0], b"") is not None
        ]  # fmt: skip
        if not left:
            return
        run = await self.run(self._ground.start(finding.start_patch), left)
        failed = [test for test in left if outcome_of(test, run) != "passed"]
        if failed or run.problem:
            raise Rejected("start-tree-broken", run.problem or ", ".join(failed[:5]))

    async def run(self, start: StartTree, tests: Sequence[str]) -> TestRun:
        """The tests in a fresh sandbox."""
        command = self._ground.record.test.model_copy(update={"test_timeout_seconds": TEST_SECONDS})
        limit = 120.0 + 10 * sum(self._ground.baseline.seconds_of(test) for test in tests)
        try:
            async with self._pool.claim(start) as box:
                return await run_tests(box, command, tests=tests, timeout=limit)
        except StageFailed as e:
            raise Rejected("patch-does-not-apply", str(e)) from e


def outcome_of(test: str, run: TestRun) -> str:
    """A test's outcome; `error` when its file could not be collected, `missing` when it is not there at all."""
    found = result_of(test, run)
    return found.outcome if found is not None else "missing"


def result_of(test: str, run: TestRun) -> TestResult | None:
    """A test's own result or its file's (or class's) failed collection."""
    found = run.results.get(test)
    place = test.partition("[")[0]
    while found is None and "::" in place:
        place = place.rpartition("::")[0]
        collected = run.results.get(place)
        found = collected if collected is not None and collected.phase == "collect" else None
    return found


def split_runs(tests: Sequence[str], first: TestRun, second: TestRun) -> Split:
    """Tests that fail in both runs with the same error, and those that pass in both; the others are neither."""
    fail: dict[str, Failing] = {}
    passing = []
    for test in tests:
        one, two = result_of(test, first), result_of(test, second)
        if one is None or two is None:
            continue
        if _bad(one.outcome) and _bad(two.outcome) and (one.outcome, one.error_type) == (two.outcome, two.error_type):
            messages = scrub(one.message)[:_MESSAGE], scrub(two.message)[:_MESSAGE]
            # A message that differs between runs would make the statement differ as well.
            same = messages[0] if messages[0] == messages[1] else ""
            fail[test] = Failing(error=one.error_type, message=same, phase=one.phase)
        elif one.outcome == two.outcome == "passed":
            passing.append(test)
    return Split(fail, tuple(sorted(passing)))


def _bad(outcome: str) -> bool:
    return outcome in ("failed", "error", "timeout")
