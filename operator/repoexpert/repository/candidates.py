"""Which changes of a history can be undone in a tree, and how: the list that tasks are made from.

Two steps: every change is listed with the tier in which it reverses as a whole (two processes, hundreds of changes a
second), then the parts of single changes are worked out as they are wanted. Called by task making and the benchmark.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from repoexpert.errors import InfrastructureError
from repoexpert.repository.credentials import without_secrets
from repoexpert.repository.diffs import FileDiff, make_patch, parse_diff
from repoexpert.repository.mining import Change, Layout, Limits, list_changes, stream_diffs, worth_undoing
from repoexpert.repository.objects import Blobs, list_tree
from repoexpert.repository.reversal import TIERS, Part, Tier, parts_of, undo_file, whole_tier
from repoexpert.repository.symbol_undo import Today

_LARGEST = 4 << 20
"""Bytes; a larger Python file is data, and merging it would take minutes."""
_SMALL = 300
"""Histories shorter than this are not worth a second process."""


@dataclass(frozen=True)
class Listed:
    """A change and the tier it reverses in as a whole; None: at most some of its symbols do."""

    change: Change
    tier: Tier | None


@dataclass(frozen=True)
class Candidate:
    """A part of a change undone in the tree: what a task would start from."""

    change: Change
    part: Part
    patch: str
    """Unified diff from the tree to the start tree."""

    @property
    def rank(self) -> tuple[bool, int]:
        """Order of preference: edits before removals of whole functions, strict tiers before lenient ones."""
        return self.part.removes, TIERS.index(self.part.tier)


def list_candidates(
    git_dir: Path,
    commit: str,
    *,
    after: str | None = None,
    layout: Layout = Layout(),
    limits: Limits = Limits(),
    jobs: int = 2,
) -> list[Listed]:
    """Changes up to `commit` worth undoing in its tree, newest first, with the tier of the whole change."""
    tree = list_tree(git_dir, commit)
    changes = list(worth_undoing(list_changes(git_dir, commit, after=after, layout=layout), tree, limits))
    if jobs < 2 or len(changes) < _SMALL:
        return _tiers(git_dir, tree, changes, limits)
    # Two shards a process keep all of them busy to the end.
    size = len(changes) // (jobs * 2) + 1
    shards = [changes[at : at + size] for at in range(0, len(changes), size)]
    with ThreadPoolExecutor(jobs) as threads:
        found = threads.map(lambda shard: _in_process(git_dir, tree, shard, limits), shards)
        return [listed for shard in found for listed in shard]


def _in_process(git_dir: Path, tree: Mapping[str, str], changes: Sequence[Change], limits: Limits) -> list[Listed]:
    """`_tiers` in a process of its own: not by multiprocessing, whose resource tracker would outlive the call."""
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import worker; worker()"],
        input=pickle.dumps((git_dir, dict(tree), list(changes), limits)),
        capture_output=True,
        check=False,
        env={**without_secrets(os.environ), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    if done.returncode:
        raise InfrastructureError(f"reading the history failed: {done.stderr.decode(errors='replace')[-500:]}")
    listed: list[Listed] = pickle.loads(done.stdout)  # noqa: S301 - written by our own child
    return listed


def worker() -> None:
    """Body of a child of `list_candidates`: a pickled shard on standard input, its listing on standard output."""
    git_dir, tree, changes, limits = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    sys.stdout.buffer.write(pickle.dumps(_tiers(git_dir, tree, changes, limits)))


def _tiers(git_dir: Path, tree: Mapping[str, str], changes: Sequence[Change], limits: Limits) -> list[Listed]:
    with Undoing(git_dir, tree) as undoing:
        return [Listed(change, tier) for change, tier in undoing.tiers(changes, limits)]


class Undoing:
    """Undoes changes of one history in one tree; holds the Git process that reads their files."""

    def __init__(self, git_dir: Path, tree: Mapping[str, str], layout: Layout = Layout()) -> None:
        self._git_dir, self._tree = git_dir, tree
        self._blobs = Blobs(git_dir, most=_LARGEST)
        self._contents: dict[str, bytes | None] = {}
        sources = sorted(path for path in tree if layout.kind(path) == "source")
        self.today = Today(sources, self._today)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blobs.close()

    def _today(self, path: str) -> bytes | None:
        if path not in self._contents:
            blob = self._tree.get(path)
            self._contents[path] = self._blobs.read(blob) if blob else None
        return self._contents[path]

    def tiers(self, changes: Sequence[Change], limits: Limits) -> Iterator[tuple[Change, Tier | None]]:
        """Each change within the limit of lines and its tier as a whole."""
        for change, text in stream_diffs(self._git_dir, changes):
            diffs = _by_path(text)
            if sum(hunk.changed for diff in diffs.values() for hunk in diff.hunks) > limits.lines:
                continue
            undone = [
                undo_file(file, diffs[file.path].hunks if file.path in diffs else (), self._today(file.today),
                          self._tree.get(file.today), self._blobs.read)
                for file in change.sources
            ]  # fmt: skip
            yield change, whole_tier(undone)

    def candidates(self, change: Change) -> list[Candidate]:
        """The parts of a change that can be undone, as patches on the tree, the best first."""
        text = b"".join(text for _, text in stream_diffs(self._git_dir, [change]))
        parts = parts_of(change, _by_path(text), self.today, self._tree, self._blobs.read)
        found = [
            Candidate(change, part, make_patch({path: (self._today(path), new) for path, new in part.files.items()}))
            for part in parts
        ]
        return sorted(found, key=lambda candidate: candidate.rank)


def _by_path(text: bytes) -> dict[str, FileDiff]:
    return {diff.path or diff.old_path or "": diff for diff in parse_diff(text)}
