"""Keeps copies of the repository's sources out of an environment: they would hold the answers to its tasks.

Called by installing.py after each attempt. An environment may hold only what installing made and the tree lacks:
compiled extensions, metadata, generated files.

The environment was writable to the repository's own build: any file in it may be a link to one of this machine's, and
none is ever followed here.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from repoexpert.errors import StageFailed

_NEVER_PARTS = {
    *("__pycache__", "build", "dist", ".git", ".eggs", ".tox", ".nox", ".venv", "venv", "node_modules"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".cache", "htmlcov"),
}
_NEVER_SUFFIXES = (".pyc", ".pyo", ".o", ".obj", ".a", ".egg", ".whl", ".gcda", ".gcno", ".coverage", ".log")
_COPY_BYTES = 200
"""A smaller file says nothing worth hiding: empty `__init__.py`, markers."""
_LARGEST = 4 << 20
"""A larger file is data: no task changes it."""


def blob_id(content: bytes) -> str:
    """Git's own name (SHA-1) for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def overlay_paths(untracked: Iterable[str]) -> tuple[str, ...]:
    """Of the files that installing left in the tree those worth carrying."""
    return tuple(sorted(path for path in untracked if _carried(path)))


def _carried(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return (
        not _NEVER_PARTS.intersection(part.lower() for part in parts)
        and not any(part.endswith(".egg") for part in parts)
        and not path.endswith(_NEVER_SUFFIXES)
        and ".." not in parts
        and not PurePosixPath(path).is_absolute()
    )


def site_packages(environment: Path) -> Path:
    """The folder of installed packages of a virtual environment. Raises StageFailed when it is not a folder in there."""
    found = next(iter(sorted((environment / "lib").glob("python3*/site-packages"))), None)
    if found is None or any(place.is_symlink() for place in (found, found.parent, environment / "lib", environment)):
        raise StageFailed(
            "the repository's installation removed its environment's site-packages or put a link in their place"
        )
    return found


def remove_copies(
    environment: Path, tree: Collection[str], roots: Iterable[str], packages: Iterable[str]
) -> tuple[tuple[str, ...], Mapping[str, Path]]:
    """Take the repository's own files out of site-packages, whoever put them there.

    Returns what was removed (relative to site-packages) and the compiled extensions among it, which the caller moves into
    the overlay: path in the tree to file. Files of other distributions in a shared namespace package stay.
    """
    site = site_packages(environment)
    removed: list[str] = []
    extensions: dict[str, Path] = {}
    for package in packages:
        for file in _files_of(site, package):
            path = file.relative_to(site).as_posix()
            homes = [f"{root}/{path}" if root else path for root in roots]
            if any(home in tree for home in homes):
                file.unlink()
                removed.append(path)
            elif file.suffix in (".so", ".pyd") and (home := _home_of(homes, tree)):
                extensions[home] = file
            elif file.suffix == ".pyc":
                file.unlink()
    return tuple(sorted(removed)), extensions


def _files_of(site: Path, package: str) -> list[Path]:
    folder = site / package
    if folder.is_symlink() or not folder.resolve().is_relative_to(site.resolve()):
        return []
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()] if folder.is_dir() else []
    return sorted(files) + [file for file in (site / f"{package}.py",) if file.is_file() and not file.is_symlink()]


def _home_of(homes: Iterable[str], tree: Collection[str]) -> str | None:
    """The place of an extension: beside a tracked file of its package."""
    folders = {path.rpartition("/")[0] for path in tree}
    return next((home for home in homes if home.rpartition("/")[0] in folders), None)


def find_copies(environment: Path, blobs: Mapping[str, str]) -> tuple[str, ...]:
    """Python files of an environment whose content equals a tracked file's (`blobs`: blob id to path), for instance
    a vendored copy: `FILE = TREE PATH` a line."""
    found = []
    for file in sorted(environment.rglob("*.py")):
        if file.is_symlink() or not file.is_file() or not _COPY_BYTES <= file.stat().st_size <= _LARGEST:
            continue
        if tracked := blobs.get(blob_id(file.read_bytes())):
            found.append(f"{file.relative_to(environment).as_posix()} = {tracked}")
    return tuple(found)


def write_path_file(environment: Path, roots: Iterable[str], testbed: str) -> None:
    """Make imports find the sources in the tree, without anything of the project installed."""
    lines = [f"{testbed}/{root}".rstrip("/") for root in roots]
    target = site_packages(environment) / "repoexpert.pth"
    target.unlink(missing_ok=True)
    with target.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def drop_volatile(environment: Path) -> None:
    """Remove what differs between two equal installations: uv's time stamps, bytecode, locks."""
    for file in [file for file in environment.rglob("uv_cache.json") if file.is_symlink() or file.is_file()]:
        file.unlink()
        record = file.with_name("RECORD")
        if record.is_file() and not record.is_symlink():
            lines = record.read_bytes().splitlines(keepends=True)
            record.unlink()
            record.write_bytes(b"".join(it for it in lines if b"/uv_cache.json," not in it))
    (environment / ".lock").unlink(missing_ok=True)
    for folder in list(environment.rglob("__pycache__")):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def installed(environment: Path) -> tuple[str, ...]:
    """`name==version` of every installed distribution but those of the tree itself, sorted."""
    lines = set()
    for info in site_packages(environment).glob("*.dist-info"):
        metadata, origin = info / "METADATA", info / "direct_url.json"
        if metadata.is_symlink() or origin.is_symlink() or info.is_symlink():
            continue
        local = origin.is_file() and '"file:///testbed' in origin.read_text(encoding="utf-8", errors="replace")
        if metadata.is_file() and not local:
            text = metadata.read_text(encoding="utf-8", errors="replace")
            name, version = (re.search(rf"^{key}: *(\S+)", text, re.MULTILINE) for key in ("Name", "Version"))
            if name and version:
                lines.add(f"{name[1].lower()}=={version[1]}")
    return tuple(sorted(lines))
