"""Streams out of a repository."""

from __future__ import annotations

from pathlib import Path

from repoexpert.repository.git import run_git
from repoexpert.repository.objects import Blobs


def test_a_file_of_too_many_bytes_is_passed_over_and_the_next_is_read(tmp_path: Path) -> None:
    run_git(None, ["init", "-q", "--bare", str(tmp_path)])
    large, small = (
        run_git(tmp_path, ["hash-object", "-w", "--stdin"], stdin=content).decode().strip()
        for content in (b"x" * 3_000_000, b"y\n")
    )
    with Blobs(tmp_path, most=2) as blobs:
        assert [blobs.read(name) for name in (large, small, large, small)] == [None, b"y\n", None, b"y\n"]
    with Blobs(tmp_path) as blobs:
        assert len(blobs.read(large) or b"") == 3_000_000
