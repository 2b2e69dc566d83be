"""Runs the repository's tests in a sandbox. Used by the baseline, by the proving of tasks and by grading.

One pytest start a call. What counts is the JUnit XML written outside the tree, checked against the probe's stream of
events and the exit code. When a test kills or hangs the whole process, the tests that are left run in a new one.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from repoexpert.repository.junit import BrokenReport, Case, parse_junit
from repoexpert.repository.records import TestCommand, TestResult, TestRun
from repoexpert.repository.streams import Stream, parse_stream, worse
from repoexpert.sandbox.protocol import ENVIRONMENT, PROBE, TESTBED, Sandbox

_FOLDER = "/tmp/repoexpert-tests"  # noqa: S108 - inside the sandbox, whose /tmp is private
_RESTARTS = 8
_TAIL = 6000
# Time the probe's watchdog and pytest's own reporting need after the last test's limit.
_GRACE = 15.0
_BAD = ("failed", "error", "timeout")
_OPTIONS = (
    *("-p", "repoexpert_probe", "-p", "no:randomly", "-p", "no:repeat"),
    *("-o", f"cache_dir={_FOLDER}/cache", "-o", "junit_family=xunit1", "-o", "junit_logging=no"),
    *("--rootdir", TESTBED, "--maxfail=0", "--continue-on-collection-errors", "--color=no", "--tb=short", "-q"),
    *("--junit-xml", f"{_FOLDER}/junit.xml"),
)
_STATUS_MEANING = {
    2: "the run was interrupted",
    3: "pytest failed internally",
    4: "pytest did not accept its command line or configuration",
}


@dataclass
class _Rounds:
    """What the processes of one call told so far."""

    results: dict[str, TestResult] = field(default_factory=dict)
    coverage: list[dict[str, Any]] = field(default_factory=list)
    processes: int = 0
    exit_code: int = 0
    output: str = ""
    problem: str = ""
    timed_out: bool = False


async def run_tests(
    box: Sandbox,
    command: TestCommand,
    *,
    tests: Sequence[str] | None = None,
    timeout: float | None = None,
    shuffle_seed: int | None = None,
) -> TestRun:
    """Run `tests` (pytest node ids), or the whole suite, from /testbed within `timeout` seconds in all.

    A test that does not exist is absent from the results. A file that cannot be imported is a result of its own, with
    the file as id and phase `collect`. Raises SandboxLost.
    """
    run, _ = await run_tests_with_coverage(
        box, command, tests=tests, timeout=timeout, shuffle_seed=shuffle_seed, coverage=False
    )
    return run


async def run_tests_with_coverage(
    box: Sandbox,
    command: TestCommand,
    *,
    tests: Sequence[str] | None = None,
    timeout: float | None = None,
    shuffle_seed: int | None = None,
    coverage: bool = True,
) -> tuple[TestRun, dict[str, tuple[str, ...]]]:
    """As `run_tests`; also the functions (`path::qualified.name`) that each test executed."""
    limit = float(timeout or command.timeout_seconds)
    started = time.monotonic()
    rounds = _Rounds()
    for _ in range(_RESTARTS + 1):
        left = limit - (time.monotonic() - started)
        plan = {
            "tests": None if tests is None else sorted(set(tests)),
            "skip": sorted(rounds.results),
            "seed": shuffle_seed,
            "seconds": max(1.0, min(float(command.test_timeout_seconds), left - _GRACE)),
            "coverage": coverage,
        }
        if left <= 0 or not await _round(box, command, plan, tests, left, rounds):
            break
    else:
        rounds.problem = f"stopped after {_RESTARTS + 1} processes died under the tests"
    return _finish(rounds, time.monotonic() - started), merge_coverage(rounds.coverage)


async def collect_tests(
    box: Sandbox, command: TestCommand, *, timeout: float
) -> tuple[tuple[str, ...], dict[str, TestResult], str]:
    """Ids of the suite without running a test, files that cannot be collected, and the end of pytest's output."""
    seconds = min(float(command.test_timeout_seconds), timeout)
    plan: dict[str, Any] = {"tests": None, "skip": [], "seed": None, "seconds": seconds, "coverage": False}
    only = command.model_copy(update={"command": (*command.command, "--collect-only")})
    script = test_script(only, plan, command.paths, only_existing=False)
    ended = await box.run(script, timeout=timeout, env=command.environment)
    stream = parse_stream(await _read(box, "stream.jsonl"))
    return stream.collected or (), stream.results, ended.output[-_TAIL:]


async def _round(
    box: Sandbox, command: TestCommand, plan: dict[str, Any], tests: Sequence[str] | None, left: float, rounds: _Rounds
) -> bool:
    """Run one process and take in what it told; True when tests are left for another one."""
    paths = command.paths if tests is None else _files(tests)
    script = test_script(command, plan, paths, only_existing=tests is not None)
    ended = await box.run(script, timeout=left, env=command.environment)
    stream = parse_stream(await _read(box, "stream.jsonl"))
    rounds.processes += 1
    rounds.output = ended.output[-_TAIL:]
    rounds.exit_code = ended.exit_code if stream.status is None else stream.status
    rounds.problem = stream.broken
    if stream.status is not None:
        _take_report(rounds, stream, await _read(box, "junit.xml"))
        if plan["coverage"]:
            rounds.coverage.append(coverage_part(await _read(box, "coverage.json")))
        return False
    rounds.results.update(stream.results)
    if ended.timed_out:
        rounds.timed_out = True
        rounds.problem = f"out of time after {left:.0f} s, {len(rounds.results)} tests done"
        return False
    if stream.running is None:
        rounds.problem = _STATUS_MEANING.get(ended.exit_code, f"pytest ended early with exit code {ended.exit_code}")
        return False
    hung = bool((await _read(box, "trace.txt")).strip())
    rounds.results[stream.running] = _killer(stream.running, hung, ended.exit_code, command.test_timeout_seconds)
    rounds.problem = "" if hung else rounds.problem
    return True


def _killer(test: str, hung: bool, exit_code: int, limit: float) -> TestResult:
    if hung:
        message = f"timeout: ran longer than {limit:g} s and could not be interrupted"
        return TestResult(id=test, outcome="timeout", seconds=limit, error_type="Timeout", message=message)
    message = f"the test process died during this test (exit code {exit_code})"
    return TestResult(id=test, outcome="error", error_type="ProcessDied", message=message)


def test_script(command: TestCommand, plan: dict[str, Any], paths: Iterable[str], *, only_existing: bool) -> str:
    """The bash script of one process: clean folder, plan, pytest with its output in a file, the output's end.

    Paths that do not exist are left out when `only_existing`: pytest would refuse the whole command for one of them.
    """
    program = shlex.join([*command.command, *_OPTIONS])
    listed = " ".join(shlex.quote(path if not path.startswith("-") else f"./{path}") for path in paths)
    keep = '[ -e "$path" ] || [ -L "$path" ] || continue; ' if only_existing else ""
    none = f"[ ${{#paths[@]}} -gt 0 ] || {{ echo 'no test file exists'; {_EMPTY}; exit 5; }}" if only_existing else ":"
    return f"""
rm -rf {_FOLDER} && mkdir -p {_FOLDER} "$HOME" || exit 70
cat > {_FOLDER}/plan.json <<'REPOEXPERT_PLAN'
{json.dumps(plan)}
REPOEXPERT_PLAN
paths=()
for path in {listed}; do {keep}paths+=("$path"); done
{none}
export PATH={ENVIRONMENT}/bin:$PATH PYTHONPATH={PROBE}${{PYTHONPATH:+:$PYTHONPATH}} REPOEXPERT_PROBE={_FOLDER}
export PYTHONHASHSEED=0 TZ=UTC LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
unset PYTEST_ADDOPTS
{program} "${{paths[@]}}" > {_FOLDER}/output.txt 2>&1 < /dev/null
code=$?
tail -c {_TAIL} {_FOLDER}/output.txt
exit $code
"""


_EMPTY = (
    f"""echo '{{"event": "end", "status": 5}}' > {_FOLDER}/stream.jsonl; echo '<testsuites/>' > {_FOLDER}/junit.xml"""
)


def _files(tests: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(test.partition("::")[0] for test in tests))


async def _read(box: Sandbox, name: str) -> bytes:
    try:
        return await box.get(f"{_FOLDER}/{name}")
    except OSError:  # not there, or made too large to be read by the code under test
        return b""


def _take_report(rounds: _Rounds, stream: Stream, report: bytes) -> None:
    """Merge the JUnit report of a session that came to its end with the stream's details."""
    try:
        cases = parse_junit(report)
    except BrokenReport as e:
        rounds.problem = f"{e}" if report else "pytest wrote no JUnit report"
        rounds.results.update(stream.results)
        return
    reported = reported_results(cases, stream.results)
    for test in reported.keys() & stream.results.keys():
        seen, told = stream.results[test], reported[test]
        if (seen.outcome in _BAD) != (told.outcome in _BAD):
            rounds.problem = f"the JUnit report says {told.outcome} of {test}, the stream says {seen.outcome}"
        rounds.results[test] = worse(seen, told)
    for test, seen in stream.results.items():
        if test not in reported and seen.phase != "collect":
            rounds.problem = f"{test} is missing in the JUnit report"
        rounds.results.setdefault(test, seen)
    for test, told in reported.items():
        if test not in stream.results:
            rounds.problem = f"{test} is in the JUnit report alone"
            rounds.results[test] = told


def reported_results(cases: Iterable[Case], known: Iterable[str]) -> dict[str, TestResult]:
    """Results by test id. A case without the probe's property is matched to a known id by pytest's own mangling."""
    by_address = {address(test): test for test in known}
    results: dict[str, TestResult] = {}
    for case in cases:
        test = case.id or by_address.get((case.classname, case.name))
        if not test or case.phase == "collect":
            continue
        kind = case.message.partition(":")[0]
        result = TestResult(
            id=test,
            outcome=case.outcome,
            seconds=case.seconds,
            error_type=kind if kind.isidentifier() and case.outcome in _BAD else "",
            message=case.message[:2000],
            phase="setup" if case.phase == "setup" else "teardown" if case.phase == "teardown" else "call",
        )
        results[test] = worse(results[test], result) if test in results else result
    return results


def address(test: str) -> tuple[str, str]:
    """`classname` and `name` that pytest's JUnit writer gives a node id."""
    path, bracket, parameters = test.partition("[")
    names = path.split("::")
    names[0] = names[0].replace("/", ".").removesuffix(".py")
    names[-1] += bracket + parameters
    return ".".join(names[:-1]), names[-1]


def coverage_part(content: bytes) -> dict[str, Any]:
    """What the probe measured; nothing when the code under test damaged the file."""
    try:
        part = json.loads(content or b"{}")
        merge_coverage([part])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return {}
    return dict(part)


def merge_coverage(parts: Iterable[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Test id to the functions it executed, from the probe's compact form."""
    merged: dict[str, tuple[str, ...]] = {}
    for part in parts:
        functions = part.get("functions", [])
        for test, indices in part.get("tests", {}).items():
            merged[test] = tuple(functions[index] for index in indices)
    return merged


def _finish(rounds: _Rounds, seconds: float) -> TestRun:
    failures = [result for result in rounds.results.values() if result.outcome in _BAD]
    code, problem = rounds.exit_code, rounds.problem
    if not problem and code in _STATUS_MEANING:
        problem = _STATUS_MEANING[code]
    # Failures of an earlier process do not show in the last one's exit code.
    elif not problem and code == 0 and rounds.processes == 1 and failures:
        problem = "pytest ended with exit code 0 although tests failed"
    elif not problem and code == 1 and not failures:
        problem = "pytest ended with exit code 1 although no test failed"
    return TestRun(
        results=dict(sorted(rounds.results.items())),
        exit_code=1 if failures and code in (0, 5) else code,
        seconds=round(seconds, 3),
        timed_out=rounds.timed_out,
        problem=problem,
        output_tail=rounds.output,
    )
