"""How failures of disks and buckets become messages. Called by both backends, and by the stage entry for a stage's
own writes, so that a full disk reads the same wherever it is met."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from repoexpert.errors import BadInput, InfrastructureError, RepoExpertError

_FULL = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the file size limit (ulimit -f)",
}
_DENIED = {
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}


class CorruptArtifact(InfrastructureError):
    """A stored file is not what the manifest says. Trying again reads the same bytes: removing it does help."""

    stage_exit_code = 42


def is_full(error: OSError) -> bool:
    """Whether the error says that nothing more can be written."""
    return error.errno in _FULL


def disk_problem(error: OSError, where: Path | str) -> RepoExpertError:
    """The error for a person: what failed, where, what to do."""
    path = error.filename or where
    if error.errno in _FULL:
        return InfrastructureError(
            f"cannot write {path}: {_FULL[error.errno]}. Free some space (`repoexpert artifacts ls` shows what the "
            "store holds), then run again: finished work is kept"
        )
    if error.errno in _DENIED:
        return BadInput(
            f"cannot use {path}: {_DENIED[error.errno]}. Choose a folder that you may write with --store or --cache"
        )
    return InfrastructureError(f"cannot use {path}: {error.strerror or error}")


@contextlib.contextmanager
def disk(where: Path) -> Iterator[None]:
    """Around work on files: an OSError leaves as an error for a person."""
    try:
        yield
    except OSError as error:
        raise disk_problem(error, where) from error
