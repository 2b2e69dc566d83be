"""What tox and nox files install for the tests and set in their environment. Pure; nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from repoexpert.repository.metadata import lines, load_ini, load_toml, table

_FACTOR = re.compile(r"^[\w!{},.-]+:\s+(.*)$")
_NOT_PASSED = re.compile(r"COV|TOX|^PYTHONPATH$|^PATH$|^HOME$|^PIP_|^UV_|^PYTEST_ADDOPTS$|^FORCE_COLOR$")


@dataclass(frozen=True)
class TestSetup:
    """Requirements, requirement files and extras for the tests, and variables they expect."""

    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    variables: Mapping[str, str] | None = None
    pythons: tuple[tuple[int, int], ...] = ()


def read_test_setup(files: Mapping[str, str]) -> TestSetup:
    """From tox.ini, the [tool.tox] table, or noxfile.py; the first that says anything."""
    if "tox.ini" in files:
        return _from_tox(files["tox.ini"])
    document = load_toml(files.get("pyproject.toml", ""))
    legacy = table(document, "tool", "tox").get("legacy_tox_ini")
    if isinstance(legacy, str):
        return _from_tox(legacy)
    if "noxfile.py" in files:
        return _from_nox(files["noxfile.py"])
    return TestSetup()


def _from_tox(text: str) -> TestSetup:
    ini = load_ini(text)
    section = "testenv"
    deps = lines(ini.get(section, "deps", fallback=""))
    found = _sort_arguments(_without_factor(line) for line in deps)
    extras = re.split(
        r"[\s,]+", " ".join(_without_factor(line) for line in lines(ini.get(section, "extras", fallback="")))
    )
    groups = re.split(r"[\s,]+", " ".join(lines(ini.get(section, "dependency_groups", fallback=""))))
    option = "set_env" if ini.has_option(section, "set_env") else "setenv"
    variables = {}
    for line in lines(ini.get(section, option, fallback="")):
        name, equals, value = (part.strip() for part in line.partition("="))
        if equals and re.fullmatch(r"\w+", name) and "{" not in value and not _NOT_PASSED.search(name):
            variables[name] = value
    listed = " ".join(lines(ini.get("tox", "envlist", fallback="") or ini.get("tox", "env_list", fallback="")))
    return TestSetup(
        requirements=found.requirements,
        files=found.files,
        extras=tuple(extra for extra in extras if extra) or found.extras,
        groups=tuple(group for group in groups if group),
        variables=variables,
        pythons=python_factors(listed),
    )


def python_factors(envlist: str) -> tuple[tuple[int, int], ...]:
    """Python versions of a tox envlist: `py{38,39}-x, py310, py3.11`."""
    expanded = re.sub(
        r"py(\d?)\{([^}]*)\}", lambda m: ",".join(f"py{m[1]}{v.strip()}" for v in m[2].split(",")), envlist
    )
    found = re.findall(r"\bpy3\.?(\d{1,2})\b", expanded)
    return tuple(sorted({(3, int(minor)) for minor in found}))


def _without_factor(line: str) -> str:
    match = _FACTOR.match(line)
    return match[1].strip() if match and "://" not in line else line


def _sort_arguments(arguments: Iterable[str]) -> TestSetup:
    requirements: list[str] = []
    files: list[str] = []
    extras: list[str] = []
    for argument in arguments:
        text = argument.replace("{toxinidir}/", "").replace("{tox_root}/", "")
        if match := re.match(r"(?:-r|--requirement)[ =]?\s*(\S+)$", text):
            if "{" not in match[1]:
                files.append(match[1])
        elif match := re.fullmatch(r"(?:-e\s*)?\.(?:\[([^\]]+)\])?", text):
            extras += re.split(r"\s*,\s*", match[1]) if match[1] else []
        elif re.match(r"[A-Za-z0-9]", text) and "{" not in text and "/" not in text.split(";")[0]:
            requirements.append(text)
    return TestSetup(requirements=tuple(requirements), files=tuple(files), extras=tuple(extras))


def _from_nox(text: str) -> TestSetup:
    """Literal arguments of `session.install` in the functions whose name speaks of tests."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return TestSetup()
    arguments: list[str] = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or not re.search("test|unit", function.name):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "install":
                literal = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                arguments += _join_options(literal)
    return _sort_arguments(dict.fromkeys(arguments))


def _join_options(arguments: list[str]) -> list[str]:
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("-r", "--requirement", "-e"):
            joined[-1] += f" {argument}"
        elif argument in ("-r", "--requirement", "-e") or not argument.startswith("-"):
            joined.append(argument)
    return joined
