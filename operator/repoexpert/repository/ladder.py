"""The ways to install a repository, best first. Pure; installing.py tries them in order."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from repoexpert.repository.detection import Detected

_INSTALL = "uv pip install"


@dataclass(frozen=True)
class Rung:
    """One attempt: bash commands run in order in /testbed; the first that fails ends it."""

    name: str
    commands: tuple[str, ...]
    path_file: bool = False
    """The project itself is not installed: a `.pth` file names its source roots."""


def plan_rungs(detected: Detected, declared: Sequence[str]) -> tuple[Rung, ...]:
    """The ladder. Commands declared in the resource are the only rung: a person said how."""
    if declared:
        return (Rung("declared", (*declared, f"{_INSTALL} pytest")),)
    tests = _test_arguments(detected)
    runner = [] if detected.project.name.lower() == "pytest" else ["pytest"]
    rungs: list[Rung] = []
    if detected.project.installable:
        editable = _command(["-e", _with_extras(detected.extras)], *tests, runner)
        plain = _command(["-e", "."], runner)
        parts = tuple(f"{_command(part)} || echo 'repoexpert: left out'" for part in tests)
        rungs += [
            Rung("editable with everything for tests", (editable,)),
            Rung("editable, then each part for tests", (_with_extras_or_without(detected, runner), *parts)),
            Rung("editable", (plain,)),
        ]
    needs = list(detected.project.dependencies)
    together = _command(needs, *tests, ["pytest"])
    alone = tuple(f"{_command(part)} || echo 'repoexpert: left out'" for part in ([[need] for need in needs] + tests))
    rungs += [
        Rung("dependencies alone", (together,), path_file=True),
        Rung("what can be had of the dependencies", (_command(["pytest"]), *alone), path_file=True),
    ]
    unique = {rung.commands: rung for rung in reversed(rungs)}
    return tuple(sorted(unique.values(), key=rungs.index))


def _with_extras_or_without(detected: Detected, runner: list[str]) -> str:
    plain = _command(["-e", "."], runner)
    return f"{_command(['-e', _with_extras(detected.extras)], runner)} || {plain}" if detected.extras else plain


def _test_arguments(detected: Detected) -> list[list[str]]:
    """Argument lists, each of which can also be installed alone."""
    parts = [["--group", group] for group in detected.groups]
    parts += [["-r", file] for file in detected.requirement_files]
    requirements = dict.fromkeys((*detected.project.test_requirements, *detected.setup.requirements))
    parts += [[requirement] for requirement in requirements]
    if not detected.project.installable and not detected.requirement_files:
        parts += [["-r", file] for file in detected.root_requirements]
    return parts


def _with_extras(extras: Sequence[str]) -> str:
    return f".[{','.join(extras)}]" if extras else "."


def _command(*parts: Sequence[str]) -> str:
    return f"{_INSTALL} {shlex.join([word for part in parts for word in part])}"
