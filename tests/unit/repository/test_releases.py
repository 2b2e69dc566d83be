"""A history out of releases, without an index: the parts that decide and the commits they give."""

from __future__ import annotations

import io
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.version import Version

from repoexpert.errors import BadInput
from repoexpert.repository.changelogs import release_section
from repoexpert.repository.git import run_git
from repoexpert.repository.releases import commit_command, commit_message, select
from repoexpert.repository.sdists import Release, ascending, parse_release, read_sdist, safe_path


def release(version: str, day: int) -> Release:
    return Release(
        Version(version), "https://x.invalid/x", f"x-{version}.tar.gz", "0" * 64, datetime(2024, 1, day, tzinfo=UTC)
    )


def test_backports_and_pre_releases_are_left_out() -> None:
    given = [release("1.0", 1), release("2.0", 2), release("1.1", 3), release("3.0rc1", 4), release("2.1", 5)]
    assert [str(it.version) for it in ascending(iter(given))] == ["1.0", "2.0", "2.1"]


def test_the_newest_of_a_range_are_selected() -> None:
    given = [release(f"1.{number}", number + 1) for number in range(6)]
    assert [str(it.version) for it in select(given, 2, "1.1", "1.4")] == ["1.3", "1.4"]


def test_an_empty_range_is_refused_with_what_there_is() -> None:
    with pytest.raises(BadInput, match=r"newest are: 1\.0"):
        select([release("1.0", 1)], None, "9", None)


def test_yanked_files_wheels_and_files_without_a_time_are_no_releases() -> None:
    entry = {
        "filename": "x-1.0.tar.gz",
        "url": "../x-1.0.tar.gz",
        "hashes": {"sha256": "0" * 64},
        "upload-time": "2024-01-01T00:00:00Z",
    }
    found = parse_release(entry, "https://i.invalid/simple/x/")
    assert found is not None
    assert (found.url, str(found.version)) == ("https://i.invalid/simple/x-1.0.tar.gz", "1.0")
    for change in ({"yanked": True}, {"filename": "x-1.0-py3-none-any.whl"}, {"upload-time": None}, {"hashes": {}}):
        assert parse_release({**entry, **change}, "https://i.invalid/simple/x/") is None


PATHS = {
    "x-1.0/x/a.py": "x/a.py",
    "x-1.0/PKG-INFO": None,
    "x-1.0/x.egg-info/SOURCES.txt": None,
    "x-1.0/../../etc/passwd": None,
    "/etc/passwd": None,
    "x-1.0/.git/config": None,
    "x-1.0": None,
}


@pytest.mark.parametrize("name", PATHS)
def test_the_path_of_a_member(name: str) -> None:
    assert safe_path(name) == PATHS[name]


def sdist(*members: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_links_of_an_archive_are_left_out() -> None:
    content = sdist(("x/a.py", b"a", tarfile.REGTYPE), ("x/l", b"", tarfile.SYMTYPE), ("x/h", b"", tarfile.LNKTYPE))
    assert read_sdist(content, "x-1.tar.gz") == {"a.py": (b"a", False)}


def test_a_broken_archive_is_refused() -> None:
    with pytest.raises(BadInput, match="broken"):
        read_sdist(sdist(("x/a.py", b"a" * 1000, tarfile.REGTYPE))[:40], "x-1.tar.gz")


CHANGELOGS = {
    "markdown": "# Changes\n\n## 1.10.0\nbig\n\n## 1.1.0 (2024-01-01)\n\n- fixed it\n- and more\n\n## 1.0.0\nold\n",
    "underlined": "Changes\n=======\n\n1.1.0\n-----\n\n- fixed it\n- and more\n\n1.0.0\n-----\nold\n",
    "bold links": "## [1.1](https://x.invalid) - today\n- fixed it\n- and more\n## [1.0]\nold\n",
}


@pytest.mark.parametrize("style", CHANGELOGS)
def test_the_section_of_a_release_is_found(style: str) -> None:
    assert release_section(CHANGELOGS[style], "1.1.0") == "- fixed it\n- and more"


def test_a_release_without_a_section_says_only_its_version() -> None:
    assert commit_message(release("3.0", 1), {"CHANGELOG.md": (b"# 1.0\nx", False)}) == "Release 3.0\n"


def test_the_same_releases_give_the_same_commit_ids(tmp_path: Path) -> None:
    heads = []
    for name in ("one", "two"):
        subprocess.run(["git", "init", "-q", "--bare", tmp_path / name], check=True)
        first = commit_command("x", release("1.0", 1), {"a.py": (b"a", False), 'q"\\.py': (b"", False)})
        second = commit_command("x", release("2.0", 2), {"b.sh": (b"#!/bin/sh\n", True)})
        run_git(tmp_path / name, ["fast-import", "--quiet", "--done"], stdin=first + second + b"done\n")
        heads.append(run_git(tmp_path / name, ["rev-parse", "main"]))
    log = run_git(tmp_path / "one", ["log", "--format=%s %cI", "--name-status", "main"]).decode()
    assert heads[0] == heads[1]
    assert "Release 2.0 2024-01-02T00:00:00+00:00" in log
    assert "D\ta.py" in log
