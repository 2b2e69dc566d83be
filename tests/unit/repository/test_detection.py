"""What a repository's files say about Python, packages, tests and how to install them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from repoexpert.errors import BadInput
from repoexpert.repository.detection import detect, find_test_paths
from repoexpert.repository.ladder import plan_rungs
from repoexpert.repository.metadata import poetry_specifier
from repoexpert.repository.pytestsettings import plain_addopts
from repoexpert.repository.pythons import Interpreter, Wanted, choose_interpreter
from repoexpert.repository.toxfiles import python_factors

FIRST_COMMAND = {
    "test extras of pyproject": (
        {"pyproject.toml": '[project]\nname="p"\n[project.optional-dependencies]\ntests=["x"]\ndocs=["y"]'},
        "uv pip install -e '.[tests]' pytest",
    ),
    "a dependency group": (
        {"pyproject.toml": '[project]\nname="p"\n[dependency-groups]\ntests=["x"]\ndocs=["y"]'},
        "uv pip install -e . --group tests pytest",
    ),
    "tox dependencies from a requirements file": (
        {
            "setup.py": "from setuptools import setup\nsetup(name='p')",
            "tox.ini": "[testenv]\ndeps = -r requirements/tests.txt",
        },
        "uv pip install -e . -r requirements/tests.txt pytest",
    ),
    "extras of a computed setup.py": (
        {"setup.py": "E = {'test': ['x']}\nsetup(name='p', extras_require=E, version=read())"},
        "uv pip install -e '.[test]' pytest",
    ),
    "poetry's development group": (
        {"pyproject.toml": '[tool.poetry]\nname="p"\n[tool.poetry.group.dev.dependencies]\nfoo="^1.2"'},
        "uv pip install -e . 'foo>=1.2,<2' pytest",
    ),
    "a nox session": (
        {
            "pyproject.toml": '[project]\nname="p"',
            "noxfile.py": "def tests(session):\n    session.install('-e', '.', 'x>1')",
        },
        "uv pip install -e . 'x>1' pytest",
    ),
    "broken files": ({"pyproject.toml": "[[[", "setup.cfg": "x", "tox.ini": "]"}, "uv pip install pytest"),
}


@pytest.mark.parametrize("case", FIRST_COMMAND)
def test_the_first_rung_installs(case: str) -> None:
    texts, expected = FIRST_COMMAND[case]
    detected = detect(texts, [*texts, "requirements/tests.txt"] if "requirements" in str(texts) else list(texts))
    assert plan_rungs(detected, ())[0].commands == (expected,)


def test_declared_commands_are_the_only_rung() -> None:
    rungs = plan_rungs(detect({"pyproject.toml": '[project]\nname="p"'}, []), ["make install"])
    assert [rung.commands for rung in rungs] == [("make install", "uv pip install pytest")]


ADDOPTS = {
    "coverage and parallel runs go": ("--cov=x --cov-report term -n auto --dist loadfile -ra", "-ra"),
    "stopping early goes, also among short options": ("-xvs --maxfail 1 --strict-markers", "-vs --strict-markers"),
    "a selection stays": (
        "-m 'not slow' --doctest-modules --ignore=docs",
        "-m not slow --doctest-modules --ignore=docs",
    ),
    "plugins that reorder go, others stay": ("-p randomly -p myplugin -n4", "-p myplugin"),
}


@pytest.mark.parametrize("case", ADDOPTS)
def test_addopts(case: str) -> None:
    import shlex

    given, expected = ADDOPTS[case]
    assert " ".join(plain_addopts(tuple(shlex.split(given)))) == expected


def python(version: str) -> Interpreter:
    major, minor, patch = map(int, version.split("."))
    return Interpreter((major, minor, patch), Path(f"/p/{version}/bin/python"), Path(f"/p/{version}"))


FOUND = [python("3.8.18"), python("3.11.7"), python("3.12.1")]
CHOICES = {
    "the newest supported that was current": (Wanted(supported=((3, 11), (3, 12))), None, date(2023, 6, 30), "3.11.7"),
    "what requires-python allows": (Wanted(requires="<3.10"), None, date(2024, 6, 30), "3.8.18"),
    "what the resource pins": (Wanted(requires=">=3.8"), "3.12", date(2020, 1, 1), "3.12.1"),
    "what .python-version names": (Wanted(named="3.8.2"), None, date(2024, 6, 30), "3.8.18"),
    "without a word the one current at the cutoff": (Wanted(), None, date(2023, 6, 30), "3.11.7"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_interpreter_is(case: str) -> None:
    wanted, pinned, cutoff, expected = CHOICES[case]
    assert str(choose_interpreter(wanted, pinned, cutoff, FOUND)[0]) == expected


def test_a_missing_python_is_said_with_what_is_here_and_what_helps() -> None:
    with pytest.raises(
        BadInput, match=r"needs Python >=3.13 .*has Python 3.8.18, 3.11.7, 3.12.1.*uv python install 3.13"
    ):
        choose_interpreter(Wanted(requires=">=3.13"), None, date(2025, 6, 30), FOUND)


def test_tests_inside_packages_and_beside_them_are_found() -> None:
    paths = ["a/b/tests/test_x.py", "tests/unit/test_y.py", "test_z.py", "a/c.py"]
    assert find_test_paths(paths, ()) == ("a/b/tests", "test_z.py", "tests")


def test_poetry_and_tox_shorthand() -> None:
    assert (poetry_specifier("^3.8"), poetry_specifier("~3.8"), poetry_specifier("*")) == (
        ">=3.8,<4",
        ">=3.8,==3.8.*",
        "",
    )
    assert python_factors("py{38,39}-x, py310, lint, py3.11") == ((3, 8), (3, 9), (3, 10), (3, 11))
