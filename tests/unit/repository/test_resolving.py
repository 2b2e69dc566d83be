"""Which commit a day means."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from repoexpert.errors import BadInput
from repoexpert.repository.git import git_text, run_git
from repoexpert.repository.mirror import Mirrors, clean_url
from repoexpert.repository.resolving import end_of_day, last_before, resolve


@dataclass(frozen=True)
class Spec:
    url: str
    cutoff: date
    ref: str = "main"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits on main, late on three days."""
    path = tmp_path / "origin"
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        when = {"GIT_AUTHOR_DATE": f"{day}T23:59:59Z", "GIT_COMMITTER_DATE": f"{day}T23:59:59Z"}
        command = [
            "git",
            "-C",
            path,
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.invalid",
            "commit",
            "-q",
            "--allow-empty",
        ]
        subprocess.run([*command, "-m", day], check=True, env={**os.environ, **when})
    return path


def subject(repository: Path, commit: str) -> str:
    done = subprocess.run(
        ["git", "-C", repository, "log", "-1", "--format=%s", commit], capture_output=True, check=True
    )
    return done.stdout.decode().strip()


DAYS = {
    "the cutoff day itself is included to its last second": (date(2020, 1, 2), "2020-01-02"),
    "a cutoff after the last commit means the last commit": (date(2021, 1, 1), "2020-01-03"),
    "the first day means the first commit": (date(2020, 1, 1), "2020-01-01"),
}


@pytest.mark.parametrize("case", DAYS)
def test_a_cutoff_means_the_last_commit_of_its_day(case: str, repository: Path, tmp_path: Path) -> None:
    cutoff, expected = DAYS[case]
    found = resolve(Spec(repository.as_uri(), cutoff), None, tmp_path / "cache")
    assert (subject(repository, found.cutoff_commit), subject(repository, found.until_commit)) == (
        expected,
        "2020-01-03",
    )


def test_no_later_history_is_noted(repository: Path, tmp_path: Path) -> None:
    assert "no later history" in resolve(Spec(repository.as_uri(), date(2021, 1, 1)), None, tmp_path / "cache").notes[0]


def test_the_last_day_of_the_calendar_has_an_end() -> None:
    assert end_of_day(date(9999, 12, 31)).isoformat() == "9999-12-31T23:59:59+00:00"


def test_a_commit_of_a_year_that_no_calendar_has_is_resolved(repository: Path, tmp_path: Path) -> None:
    tree = git_text(repository / ".git", "rev-parse", "HEAD^{tree}").strip()
    far = f"tree {tree}\nauthor a <a@b> 99999999999999 +0000\ncommitter a <a@b> 99999999999999 +0000\n\nfar\n"
    commit = run_git(
        repository / ".git", ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"], stdin=far.encode()
    )
    git_text(repository / ".git", "branch", "far", commit.decode().strip())
    with pytest.raises(BadInput, match="9999-12-31"):
        resolve(Spec(repository.as_uri(), date(2001, 1, 1), "far"), None, tmp_path / "cache")


def test_a_cutoff_before_the_first_commit_names_its_date(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"before the first commit .* \(2020-01-01\)"):
        resolve(Spec(repository.as_uri(), date(2019, 12, 31)), None, tmp_path / "cache")


def test_a_missing_ref_names_similar_ones(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="similar: main"):
        resolve(Spec(repository.as_uri(), date(2020, 1, 2), "mian"), None, tmp_path / "cache")


UNREACHABLE = {
    "a folder that is not there": ("file://{here}/none", "there is no {here}/none"),
    "a folder that is no repository": ("file://{here}", "{here} is not a Git repository"),
    "a closed port": ("https://127.0.0.1:9/x.git", "cannot read https://127.0.0.1:9/x.git: unable to access "),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_an_unreachable_repository_is_refused_with_the_reason_alone(case: str, tmp_path: Path) -> None:
    url, said = (text.format(here=tmp_path) for text in UNREACHABLE[case])
    with pytest.raises(BadInput) as refused:
        resolve(Spec(url, date(2020, 1, 2)), None, tmp_path / "cache")
    assert str(refused.value).startswith(f"spec.repository.url: {said}")
    assert "fatal:" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "empty"], check=True)
    with pytest.raises(BadInput, match="no commits"):
        resolve(Spec((tmp_path / "empty").as_uri(), date(2020, 1, 2)), None, tmp_path / "cache")


def test_a_mirror_that_has_the_commit_does_not_ask_the_remote(repository: Path, tmp_path: Path) -> None:
    found = resolve(Spec(repository.as_uri(), date(2020, 1, 2)), None, tmp_path / "cache")
    repository.rename(tmp_path / "gone")
    assert Mirrors(tmp_path / "cache").ensure(found.url, found.cutoff_commit).has(found.cutoff_commit)


def test_hooks_of_the_origin_and_of_templates_never_run(repository: Path, tmp_path: Path) -> None:
    hooks = repository / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-update", "pre-receive"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    resolve(Spec(repository.as_uri(), date(2020, 1, 2)), None, tmp_path / "cache")
    assert not (tmp_path / "ran").exists()


REFUSED = {
    "a remote helper": "ext::sh -c touch% x",
    "a password in the address": "https://user:secret@example.invalid/x",
    "an option": "--upload-pack=x",
    "an unknown protocol": "ftp://example.invalid/x",
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_address_is_refused_when_it_is(case: str) -> None:
    with pytest.raises(BadInput) as refused:
        clean_url(REFUSED[case])
    assert "secret" not in str(refused.value)


def test_a_password_reaches_neither_arguments_nor_errors(tmp_path: Path) -> None:
    environ = {"REPOEXPERT_GIT_USERNAME": "user", "REPOEXPERT_GIT_PASSWORD": "s3cr3t"}
    with pytest.raises(BadInput) as refused:
        Mirrors(tmp_path / "cache", environ).fetch_ref("http://127.0.0.1:9/x.git", "main")
    assert "s3cr3t" not in str(refused.value)
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert kept
    assert not any(b"s3cr3t" in file.read_bytes() for file in kept)


def day(number: int) -> int:
    return int(datetime(2020, 1, number, 12, tzinfo=UTC).timestamp())


SKEWS = {
    "dates in order": ([("c", day(3)), ("b", day(2)), ("a", day(1))], "b"),
    "a small skew at the cutoff goes to the later commit, as Git's --before does": (
        [("c", day(2)), ("b", day(3)), ("a", day(1))],
        "c",
    ),
    "one commit dated 1970 at the head does not make all history the past": (
        [("e", 0), ("d", day(5)), ("c", day(4)), ("b", day(2)), ("a", day(1))],
        "b",
    ),
    "one early commit dated in the future does not hide what follows": (
        [("d", day(5)), ("c", day(2)), ("b", day(2)), ("a", day(30))],
        "c",
    ),
    "everything later": ([("a", day(3))], None),
}


@pytest.mark.parametrize("case", SKEWS)
def test_committer_dates_that_contradict_each_other(case: str) -> None:
    commits, expected = SKEWS[case]
    assert last_before(commits, int(end_of_day(date(2020, 1, 2)).timestamp())) == expected
