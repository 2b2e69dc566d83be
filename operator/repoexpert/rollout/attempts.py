"""Attempt folders: `attempts/TASK/N/`, whole or absent. Work goes on in `.N.partial` beside it.

attempts/TASK/N/result.json             AttemptResult
attempts/TASK/N/trajectory.traj.json    mini-SWE-agent's format
attempts/TASK/N/patch.diff              what was submitted, when something was
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from repoexpert.rollout.records import ATTEMPTS, PATCH, RESULT, TRAJECTORY, AttemptResult


class AttemptFolders:
    """The attempts below one artifact's folder."""

    def __init__(self, out: Path) -> None:
        self.root = out / ATTEMPTS
        self.root.mkdir(parents=True, exist_ok=True)

    def read(self, task: str, number: int, key: str) -> AttemptResult | None:
        """A finished attempt with this key; one with another key is removed, since its inputs are not today's."""
        folder = self._folder(task, number)
        result = read_result(folder)
        if result is not None and result.key != key:
            shutil.rmtree(folder)
            return None
        return result

    def begin(self, task: str, number: int) -> Path:
        """An empty working folder; what an attempt that was cut short left there is gone."""
        partial = self._folder(task, number).with_name(f".{number}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def complete(self, partial: Path, result: AttemptResult) -> None:
        """Write the result and put the folder in its place in one step."""
        if result.patch:
            (partial / PATCH).write_text(result.patch, encoding="utf-8", errors="surrogateescape")
        (partial / RESULT).write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for left in partial.glob(".*"):
            left.unlink()
        partial.rename(self._folder(result.task, result.attempt))

    def abandon(self, partial: Path) -> None:
        """Forget an attempt that an infrastructure failure ended."""
        shutil.rmtree(partial, ignore_errors=True)

    def adopt(self, task: str, number: int, source: Path) -> AttemptResult | None:
        """Take over a finished attempt from another artifact by hard links (copies across file systems)."""
        result = read_result(source)
        if result is None:
            return None
        partial = self.begin(task, number)
        for path in sorted(source.iterdir()):
            try:
                os.link(path, partial / path.name)
            except OSError:
                shutil.copy2(path, partial / path.name)
        partial.rename(self._folder(task, number))
        return result

    def results(self) -> Iterator[AttemptResult]:
        """Every finished attempt, by task and number."""
        for folder in sorted(self.root.glob("*/[0-9]*"), key=lambda path: (path.parent.name, int(path.name))):
            result = read_result(folder)
            if result is not None:
                yield result

    def tidy(self, wanted: Mapping[str, str]) -> None:
        """Remove partial work and attempts at tasks, or with keys, that are not in `wanted` (task to key)."""
        for folder in sorted(self.root.glob("*/*")):
            result = read_result(folder)
            if result is None or wanted.get(result.task) != result.key:
                shutil.rmtree(folder)
        for folder in sorted(self.root.iterdir()):
            if not any(folder.iterdir()):
                folder.rmdir()

    def _folder(self, task: str, number: int) -> Path:
        return self.root / task / str(number)


def read_result(folder: Path) -> AttemptResult | None:
    """The result in an attempt's folder; None when there is none, or none of this format."""
    try:
        return AttemptResult.model_validate_json((folder / RESULT).read_bytes())
    except (OSError, ValidationError):
        return None


def reusable(folders: Iterable[Path]) -> dict[tuple[str, int], Path]:
    """(key, number) to folder of the finished attempts below earlier rollout artifacts; the first folder wins."""
    found: dict[tuple[str, int], Path] = {}
    for root in folders:
        for path in sorted(root.glob(f"{ATTEMPTS}/*/[0-9]*")):
            result = read_result(path)
            if result is not None and (path / TRAJECTORY).is_file():
                found.setdefault((result.key, result.attempt), path)
    return found
