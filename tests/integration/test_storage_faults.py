"""A directory store under kills, rivals and full disks: real processes, real signals, a real small file system."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repoexpert.storage.store import open_store
from tests.fakes.writer import KEY


def writer(store: str, cache: Path, mode: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.fakes.writer", store, str(cache), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def test_a_writer_killed_in_mid_write_leaves_a_draft_that_the_next_one_completes(store: str, tmp_path: Path) -> None:
    victim = writer(store, tmp_path, "hang")
    assert first_line(victim) == "half"
    victim.kill()
    finish(victim)
    opened = open_store(store)
    assert opened.manifest(KEY) is None
    assert finish(writer(store, tmp_path, "whole")) == (0, "wrote\n")
    assert len(list(opened.fetch(KEY).glob("*.txt"))) == 20


def test_the_second_of_two_writers_waits_and_finds_the_first_ones_artifact(store: str, tmp_path: Path) -> None:
    first = writer(store, tmp_path, "hang")
    assert first_line(first) == "half"
    second = writer(store, tmp_path, "whole")
    assert first_line(second) == f"waiting {first.pid}"
    first.send_signal(signal.SIGKILL)
    finish(first)
    assert finish(second) == (0, "wrote\n")
    assert finish(writer(store, tmp_path, "whole")) == (0, "found\n")


def test_many_writers_at_once_end_with_one_whole_artifact(store: str, tmp_path: Path) -> None:
    writers = [writer(store, tmp_path, "slow") for _ in range(5)]
    said = [finish(process)[1].splitlines()[-1] for process in writers]
    assert sorted(said) == ["found"] * 4 + ["wrote"]
    opened = open_store(store)
    manifest = opened.manifest(KEY)
    assert manifest is not None
    authors = {path.read_text().split()[2] for path in opened.fetch(KEY).glob("*.txt")}
    assert authors == {str(manifest.summary["by"])}
    assert not list(Path(store).rglob("*.lock"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_nothing_looks_whole(small_disk: Path, tmp_path: Path) -> None:
    code, said = finish(writer(str(small_disk / "store"), tmp_path, "big"))
    assert code == 1
    assert "no space left" in said
    assert "InfrastructureError" in said
    opened = open_store(str(small_disk / "store"))
    assert opened.manifest(KEY) is None
    (small_disk / "store" / str(KEY) / "big").unlink()
    assert finish(writer(str(small_disk / "store"), tmp_path, "whole")) == (0, "wrote\n")


def test_a_file_size_limit_is_said_like_a_full_disk(store: str, tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    code, said = finish(writer(store, tmp_path, "big", preexec_fn=limit))
    assert code == 1
    assert "exceed the file size limit" in said
    assert open_store(store).manifest(KEY) is None


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "unwritable"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        return
    # Permissions do not stop root; a read-only file system does.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_store_that_may_not_be_written_is_bad_input(unwritable: Path, tmp_path: Path) -> None:
    code, said = finish(writer(str(unwritable / "store"), tmp_path, "whole"))
    assert (code, said.split(":")[0]) == (2, "BadInput"), said
    assert "permission denied" in said or "read-only" in said
    assert "--store" in said
