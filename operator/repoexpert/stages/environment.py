"""Stage 1: the repository at the cutoff, installed and measured. Writes the files that repository/records.py names.

What is finished is found in `.state` of the draft folder after a crash and not done again: the chosen installation and
each run of the suite.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repoexpert.errors import StageFailed
from repoexpert.repository import baseline, building
from repoexpert.repository.building import Built
from repoexpert.repository.buildsettings import read_build_settings
from repoexpert.repository.checkouts import write_git_folder
from repoexpert.repository.detection import Detected
from repoexpert.repository.installing import Workshop, find_uv
from repoexpert.repository.ladder import plan_rungs
from repoexpert.repository.mining import committed_at
from repoexpert.repository.mirror import Mirror, Mirrors
from repoexpert.repository.pytestsettings import pytest_command
from repoexpert.repository.pythons import Interpreter, choose_interpreter, find_interpreters
from repoexpert.repository.records import Baseline, EnvironmentRecord, TestCommand
from repoexpert.repository.resolving import end_of_day
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.environments import unpack_cached
from repoexpert.sandbox.protocol import Limits, StartTree
from repoexpert.stages.context import StageContext

_STATE = ".state"
_STEPS = 6
_MAX_PATHS = 20
"""A suite in more places than this is found by pytest itself, from the root."""


@dataclass(frozen=True)
class _Repository:
    """What was read of the repository, and how its tests are to be run."""

    mirror: Mirror
    blobs: Mapping[str, str]
    detected: Detected
    interpreter: Interpreter
    test: TestCommand
    exclude_newer: str


def run(context: StageContext) -> dict[str, Any]:
    """Make the environment artifact. Raises BadInput (no such Python or system package), StageFailed (cannot be
    installed, no test runs); a second run goes on where the first was stopped."""
    state = context.work / _STATE
    for folder in (state, context.work / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    _tell(context, 0, "reading the repository")
    repository = _read(context)
    built = building.load_built(state / "built.json")
    if built is None:
        _tell(context, 1, f"installing under Python {repository.interpreter}")
        built = _build(context, repository)
        building.save_built(state / "built.json", built)
    summary = asyncio.run(_measure(context, repository, built))
    shutil.rmtree(state)
    _tell(context, _STEPS, "done")
    return summary


def _tell(context: StageContext, done: int, message: str) -> None:
    context.progress.update(done=done, total=_STEPS, message=message)


def _read(context: StageContext) -> _Repository:
    spec, commit = context.expert.spec, context.resolution.cutoff_commit
    building.need_system_packages(spec.environment.system_packages)
    mirror = Mirrors(context.cache).ensure(context.resolution.url, commit)
    blobs, detected = building.read_repository(mirror, commit, context.work / "tree.tar.zst")
    interpreter, _ = choose_interpreter(
        detected.wanted, spec.environment.python, spec.repository.cutoff, find_interpreters()
    )
    wanted = spec.environment.test
    paths = tuple(wanted.paths) or (() if len(detected.test_paths) > _MAX_PATHS else detected.test_paths)
    test = TestCommand(
        command=tuple(wanted.command) or pytest_command(detected.pytest),
        paths=paths,
        timeout_seconds=wanted.timeout_seconds,
        environment=dict(detected.setup.variables or {}),
    )
    end = end_of_day(spec.repository.cutoff).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _Repository(mirror, blobs, detected, interpreter, test, end)


def _build(context: StageContext, repository: _Repository) -> Built:
    detected, spec = repository.detected, context.expert.spec.environment
    settings, uv = read_build_settings(os.environ, Path.home()), find_uv()
    builds = context.cache / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    building.sweep(builds, context.now().timestamp())
    with tempfile.TemporaryDirectory(dir=builds, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        building.make_probe(repository.interpreter, uv, settings, folder / "probe", context.work / "probe.tar.zst")
        git = folder / "git.tar" if detected.project.vcs_version else None
        if git:
            write_git_folder(repository.mirror, context.resolution.cutoff_commit, git)
        shop = Workshop(
            tree=context.work / "tree.tar.zst",
            paths=repository.blobs,
            git=git,
            interpreter=repository.interpreter,
            exclude_newer=repository.exclude_newer,
            uv=uv,
            probe=unpack_cached(context.work / "probe.tar.zst", context.cache),
            settings=settings,
            cache=_install_cache(context),
            scratch=folder,
            name=detected.project.name,
            roots=detected.source_roots,
            packages=detected.packages,
            test=repository.test,
        )
        rungs = plan_rungs(detected, spec.install)
        return asyncio.run(building.build(shop, rungs, folder, context.work, lambda what: _tell(context, 1, what)))


def _install_cache(context: StageContext) -> Path:
    """The packages that a repository's installation downloaded, kept for its next one. A build may write there what it
    likes, so no other repository's installation ever reads it."""
    return context.cache / "installs" / hashlib.sha256(context.resolution.url.encode()).hexdigest()[:16]


async def _measure(context: StageContext, repository: _Repository, built: Built) -> dict[str, Any]:
    _tell(context, 2, f"running {len(built.tests)} tests")
    work = context.work
    environment = unpack_cached(work / "env.tar.zst", context.cache)
    probe = unpack_cached(work / "probe.tar.zst", context.cache)
    scratch = context.cache / "sandboxes"
    start = StartTree(work / "tree.tar.zst", overlay=work / "overlay.tar.zst")
    prefix = repository.interpreter.prefix
    async with BubblewrapPool(environment, probe, prefix, Limits(), scratch) as pool:
        measured = await baseline.measure(
            pool,
            start,
            repository.test,
            built.tests,
            work / _STATE,
            lambda runs, message: _tell(context, 2 + runs, message),
        )
    record = _record(context, repository, built, measured.partial)
    judged = baseline.judge(measured.runs)
    _write_logs(work / "logs", measured)
    if not judged.stable:
        raise StageFailed(_no_test_passes(record.test, measured))
    _write(work / "baseline.json", judged.model_dump(mode="json"))
    _write(work / "coverage.json", baseline.coverage_document(measured.coverage))
    _write(work / "environment.json", record.model_dump(mode="json"))
    return _summary(record, built, judged, measured.runs[0].seconds)


def _record(context: StageContext, repository: _Repository, built: Built, partial: bool) -> EnvironmentRecord:
    commit, detected = context.resolution.cutoff_commit, repository.detected
    seconds = repository.mirror.git("show", "--no-patch", "--format=%ct", commit).strip()
    return EnvironmentRecord(
        url=context.resolution.url,
        commit=commit,
        committed=committed_at("", seconds).isoformat(),
        python=str(repository.interpreter),
        python_prefix=str(repository.interpreter.prefix),
        exclude_newer=repository.exclude_newer,
        attempts=built.attempts,
        test=repository.test,
        source_roots=detected.source_roots,
        packages=detected.packages,
        test_paths=detected.test_paths or tuple(sorted({test.partition("::")[0] for test in built.tests})),
        partial=partial,
    )


def _write_logs(folder: Path, measured: baseline.Measured) -> None:
    for name, tests in zip(("plain", "shuffled", "again"), measured.runs, strict=True):
        text = f"{len(tests.results)} results, exit code {tests.exit_code}, {tests.seconds} s. {tests.problem}\n\n"
        (folder / f"tests-{name}.log").write_text(text + tests.output_tail, encoding="utf-8", errors="replace")
        _write(folder / f"seconds-{name}.json", {test: round(it.seconds, 3) for test, it in tests.results.items()})


def _no_test_passes(test: TestCommand, measured: baseline.Measured) -> str:
    first = measured.runs[0]
    command = " ".join((*test.command, *test.paths))
    last = "\n".join(first.output_tail.strip().splitlines()[-20:])
    return f"no test passes three times with `{command}` ({first.problem or 'see below'}). Last lines:\n{last}"


def _write(file: Path, value: Mapping[str, Any]) -> None:
    aside = file.with_name(f".{file.name}.part")
    aside.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n", encoding="utf-8")
    aside.replace(file)


def _summary(record: EnvironmentRecord, built: Built, judged: Baseline, seconds: float) -> dict[str, Any]:
    return {
        "commit": record.commit,
        "committed": record.committed,
        "python": record.python,
        "install": built.rung,
        "tests": len(built.tests),
        "stable": len(judged.stable),
        "failing": len(judged.failing),
        "flaky": len(judged.flaky),
        "skipped": len(judged.skipped),
        "unreadableFiles": len(built.broken),
        "seconds": seconds,
        "partial": record.partial,
    }
