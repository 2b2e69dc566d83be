"""What the environment artifact says: `environment.json`, `baseline.json`, `coverage.json`.

Files of an environment artifact:
    environment.json    EnvironmentRecord
    tree.tar.zst        the tree at the commit, files only, deterministic (fixed order, owner and times)
    overlay.tar.zst     untracked files that installing left in the tree (extensions, egg-info), never copies of sources
    env.tar.zst         the virtual environment at /opt/repoexpert/env
    probe.tar.zst       helper code at /opt/repoexpert/probe (pytest plugin, coverage)
    baseline.json       Baseline
    coverage.json       test id to functions executed, `{"functions": [...], "tests": {id: [index, ...]}}`
    lock.txt            what was installed, `name==version` a line
    logs/               one log per install attempt and test run
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

TestOutcome = Literal["passed", "failed", "error", "skipped", "xfailed", "timeout"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    __test__: ClassVar[bool] = False
    """pytest takes classes named Test* for test classes."""


class InstallAttempt(_Record):
    """One rung of the ladder."""

    name: str
    commands: tuple[str, ...]
    succeeded: bool
    log: str = Field(description="Path in the artifact.")


class TestCommand(_Record):
    """How the repository's tests are run inside a sandbox: `command + options + ids`, from /testbed."""

    command: tuple[str, ...] = ("python", "-m", "pytest")
    paths: tuple[str, ...] = ()
    timeout_seconds: int = 600
    test_timeout_seconds: int = 60
    environment: dict[str, str] = Field(default_factory=dict)


class EnvironmentRecord(_Record):
    """How to stand where the repository's tests pass."""

    format: Literal[1] = 1
    url: str
    commit: str
    committed: str
    python: str = Field(description="Full version of the interpreter.")
    python_prefix: str = Field(description="The interpreter's installation on this machine, mounted read-only.")
    exclude_newer: str
    attempts: tuple[InstallAttempt, ...]
    test: TestCommand
    source_roots: tuple[str, ...] = Field(description="Folders that imports start from, such as `src` or ``.")
    packages: tuple[str, ...] = Field(description="Top-level import packages or modules of the repository.")
    test_paths: tuple[str, ...] = Field(description="Folders or files that hold tests.")
    partial: bool = Field(default=False, description="The suite did not fit the budget and was run in part.")


class TestResult(_Record):
    """One test in one run."""

    id: str = Field(description="pytest node id.")
    outcome: TestOutcome
    seconds: float = 0.0
    error_type: str = Field(default="", description="Exception class name, when it failed.")
    message: str = Field(default="", description="First lines of the failure, at most 2,000 characters.")
    phase: Literal["setup", "call", "teardown", "collect"] = "call"


class TestRun(_Record):
    """One run of a test command. The truth is the JUnit XML, written outside the tree, and the exit code."""

    results: dict[str, TestResult]
    exit_code: int
    seconds: float
    timed_out: bool = False
    problem: str = Field(default="", description="Why the run itself is not to be trusted; empty when it is.")
    output_tail: str = ""


SLOW_SECONDS = 5.0


class Baseline(_Record):
    """Three runs of the suite, one of them in shuffled order."""

    stable: tuple[str, ...] = Field(description="Passed in every run.")
    flaky: dict[str, tuple[str, ...]] = Field(description="Test to its outcome in each run, where they differ.")
    failing: tuple[str, ...] = Field(description="Failed or errored in every run.")
    skipped: tuple[str, ...]
    slow: tuple[str, ...] = Field(
        default=(),
        description=f"Took more than {SLOW_SECONDS:g} s in every run. Exact times are in `logs/`: they differ from run to run, "
        "and equal suites must give equal files.",
    )

    def seconds_of(self, test: str) -> float:
        """What a test may be expected to cost, roughly."""
        return 2 * SLOW_SECONDS if test in self.slow else 0.2
