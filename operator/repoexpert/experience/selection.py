"""Which tests look at a change: by what they executed, else by imports, else by names. Pure. Called by proving.

Only tests that passed in every baseline run count. The choice is bounded in number and in time, most specific and
fastest first, and depends on the environment artifact alone, so that it is the same on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from repoexpert.experience.grounds import Ground
from repoexpert.repository.analysis import location_of_test

MOST_TESTS = 200
MOST_SECONDS = 60.0
_FEW = 60
"""Tests taken where only imports or names tell."""
_CONTROLS = 10


@dataclass(frozen=True)
class Selection:
    """Tests that should notice a change, and some that should not."""

    tests: tuple[str, ...]
    controls: tuple[str, ...]
    by: str
    """`coverage`, `imports` or `names`; empty when nothing was found."""

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(sorted({*self.tests, *self.controls}))


def select_tests(ground: Ground, files: Sequence[str], symbols: Sequence[str]) -> Selection:
    """Tests for a change of `symbols` (`path::Qualified.name`) in `files`."""
    stable = [t for t in ground.baseline.stable if ground.layout.kind(location_of_test(t)[0]) == "test"]
    seconds = ground.baseline.seconds_of
    covering = _covering(ground, stable, files, symbols)
    if covering:
        ordered = sorted(covering, key=lambda t: (len(ground.executed[t]), seconds(t), t))
        chosen, by = bounded(ordered, seconds, MOST_TESTS), "coverage"
    elif near := _near(ground, stable, files):
        chosen, by = bounded(near, seconds, _FEW), "imports"
    else:
        chosen, by = bounded(_named(stable, files), seconds, _FEW), "names"
    if not chosen:
        return Selection((), (), "")
    return Selection(tuple(chosen), tuple(_controls(stable, set(covering) | set(chosen), seconds)), by)


def bounded(tests: Iterable[str], seconds: Callable[[str], float], most: int, limit: float = MOST_SECONDS) -> list[str]:
    """The first tests that stay within the bounds; one that alone takes too long is left out."""
    chosen: list[str] = []
    left = limit
    for test in tests:
        cost = seconds(test)
        if len(chosen) < most and cost <= left:
            chosen.append(test)
            left -= cost
    return chosen


def _covering(ground: Ground, stable: Sequence[str], files: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """Tests that execute a changed function, or, for a changed class or assignment, anything below it or its file."""
    known = {function for functions in ground.executed.values() for function in functions}
    wanted: set[str] = set()
    for symbol in symbols:
        path, _, name = symbol.partition("::")
        direct = {f for f in known if f == symbol or f.startswith(f"{symbol}.")}
        owner = f"{path}::{name.rpartition('.')[0]}." if "." in name else f"{path}::"
        is_function = _is_function(ground, path, name)
        wanted |= direct if direct or is_function else {f for f in known if f.startswith(owner)}
    if not symbols:
        wanted = {f for f in known if f.partition("::")[0] in files}
    return [test for test in stable if not wanted.isdisjoint(ground.executed.get(test, ()))]


def _is_function(ground: Ground, path: str, name: str) -> bool:
    leaf = name.rpartition(".")[2]
    return f"def {leaf}(".encode() in ground.files.get(path, b"")


def _near(ground: Ground, stable: Sequence[str], files: Sequence[str]) -> list[str]:
    distances = ground.imports.distances(f for f in files if f in ground.files)
    at = {test: distances.get(location_of_test(test)[0]) for test in stable}
    reached = [(distance, test) for test, distance in at.items() if distance is not None]
    nearest = min((distance for distance, _ in reached), default=0)
    return [test for distance, test in sorted(reached) if distance == nearest]


def _named(stable: Sequence[str], files: Sequence[str]) -> list[str]:
    stems = {PurePosixPath(path).stem.strip("_") for path in files}
    stems |= {PurePosixPath(path).parent.name for path in files if path.endswith("__init__.py")}
    return sorted(t for t in stable if any(s and s in PurePosixPath(location_of_test(t)[0]).stem for s in stems))


def _controls(stable: Sequence[str], taken: set[str], seconds: Callable[[str], float]) -> list[str]:
    """Fast tests that should not notice, from as many test files as possible."""
    by_file: dict[str, list[str]] = {}
    for test in sorted(stable, key=lambda t: (seconds(t), t)):
        if test not in taken:
            by_file.setdefault(location_of_test(test)[0], []).append(test)
    chosen: list[str] = []
    while by_file and len(chosen) < _CONTROLS:
        for path in sorted(by_file):
            chosen.append(by_file[path].pop(0))
            if not by_file[path]:
                del by_file[path]
    return chosen[:_CONTROLS]
