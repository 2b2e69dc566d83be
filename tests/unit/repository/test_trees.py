"""Archives of trees and environments."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.repository.trees import archived_paths, pack, unpack, write_tree


def commit(path: Path, message: str = "x") -> str:
    environment = {
        **os.environ,
        "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    }
    git = ["git", "-C", str(path), "-c", "user.name=A", "-c", "user.email=a@example.invalid"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", message], check=True, env=environment)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    path = tmp_path / "origin"
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    (path / "a.py").write_text("A = '$Format:%H$'\n")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "out").symlink_to("/etc/passwd")
    (path / ".gitattributes").write_text("a.py export-subst\nrun.sh export-ignore\n")
    (path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    return path


def test_a_tree_is_archived_as_it_is_whatever_its_attributes_say(origin: Path, tmp_path: Path) -> None:
    write_tree(origin / ".git", commit(origin), tmp_path / "tree.tar.zst")
    unpack(tmp_path / "tree.tar.zst", tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        [".gitattributes", "a.py", os.fsdecode(b"caf\xe9.txt"), "out", "run.sh"]
    )
    assert (tmp_path / "out/a.py").read_text() == "A = '$Format:%H$'\n"
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert str((tmp_path / "out/out").readlink()) == "/etc/passwd"


def test_the_same_commit_gives_the_same_bytes(origin: Path, tmp_path: Path) -> None:
    made = commit(origin)
    for name in ("one.tar.zst", "two.tar.zst"):
        write_tree(origin / ".git", made, tmp_path / name)
    assert (tmp_path / "one.tar.zst").read_bytes() == (tmp_path / "two.tar.zst").read_bytes()


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/a").write_text("a")
        os.utime(tmp_path / name / "sub/a", (len(name) * 1000, hash(name) % 10_000))
        pack(tmp_path / name, tmp_path / f"{name}.tar.zst")
    assert (tmp_path / "one.tar.zst").read_bytes() == (tmp_path / "two.tar.zst").read_bytes()
    assert archived_paths(tmp_path / "one.tar.zst") == ["sub", "sub/a"]


def test_a_tree_with_a_git_folder_inside_is_refused(origin: Path, tmp_path: Path) -> None:
    git = ["git", "-C", str(origin)]
    blob = subprocess.run(
        [*git, "hash-object", "-w", "a.py"], check=True, capture_output=True, text=True
    ).stdout.strip()
    inner = subprocess.run(
        [*git, "mktree"], input=f"100644 blob {blob}\tconfig\n", check=True, capture_output=True, text=True
    )
    outer = subprocess.run(
        [*git, "mktree"],
        input=f"040000 tree {inner.stdout.strip()}\t.GIT\n",
        check=True,
        capture_output=True,
        text=True,
    )
    with pytest.raises(BadInput, match="no checkout can have"):
        write_tree(origin / ".git", outer.stdout.strip(), tmp_path / "tree.tar.zst")
    assert not (tmp_path / "tree.tar.zst").exists()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


HOSTILE = {
    "a path upwards": [member("../x")],
    "an absolute path": [member("/x")],
    "a file through a link that leads out": [member("a", tarfile.SYMTYPE, "/tmp"), member("a/x")],
    "a hard link": [member("a", tarfile.LNKTYPE, "/etc/passwd")],
    "a device": [member("a", tarfile.CHRTYPE)],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_unpacking_refuses(case: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info in HOSTILE[case]:
            archive.addfile(info)
    (tmp_path / "x.tar.zst").write_bytes(zstandard.ZstdCompressor().compress(buffer.getvalue()))
    with pytest.raises(InfrastructureError):
        unpack(tmp_path / "x.tar.zst", tmp_path / "in/out")
    assert not (tmp_path / "in/x").exists()


def test_a_cut_archive_is_an_error_not_a_short_tree(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(os.urandom(100_000))
    pack(tmp_path / "folder", tmp_path / "x.tar.zst")
    whole = (tmp_path / "x.tar.zst").read_bytes()
    (tmp_path / "x.tar.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InfrastructureError, match="damaged"):
        unpack(tmp_path / "x.tar.zst", tmp_path / "out")
