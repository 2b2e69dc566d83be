"""The repository's pytest settings, and the command line that runs its tests plainly. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repoexpert.repository.metadata import lines, load_ini, load_toml, table, texts

# Options that measure, parallelise, reorder, repeat, stop early or lint: with values that may follow as a word of their own.
_DROPPED = re.compile(
    r"--(?:no-)?cov(?:erage)?(?:-|=|$)|--numprocesses|--dist(?:=|$)|--maxprocesses|--max-worker-restart|--tx(?:=|$)"
    r"|--reruns|--only-rerun|--random-order|--randomly|--exitfirst|--maxfail|--lf$|--last-failed|--ff$|--failed-first"
    r"|--nf$|--new-first|--sw$|--stepwise|--junit|--junitxml|--html|--self-contained-html|--pdb|--looponfail|--durations"
    r"|--flake8|--pep8|--black|--isort|--mypy|--ruff|--pylint|--pycodestyle|--pydocstyle|--docstyle|--codespell|--tb(?:=|$)"
    r"|--instafail|--tap|--testmon|--picked|--split|--cache|--color|--rootdir|--basetemp|--report-log|--nunit|--forked|--count"
)
_DROPPED_SHORT = re.compile(r"-n\S+|-[fxd]")
_PLUGINS = re.compile(r"cov|xdist|randomly|random_order|rerun")
_TAKES_VALUE = re.compile(
    r"--(?:numprocesses|dist|maxprocesses|tx|reruns|reruns-delay|only-rerun|maxfail|junit-?xml|junit-prefix|html|durations"
    r"|durations-min|cov-report|cov-config|cov-fail-under|cov-context|random-order-seed|randomly-seed|tb|color|rootdir"
    r"|basetemp|count|report-log|max-worker-restart)$"
)


@dataclass(frozen=True)
class PytestSettings:
    """What the configuration file that pytest would take says."""

    file: str = ""
    addopts: tuple[str, ...] = ()
    testpaths: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()


def read_pytest_settings(files: Mapping[str, str]) -> PytestSettings:
    """By pytest's own order: pytest.toml, pytest.ini (even empty), pyproject.toml, tox.ini, setup.cfg."""
    for name in ("pytest.ini", ".pytest.ini"):
        if name in files:
            return _from_ini(name, files[name], "pytest")
    tool = table(load_toml(files.get("pyproject.toml", "")), "tool", "pytest")
    settings = table(tool, "ini_options") or {key: value for key, value in tool.items() if key != "ini_options"}
    if settings:
        return PytestSettings(
            "pyproject.toml",
            _words(settings.get("addopts")),
            _words(settings.get("testpaths")),
            _words(settings.get("pythonpath")),
        )
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if name in files and load_ini(files[name]).has_section(section):
            return _from_ini(name, files[name], section)
    return PytestSettings()


def _from_ini(name: str, text: str, section: str) -> PytestSettings:
    ini = load_ini(text)

    def words(option: str) -> tuple[str, ...]:
        return _words(" ".join(lines(ini.get(section, option, fallback=""))))

    return PytestSettings(name, words("addopts"), words("testpaths"), words("pythonpath"))


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str):
        return texts(value)
    try:
        return tuple(shlex.split(value))
    except ValueError:
        return tuple(value.split())


def plain_addopts(addopts: tuple[str, ...]) -> tuple[str, ...]:
    """The repository's own options without those that measure coverage, run in parallel, reorder, repeat or stop early."""
    kept: list[str] = []
    words = iter(addopts)
    for word in words:
        if word == "-p":
            plugin = next(words, "")
            kept += [] if _PLUGINS.search(plugin) else [word, plugin]
        elif word == "-n":
            next(words, "")
        elif _DROPPED.match(word) or _DROPPED_SHORT.fullmatch(word) or (word[:2] == "-p" and _PLUGINS.search(word)):
            if _TAKES_VALUE.match(word):
                next(words, "")
        elif re.fullmatch(r"-[qvslx]*x[qvslx]*", word):
            kept += [short for short in [word.replace("x", "")] if short != "-"]
        else:
            kept.append(word)
    return tuple(kept)


def pytest_command(settings: PytestSettings) -> tuple[str, ...]:
    """`python -m pytest`, with the repository's addopts replaced when they would measure, reorder or stop the run."""
    command = ("python", "-m", "pytest")
    kept = plain_addopts(settings.addopts)
    return command if kept == settings.addopts else (*command, "-o", f"addopts={shlex.join(kept)}")
