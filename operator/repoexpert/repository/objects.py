"""Streams out of a Git repository: many objects through one process instead of one process an object.

Called by mining and reversal, which read thousands of file versions. Starts Git with the settings of git.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from repoexpert.errors import InfrastructureError
from repoexpert.repository.git import environment, run_git


def open_git(
    git_dir: Path, arguments: Sequence[str], stdin: int | IO[bytes] = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """`git ARGUMENTS` on `git_dir` with its output as a pipe."""
    return subprocess.Popen(
        ["git", f"--git-dir={git_dir}", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )


class Blobs:
    """Reads file contents by object name, one at a time; with `most`, a file of more bytes counts as not there."""

    def __init__(self, git_dir: Path, *, most: int | None = None) -> None:
        self._most = most
        self._process = open_git(git_dir, ["cat-file", "--batch"], subprocess.PIPE)
        if self._process.stdin is None or self._process.stdout is None:
            raise InfrastructureError("git cat-file started without pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def read(self, name: str) -> bytes | None:
        """Content of a blob (`<id>` or `<commit>:<path>`), None when there is no such file."""
        if "\n" in name:
            return None
        stdin, stdout = self._stdin, self._stdout
        try:
            stdin.write(name.encode(errors="surrogateescape") + b"\n")
            stdin.flush()
        except BrokenPipeError as e:
            raise InfrastructureError("git cat-file ended early while reading history") from e
        header = stdout.readline()
        if not header:
            raise InfrastructureError("git cat-file ended early while reading history")
        fields = header.rsplit(b" ", 2)
        if header.endswith((b" missing\n", b" ambiguous\n")) or len(fields) != 3:
            return None
        size = int(fields[2])
        if self._most is not None and size > self._most:
            left = size + 1
            while left and (chunk := stdout.read(min(left, 1 << 20))):
                left -= len(chunk)
            return None
        content = stdout.read(size + 1)[:-1]
        return content if fields[1] == b"blob" else None

    def close(self) -> None:
        """End the process."""
        self._stdin.close()
        self._stdout.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def list_tree(git_dir: Path, commit: str) -> dict[str, str]:
    """Path to blob id of every regular file of a commit's tree (links and submodules left out)."""
    files: dict[str, str] = {}
    for row in run_git(git_dir, ["ls-tree", "-r", "-z", "--full-tree", commit]).split(b"\0"):
        meta, _, path = row.partition(b"\t")
        if meta.startswith(b"100"):
            files[path.decode(errors="surrogateescape")] = meta.split()[2].decode()
    return files
