"""A Git repository out of a library's successive releases: real code and tests on a machine that reaches no forge.

Called by `repoexpert history from-releases`. One commit a release, dated by its upload; the same releases give the same
commit ids on every machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from repoexpert.errors import BadInput
from repoexpert.repository.changelogs import changelog_paths, release_section
from repoexpert.repository.git import git_text, run_git
from repoexpert.repository.sdists import Release, download, list_releases, read_sdist

_AUTHOR = "Release <release@example.invalid>"
_MARK = "repoexpert.history"
Files = Mapping[str, tuple[bytes, bool]]


@dataclass(frozen=True)
class History:
    """What was made."""

    path: Path
    head: str
    releases: tuple[Release, ...]


def select(releases: Sequence[Release], count: int | None, first: str | None, last: str | None) -> tuple[Release, ...]:
    """Releases from version `first` to `last`, both included, of those the newest `count`. Raises BadInput."""
    low, high = _version(first, "--from-version"), _version(last, "--until-version")
    chosen = [it for it in releases if (not low or it.version >= low) and (not high or it.version <= high)]
    if count is not None:
        chosen = chosen[-count:]
    if not chosen:
        known = ", ".join(str(it.version) for it in releases[-10:]) or "none"
        raise BadInput(f"no release with a source distribution in that range; the newest are: {known}")
    return tuple(chosen)


def _version(text: str | None, option: str) -> Version | None:
    try:
        return Version(text) if text else None
    except InvalidVersion as e:
        raise BadInput(f"{option} {text!r} is no version") from e


def build_history(
    name: str,
    output: Path,
    cache: Path,
    index: str,
    *,
    count: int | None = None,
    first: str | None = None,
    last: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> History:
    """Make (or make anew) the repository `output`, whole or not at all. Downloads are kept in `cache`.

    Raises BadInput: unknown package, empty range, `output` is something else; InfrastructureError: index unreachable.
    """
    _refuse_other(output, name)
    releases = select(list_releases(name, index), count, first, last)
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        run_git(None, ["init", "--quiet", "--template=", "--initial-branch=main", str(aside)])
        git_dir = aside / ".git"
        stream = bytearray()
        for number, release in enumerate(releases, 1):
            tell(f"{number}/{len(releases)} {release.filename}")
            files = read_sdist(download(release, cache), release.filename)
            stream += commit_command(name, release, files)
        run_git(git_dir, ["fast-import", "--quiet", "--done"], stdin=bytes(stream) + b"done\n")
        run_git(git_dir, ["config", _MARK, name])
        run_git(None, ["-C", str(aside), "reset", "--quiet", "--hard"])
        head = git_text(git_dir, "rev-parse", "refs/heads/main").strip()
        if output.exists():
            shutil.rmtree(output)
        aside.replace(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return History(output, head, releases)


def _refuse_other(output: Path, name: str) -> None:
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        return
    config = output / ".git/config"
    ours = config.is_file() and f"history = {name}" in config.read_text(encoding="utf-8", errors="replace")
    if not ours and (not output.is_dir() or any(output.iterdir())):
        raise BadInput(f"{output} exists and is no history of {name} made by this command; name another with --output")


def commit_command(name: str, release: Release, files: Files) -> bytes:
    """fast-import commands of one release: its whole tree, and a tag."""
    when = f"{int(release.uploaded.timestamp())} +0000"
    message = commit_message(release, files).encode()
    parts = [
        b"commit refs/heads/main\n",
        f"author {_AUTHOR} {when}\ncommitter {_AUTHOR} {when}\n".encode(),
        _data(message),
        b"deleteall\n",
    ]
    for path, (content, executable) in sorted(files.items()):
        mode = "100755" if executable and content.startswith(b"#!") else "100644"
        parts += [f"M {mode} inline {_quoted(path)}\n".encode(errors="surrogateescape"), _data(content)]
    tag = f"tag {release.version}\nfrom refs/heads/main\ntagger {_AUTHOR} {when}\n".encode()
    return b"".join([*parts, b"\n", tag, _data(f"{name} {release.version}\n".encode())])


def commit_message(release: Release, files: Files) -> str:
    """`Release X` and, when a changelog has one, the release's section."""
    for path in changelog_paths(files):
        text = files[path][0].decode(errors="replace").replace("\0", "")
        if section := release_section(text, str(release.version)):
            return f"Release {release.version}\n\n{section}\n"
    return f"Release {release.version}\n"


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
