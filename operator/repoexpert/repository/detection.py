"""What can be known about a repository's Python, packages and tests from its files alone. Pure.

Called by the environment stage with the paths of the tree and the texts of the few files that say something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repoexpert.repository.metadata import Project, read_project
from repoexpert.repository.pytestsettings import PytestSettings, read_pytest_settings
from repoexpert.repository.pythons import Wanted
from repoexpert.repository.toxfiles import TestSetup, read_test_setup

_ROOT_FILES = (
    *("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "noxfile.py", "pytest.ini", ".pytest.ini"),
    *(".python-version", "runtime.txt"),
)
_TEST_NAMES = ("test", "tests", "testing", "unittest", "unittests", "pytest", "test-all", "all-tests")
_DEVELOPMENT_NAMES = ("dev", "develop", "development", "devel", "ci")
_REQUIREMENTS = re.compile(
    r"(?:requirements?[-_/.])?(?:(?P<test>tests?|testing|pytest)|(?P<dev>dev|develop|development|ci))"
    r"(?:[-_.]?requirements?)?\.(?:txt|in)",
    re.IGNORECASE,
)
_TEST_FILE = re.compile(r"(?:^|/)(?:test_[^/]*|[^/]*_test|tests?)\.py$")
_TEST_FOLDER = re.compile(r"(?:^|/)(?:tests?|testing|unit_?tests?)/")
_NO_PACKAGE = {
    *(
        "tests",
        "test",
        "testing",
        "docs",
        "doc",
        "examples",
        "example",
        "benchmarks",
        "benchmark",
        "scripts",
        "tools",
        "bin",
    ),
    *(
        "build",
        "dist",
        "node_modules",
        "venv",
        "artwork",
        "requirements",
        "ci",
        "etc",
        "extras",
        "data",
        "samples",
        "utils",
    ),
}
_NO_MODULE = {
    "setup",
    "conftest",
    "noxfile",
    "tasks",
    "fabfile",
    "manage",
    "toxfile",
    "dodo",
    "versioneer",
    "conf",
    "wscript",
}


@dataclass(frozen=True)
class Detected:
    """Facts and guesses, none of them tried yet."""

    project: Project
    setup: TestSetup
    pytest: PytestSettings
    wanted: Wanted
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    requirement_files: tuple[str, ...]
    root_requirements: tuple[str, ...]
    source_roots: tuple[str, ...]
    packages: tuple[str, ...]
    test_paths: tuple[str, ...]


def wanted_files(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths whose texts `detect` reads."""
    return tuple(path for path in paths if path in _ROOT_FILES)


def detect(texts: Mapping[str, str], paths: Sequence[str]) -> Detected:
    """Everything from the tree's `paths` and the `texts` of its `wanted_files`."""
    project, setup, settings = read_project(texts), read_test_setup(texts), read_pytest_settings(texts)
    roots = find_source_roots(paths, project.package_roots)
    packages = find_packages(paths, roots)
    declared = set(setup.files) & set(paths)
    return Detected(
        project=project,
        setup=setup,
        pytest=settings,
        wanted=Wanted(
            requires=project.requires_python,
            supported=_classified(project.classifiers) or setup.pythons,
            named=next(iter(texts.get(".python-version", "").split()), ""),
        ),
        extras=tuple(extra for extra in setup.extras if extra in project.extras) or pick(tuple(project.extras)),
        groups=tuple(group for group in setup.groups if group in project.groups) or pick(project.groups),
        requirement_files=tuple(sorted(declared)) or find_requirements(paths),
        root_requirements=tuple(path for path in ("requirements.txt",) if path in paths),
        source_roots=roots,
        packages=packages,
        test_paths=find_test_paths(paths, settings.testpaths),
    )


def pick(names: Sequence[str]) -> tuple[str, ...]:
    """Of extras or groups those that hold what the tests need; those for development when none is for tests."""
    plain = {name: re.sub(r"[-_.]+", "-", name.lower()) for name in names}
    tests = tuple(name for name in names if plain[name] in _TEST_NAMES)
    return tests or tuple(name for name in names if plain[name] in _DEVELOPMENT_NAMES)


def _classified(classifiers: Iterable[str]) -> tuple[tuple[int, int], ...]:
    found = (re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line.strip()) for line in classifiers)
    return tuple(sorted((3, int(match[1])) for match in found if match))


def find_requirements(paths: Sequence[str]) -> tuple[str, ...]:
    """The requirement file for tests, else for development; `.txt` before `.in`, shallow before deep."""
    matches = [(path, match) for path in paths if path.count("/") <= 1 and (match := _REQUIREMENTS.fullmatch(path))]
    for kind in ("test", "dev"):
        found = sorted((path.endswith(".in"), path.count("/"), path) for path, match in matches if match[kind])
        if found:
            return (found[0][2],)
    return ()


def find_source_roots(paths: Sequence[str], declared: Sequence[str]) -> tuple[str, ...]:
    """Folders that imports start from: declared ones that hold Python, else `src` when it holds packages, else the root."""
    clean = [root.strip("/").removeprefix("./") for root in declared]
    known = [root if root != "." else "" for root in clean]
    holding = tuple(dict.fromkeys(root for root in known if not root or any(p.startswith(f"{root}/") for p in paths)))
    if holding:
        return holding
    for root in ("src", "lib", "python"):
        if any(re.fullmatch(rf"{root}/[^/]+(?:/__init__)?\.py", path) for path in paths):
            return (root,)
    return ("",)


def find_packages(paths: Sequence[str], roots: Sequence[str]) -> tuple[str, ...]:
    """Top-level import names below the source roots, tests and tools of the project left out."""
    found: set[str] = set()
    for root in roots:
        prefix = f"{root}/" if root else ""
        for path in paths:
            if not path.startswith(prefix) or not path.endswith(".py"):
                continue
            parts = path[len(prefix) :].split("/")
            if len(parts) == 1 and not _TEST_FILE.search(path) and parts[0][:-3].isidentifier():
                found |= {parts[0][:-3]} - _NO_MODULE
            elif len(parts) > 1 and parts[0].isidentifier() and f"{prefix}{parts[0]}/__init__.py" in paths:
                found |= {parts[0]} - (_NO_PACKAGE if not root else set())
    return tuple(sorted(found))


def find_test_paths(paths: Sequence[str], testpaths: Sequence[str]) -> tuple[str, ...]:
    """Folders or files that hold tests: pytest's own setting, else the outermost folders of test files."""
    present = set(paths)
    configured = [re.sub(r"/+$", "", path.removeprefix("./")) for path in testpaths]
    existing = [path for path in configured if path in present or any(p.startswith(f"{path}/") for p in paths)]
    if existing:
        return tuple(dict.fromkeys(existing))
    found: set[str] = set()
    for path in paths:
        if not _TEST_FILE.search(path):
            continue
        match = _TEST_FOLDER.search(path)
        found.add(path[: match.end() - 1] if match else path)
    outermost = [path for path in found if not any(path.startswith(f"{other}/") for other in found)]
    return tuple(sorted(outermost))
