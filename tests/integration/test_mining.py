"""Mining a real Git history: merges, squashes, renames, and changes undone in the tree at a commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from repoexpert.repository.candidates import Undoing, list_candidates
from repoexpert.repository.mining import Layout, list_changes, stream_diffs
from repoexpert.repository.objects import list_tree
from tests.builders.grounds import commit_at
from tests.builders.histories import Library, make_library

_LAYOUT = Layout(("",), ("ledger",), ("tests",))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return make_library(tmp_path_factory.mktemp("mining") / "ledger")


def _git(library: Library, *arguments: str) -> bytes:
    env = os.environ | {f"GIT_{who}_{what}": "ada@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *arguments], cwd=library.path, check=True, capture_output=True, env=env)
    return done.stdout


def test_changes_are_merges_squashes_and_plain_commits(library: Library) -> None:
    git_dir = library.path / ".git"
    changes = list_changes(git_dir, commit_at(git_dir, library.cutoff), layout=_LAYOUT)
    assert len(changes) == library.fixes_before_cutoff
    oldest = changes[-1]
    assert (oldest.title, oldest.pull_request) == ("Count the first entry as well when adding up a ledger", "10")
    assert len(oldest.commits) == 2
    assert [(f.path, f.kind) for f in oldest.files] == [
        ("ledger/amounts.py", "source"),
        ("tests/test_amounts.py", "test"),
    ]


def test_later_changes_are_listed_apart(library: Library) -> None:
    git_dir = library.path / ".git"
    cutoff, head = commit_at(git_dir, library.cutoff), commit_at(git_dir, "2030-01-01")
    assert len(list_changes(git_dir, head, after=cutoff, layout=_LAYOUT)) == library.fixes_after_cutoff


def test_two_processes_list_what_one_does(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    git_dir = library.path / ".git"
    head = commit_at(git_dir, "2030-01-01")
    alone = list_candidates(git_dir, head, layout=_LAYOUT, jobs=1)
    monkeypatch.setattr("repoexpert.repository.candidates._SMALL", 2)
    assert list_candidates(git_dir, head, layout=_LAYOUT, jobs=2) == alone
    assert {listed.tier for listed in alone} == {"exact"}


def test_patches_of_candidates_apply_to_the_tree_and_reverse(library: Library, tmp_path: Path) -> None:
    git_dir = library.path / ".git"
    head = commit_at(git_dir, "2030-01-01")
    with Undoing(git_dir, list_tree(git_dir, head), _LAYOUT) as undoing:
        found = [c for item in list_candidates(git_dir, head, layout=_LAYOUT) for c in undoing.candidates(item.change)]
    assert found
    _git(library, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"), head)
    for candidate in found:
        for way in ((), ("-R",)):
            command = ["git", "apply", "--whitespace=nowarn", *way, "-"]
            subprocess.run(command, input=candidate.patch.encode(), cwd=tmp_path / "tree", check=True)
    assert subprocess.run(["git", "diff", "--quiet"], cwd=tmp_path / "tree", check=False).returncode == 0
    _git(library, "worktree", "remove", "--force", str(tmp_path / "tree"))


def test_a_reader_that_stops_early_leaves_no_process(library: Library) -> None:
    git_dir = library.path / ".git"
    changes = list_changes(git_dir, commit_at(git_dir, "2030-01-01"), layout=_LAYOUT)
    stream = stream_diffs(git_dir, changes)
    assert next(stream)[0] == changes[0]
    stream.close()


def test_renamed_files_are_followed_to_today(tmp_path: Path) -> None:
    library = make_library(tmp_path / "ledger")
    _git(library, "mv", "ledger/amounts.py", "ledger/sums.py")
    _git(library, "commit", "-qm", "Rename the module")
    head = _git(library, "rev-parse", "HEAD").decode().strip()
    listed = list_candidates(library.path / ".git", head, layout=_LAYOUT)
    assert {f.today for item in listed for f in item.change.sources} == {"ledger/sums.py"}
    assert "exact" in {item.tier for item in listed}
