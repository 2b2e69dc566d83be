"""Archives: a commit's tree as a deterministic tar, and folders as tar.zst. Used by the environment stage.

`git archive` is not used: export-ignore and export-subst attributes change what it writes.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import zstandard

from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.repository.git import run_git
from repoexpert.repository.objects import Blobs

FILE_TIME = 946_684_800
"""Modification time of every archived file: 2000-01-01, as ZIP and the start tree's commit can say it."""
_LEVEL = 3
_UNSAFE = ("", ".", "..")


@dataclass(frozen=True)
class TreeEntry:
    """A file of a commit's tree."""

    path: str
    mode: str
    blob: str

    @property
    def is_link(self) -> bool:
        return self.mode == "120000"


def tree_entries(git_dir: Path, commit: str) -> tuple[TreeEntry, ...]:
    """Files and links of a commit, by path; submodules left out. Raises BadInput for a path that leaves the tree."""
    entries = []
    for row in run_git(git_dir, ["ls-tree", "-r", "-z", "--full-tree", commit]).split(b"\0"):
        meta, _, name = row.partition(b"\t")
        if not row or meta.startswith(b"160000"):
            continue
        path = name.decode(errors="surrogateescape")
        if any(part in _UNSAFE or part.lower() == ".git" for part in path.split("/")):
            raise BadInput(f"commit {commit[:12]} holds the path {path!r}, which no checkout can have")
        mode, _, blob = meta.decode().split()
        entries.append(TreeEntry(path, mode, blob))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def write_tree(git_dir: Path, commit: str, target: Path) -> tuple[TreeEntry, ...]:
    """Write the tree at `commit` as a deterministic `.tar.zst`; the same commit gives the same bytes."""
    entries = tree_entries(git_dir, commit)
    with Blobs(git_dir) as blobs, writing_archive(target) as archive:
        for entry in entries:
            content = blobs.read(entry.blob)
            if content is None:
                raise InfrastructureError(f"object {entry.blob} of {entry.path} is missing in {git_dir}")
            member = _member(entry.path, 0o755 if entry.mode == "100755" else 0o644)
            if entry.is_link:
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.fsdecode(content), 0o777
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return entries


def pack(folder: Path, target: Path, *, keep: Callable[[str], bool] = lambda _: True) -> int:
    """Write what is below `folder` as a deterministic `.tar.zst`; number of entries.

    `keep` is asked for every relative POSIX path; a folder refused is left out whole. Links stay links; sockets, pipes
    and devices are left out.
    """
    count = 0
    with writing_archive(target) as archive:
        for path in _walk(folder, "", keep):
            source = folder / path
            status = source.lstat()
            member = _member(path, 0o755 if status.st_mode & 0o111 else 0o644)
            count += 1
            if stat.S_ISLNK(status.st_mode):
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, str(source.readlink()), 0o777
                archive.addfile(member)
            elif stat.S_ISDIR(status.st_mode):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.size = status.st_size
                with source.open("rb") as content:
                    archive.addfile(member, content)
    return count


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a `.tar.zst` of ours into an empty folder; nothing is written outside of it. Raises InfrastructureError."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with reading_archive(archive) as members:
            for member in members:
                _extract(members, member, folder)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as e:
        raise InfrastructureError(f"archive {archive} is damaged: {e}") from e


def archived_paths(archive: Path) -> list[str]:
    """Paths of the members of a `.tar.zst`."""
    with reading_archive(archive) as members:
        return [member.name for member in members]


@contextmanager
def reading_archive(archive: Path) -> Iterator[tarfile.TarFile]:
    """The members of a `.tar.zst` in order, as a stream."""
    with (
        archive.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as stream,
        tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as members,
    ):
        yield members


@contextmanager
def writing_archive(target: Path) -> Iterator[tarfile.TarFile]:
    """A tar that is compressed into `target`, which appears only when it is whole."""
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with (
            aside.open("wb") as raw,
            zstandard.ZstdCompressor(level=_LEVEL, threads=0).stream_writer(raw) as stream,
            tarfile.open(
                fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
            ) as archive,
        ):
            yield archive
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _member(path: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = mode, FILE_TIME
    return member


def _walk(folder: Path, prefix: str, keep: Callable[[str], bool]) -> Iterator[str]:
    with os.scandir(folder / prefix) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{prefix}{entry.name}"
        mode = entry.stat(follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)) or not keep(path):
            continue
        yield path
        if stat.S_ISDIR(mode):
            yield from _walk(folder, f"{path}/", keep)


def _extract(members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise tarfile.TarError(f"member {member.name!r} leaves the folder")
    target = folder / path
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    if not parent.resolve().is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"member {member.name!r} goes through a link that leaves the folder")
    if member.isdir():
        target.mkdir(exist_ok=True)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.isreg() and (content := members.extractfile(member)) is not None:
        with target.open("xb") as file:
            while chunk := content.read(1 << 20):
                file.write(chunk)
        target.chmod(member.mode & 0o777)
        os.utime(target, (FILE_TIME, FILE_TIME))
    else:
        raise tarfile.TarError(f"member {member.name!r} is neither file, folder nor link")
