"""Which Python interpreters this machine has, and which of them a repository wants."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from repoexpert.errors import BadInput

_RELEASED = {
    (3, 7): date(2018, 6, 27),
    (3, 8): date(2019, 10, 14),
    (3, 9): date(2020, 10, 5),
    (3, 10): date(2021, 10, 4),
    (3, 11): date(2022, 10, 24),
    (3, 12): date(2023, 10, 2),
    (3, 13): date(2024, 10, 7),
    (3, 14): date(2025, 10, 7),
}
_OLDEST = (3, 8)
"""The probe and today's coverage need it."""
_ASK = (
    "import sys; print(sys.implementation.name, '.'.join(map(str, sys.version_info[:3])), sys.base_prefix, sep='\\n')"
)


@dataclass(frozen=True)
class Interpreter:
    """A CPython on this machine; `prefix` is its installation."""

    version: tuple[int, int, int]
    executable: Path
    prefix: Path

    @property
    def minor(self) -> tuple[int, int]:
        return self.version[:2]

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Wanted:
    """What a repository says about Python."""

    requires: str = ""
    """`requires-python`."""
    supported: tuple[tuple[int, int], ...] = ()
    """Minor versions of its classifiers, else of its tox environments."""
    named: str = ""
    """First line of `.python-version`."""


def find_interpreters() -> tuple[Interpreter, ...]:
    """Every CPython of the search path, pyenv, uv and this process; one a minor version, the newest patch, own prefix first."""
    places = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    places += [Path("/usr/local/bin"), Path("/usr/bin")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    files = [Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"]
    files += [*pyenv.glob("versions/*/bin/python3.*"), *uv.glob("cpython-*/bin/python3.*")]
    files += [file for place in places for file in place.glob("python3.*")]
    found: dict[tuple[int, int], Interpreter] = {}
    seen: set[Path] = set()
    for file in files:
        real = file.resolve()
        if not re.fullmatch(r"python3\.\d+", file.name) or real in seen:
            continue
        seen.add(real)
        interpreter = _inspect(file)
        if interpreter is None:
            continue
        rival = found.get(interpreter.minor)
        if rival is None or (_rank(interpreter) > _rank(rival)):
            found[interpreter.minor] = interpreter
    return tuple(found[minor] for minor in sorted(found))


def _rank(interpreter: Interpreter) -> tuple[bool, tuple[int, int, int]]:
    # A distribution's own interpreter shares its prefix with the whole system.
    return (not interpreter.prefix.is_relative_to("/usr"), interpreter.version)


def _inspect(file: Path) -> Interpreter | None:
    try:
        done = subprocess.run(
            [file, "-I", "-c", _ASK], capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != 3 or lines[0] != "cpython":
        return None
    major, minor, patch = map(int, lines[1].split("."))
    prefix = Path(lines[2])
    executable = prefix / "bin" / f"python{major}.{minor}"
    return Interpreter((major, minor, patch), executable, prefix) if executable.exists() else None


def choose_interpreter(
    wanted: Wanted, pinned: str | None, cutoff: date, found: Sequence[Interpreter]
) -> tuple[Interpreter, str]:
    """The interpreter to use and why. Raises BadInput that says what is wanted, what is here and what would help.

    A version pinned in the resource is used as it is. Otherwise: allowed by requires-python; of those the newest that the
    repository says it supports, else the one nearest to what was current at the cutoff.
    """
    usable = [interpreter for interpreter in found if interpreter.minor >= _OLDEST]
    if pinned:
        matching = [it for it in usable if str(it) == pinned or str(it).startswith(f"{pinned}.")]
        if not matching:
            raise BadInput(_missing(f"spec.environment.python {pinned}", pinned, found))
        return matching[-1], f"environment.python is {pinned}"
    allowed = [it for it in usable if _allows(wanted.requires, it)]
    if not allowed:
        best = _best_guess(wanted, cutoff)
        raise BadInput(_missing(f"Python {wanted.requires} (requires-python)", best, found))
    if named := [it for it in allowed if re.fullmatch(rf"{re.escape(_minor(wanted.named))}", _minor(str(it)))]:
        return named[-1], f".python-version says {wanted.named}"
    if supported := [it for it in allowed if it.minor in wanted.supported]:
        # Packages of that day seldom had wheels for a Python that was new or yet to come.
        current = [it for it in supported if it.minor <= _current(cutoff)]
        return (current or supported[:1])[-1], "supported by the repository's own word and current at the cutoff"
    goal = max(wanted.supported, default=_current(cutoff))
    nearest = min(allowed, key=lambda it: (abs(it.minor[1] - goal[1]), -it.minor[1]))
    return nearest, f"the nearest here to {goal[0]}.{goal[1]}, " + (
        "the newest that the repository says it supports" if wanted.supported else "current at the cutoff"
    )


def _minor(version: str) -> str:
    match = re.match(r"(?:cpython-|python-?)?(\d+\.\d+)", version.strip())
    return match[1] if match else "none"


def _allows(requires: str, interpreter: Interpreter) -> bool:
    try:
        return SpecifierSet(requires).contains(str(interpreter), prereleases=True)
    except InvalidSpecifier:
        return True


def _current(day: date) -> tuple[int, int]:
    """The newest minor version that was half a year old on `day`: libraries follow with a delay."""
    old_enough = [minor for minor, released in _RELEASED.items() if (day - released).days > 180]
    return max(old_enough, default=_OLDEST)


def _best_guess(wanted: Wanted, cutoff: date) -> str:
    minors = [minor for minor in sorted(_RELEASED) if minor >= _OLDEST]
    fits = [m for m in minors if _allows(wanted.requires, Interpreter((*m, 99), Path(), Path()))]
    goal = max(
        [m for m in fits if m in wanted.supported] or [m for m in fits if m <= _current(cutoff)] or fits or minors
    )
    return f"{goal[0]}.{goal[1]}"


def _missing(want: str, version: str, found: Sequence[Interpreter]) -> str:
    here = ", ".join(map(str, found)) or "none"
    return (
        f"the repository needs {want}; this machine has Python {here}. Install it (for example `uv python install "
        f"{version}` or `pyenv install {version}`) or set spec.environment.python to one that is here"
    )
