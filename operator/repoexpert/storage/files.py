"""The files of one artifact on a local disk: listing, hashing, comparing with a manifest. Called by both backends."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from repoexpert.errors import StageFailed
from repoexpert.storage.records import MANIFEST, FileEntry

_THREADS = min(8, os.cpu_count() or 2)
_CHUNK = 1 << 20

Signature = tuple[int, int, int]
"""mtime_ns, size, inode: a file with the same signature need not be hashed again by this process."""
_NOTHING: tuple[Signature, None] = ((0, -1, 0), None)
_BATCHES = 64


class UnsafeFile(StageFailed):
    """A folder holds something that an artifact may not: a link, a device, a name that is not UTF-8."""


class Verifier:
    """Remembers which files this process has hashed, so that fetching a large model five times reads it once."""

    def __init__(self, read: Callable[[Path], FileEntry] | None = None) -> None:
        self._read = read or hash_file
        self._seen: dict[str, tuple[Signature, FileEntry]] = {}

    def entries(self, root: Path, files: Mapping[str, os.stat_result]) -> dict[str, FileEntry]:
        """Size and sha256 of each file; what this process has not hashed yet is hashed by several threads."""
        unseen = [
            path
            for path, status in files.items()
            if self._seen.get(f"{root}/{path}", _NOTHING)[0] != _signature(status)
        ]
        # Threads cost more than a small file does, so they take many at once; the largest go first.
        unseen.sort(key=lambda path: files[path].st_size, reverse=True)
        batches = [unseen[start::_BATCHES] for start in range(min(_BATCHES, len(unseen)))]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda batch: self._hash(root, batch, files), batches))
        return {path: self._seen[f"{root}/{path}"][1] for path in files}

    def problems(self, root: Path, expected: Mapping[str, FileEntry]) -> list[str]:
        """What differs from the manifest, one sentence a file; sizes are compared before anything is hashed."""
        try:
            found = scan(root)
        except UnsafeFile as error:
            return [str(error)]
        found.pop(MANIFEST, None)
        problems = [f"{path} is missing" for path in expected if path not in found]
        problems += [f"{path} is not in the manifest" for path in found if path not in expected]
        sized = {}
        for path, status in found.items():
            if path not in expected:
                continue
            if status.st_size != expected[path].size:
                problems.append(f"{path} has {status.st_size} bytes instead of {expected[path].size}")
            else:
                sized[path] = status
        hashed = self.entries(root, sized)
        problems += [f"{path} has other content (sha256 differs)" for path in sized if hashed[path] != expected[path]]
        return sorted(problems)

    def _hash(self, root: Path, paths: Sequence[str], files: Mapping[str, os.stat_result]) -> None:
        for path in paths:
            self._seen[f"{root}/{path}"] = (_signature(files[path]), self._read(root / path))


def _signature(status: os.stat_result) -> Signature:
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def hash_file(path: Path) -> FileEntry:
    """Size and sha256 of one file; a link is not followed."""
    digest = hashlib.sha256()
    size = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(size=size, sha256=digest.hexdigest())


def scan(root: Path) -> dict[str, os.stat_result]:
    """Relative POSIX path to status of every file below `root`, sorted; raises UnsafeFile."""
    return dict(sorted(_walk(root, "")))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as items:
        for item in items:
            path = prefix + item.name
            try:
                path.encode("utf-8")
            except UnicodeEncodeError:
                raise UnsafeFile(f"the file name {path!r} is not UTF-8: an artifact cannot hold it") from None
            status = item.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(folder / item.name, path + "/")
            elif stat.S_ISREG(status.st_mode):
                yield path, status
            else:
                raise UnsafeFile(f"{path} is a link or a device: an artifact holds plain files only")


def freeze(root: Path) -> None:
    """Take the write permission from every file: a finished artifact is not edited by accident.

    A courtesy only: file systems without permissions do without.
    """
    with contextlib.suppress(OSError):
        for path, status in scan(root).items():
            if status.st_mode & 0o222:
                (root / path).chmod(stat.S_IMODE(status.st_mode) & ~0o222)


def flush(folder: Path) -> None:
    """Have the kernel write everything below `folder` to the disk (one call for any number of files)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes, *, aside: Path | None = None) -> None:
    """Write aside, flush, rename: `path` holds either the old or the new content, whatever happens.

    `aside` must be on the same file system; by default it lies beside `path`.
    """
    aside = aside or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
