from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from repoexpert.errors import BadInput, StageFailed
from repoexpert.storage import files
from repoexpert.storage.records import ArtifactKey
from repoexpert.storage.store import ArtifactStore, CorruptArtifact, open_store

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)


def key(stage: str = "tasks", digit: str = "a", name: str = "ledger") -> ArtifactKey:
    return ArtifactKey(namespace="default", name=name, stage=stage, fingerprint=digit * 64)


def write(store: ArtifactStore, which: ArtifactKey, content: dict[str, str]) -> None:
    with store.draft(which) as draft:
        for path, text in content.items():
            (draft.path / path).parent.mkdir(parents=True, exist_ok=True)
            (draft.path / path).write_text(text)
        draft.complete(summary={"n": len(content)}, upstream={"up": "b" * 64}, tools={"git": "2"}, now=NOW)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(str(tmp_path / "store"))


def test_an_artifact_comes_back_as_it_was_written(store: ArtifactStore) -> None:
    write(store, key(), {"a.txt": "one", "b/c/ü.txt": "two", "empty": ""})
    folder = store.fetch(key())
    assert {path: (folder / path).read_text() for path in ("a.txt", "b/c/ü.txt", "empty")} == {
        "a.txt": "one",
        "b/c/ü.txt": "two",
        "empty": "",
    }
    manifest = store.manifest(key())
    assert manifest is not None
    assert (manifest.summary, manifest.upstream, manifest.tools, manifest.created, manifest.size) == (
        {"n": 3},
        {"up": "b" * 64},
        {"git": "2"},
        NOW,
        6,
    )
    assert store.verify(key()) == []


def test_a_draft_is_no_artifact_until_it_is_complete(store: ArtifactStore) -> None:
    with store.draft(key()) as draft:
        (draft.path / "half").write_text("x")
    assert store.manifest(key()) is None
    assert [item.state for item in store.states()] == ["partial"]
    assert store.list() == []
    with pytest.raises(BadInput, match="no complete artifact"):
        store.fetch(key())
    assert store.verify(key()) == ["not complete: manifest.json is missing"]


def test_a_draft_that_was_left_is_found_again(store: ArtifactStore) -> None:
    with store.draft(key()) as draft:
        (draft.path / "half").write_text("x")
    with store.draft(key()) as draft:
        assert not draft.done
        assert (draft.path / "half").read_text() == "x"


def test_a_complete_artifact_is_not_made_again(store: ArtifactStore) -> None:
    write(store, key(), {"a": "first"})
    with store.draft(key()) as draft:
        assert draft.done
        manifest = draft.complete(summary={"n": 99}, upstream={}, tools={}, now=NOW)
    assert manifest.summary == {"n": 1}


def _append(path: Path) -> None:
    path.chmod(0o644)
    path.write_text(path.read_text() + "x")


def _flip(path: Path) -> None:
    path.chmod(0o644)
    path.write_text("X" + path.read_text()[1:])


DAMAGE = {
    "a longer file": (lambda root: _append(root / "a"), "a has 4 bytes instead of 3"),
    "another byte of the same size": (lambda root: _flip(root / "a"), "a has other content (sha256 differs)"),
    "a missing file": (lambda root: (root / "b/c").unlink(), "b/c is missing"),
    "a file too many": (lambda root: (root / "b/d").write_text(""), "b/d is not in the manifest"),
    "a link instead of a file": (
        lambda root: ((root / "a").unlink(), (root / "a").symlink_to("/etc/hostname")),
        "a is a link or a device: an artifact holds plain files only",
    ),
    "a folder that is a link": (
        lambda root: ((root / "b/c").unlink(), (root / "b").rmdir(), (root / "b").symlink_to("/etc")),
        "b is a link or a device: an artifact holds plain files only",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_on_read_and_the_message_mends_it(store: ArtifactStore, kind: str) -> None:
    damage, said = DAMAGE[kind]
    write(store, key(), {"a": "one", "b/c": "two"})
    root = store.fetch(key())
    damage(root)
    assert store.verify(key()) == [said]
    with pytest.raises(CorruptArtifact) as caught:
        store.fetch(key())
    assert said in str(caught.value)
    assert f"repoexpert artifacts rm {key()} --store {store.url}" in str(caught.value)
    store.remove(key())
    assert store.states() == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"format": 2}', b"\xff", json.dumps({"key": key("rollout").model_dump()}).encode()]
)
def test_an_unreadable_manifest_is_damage_not_absence(store: ArtifactStore, content: bytes) -> None:
    write(store, key(), {"a": "one"})
    path = store.fetch(key()) / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(CorruptArtifact, match="artifacts rm"):
        store.manifest(key())
    with pytest.raises(CorruptArtifact), store.draft(key()):
        pass
    assert [item.state for item in store.states()] == ["corrupt"]
    store.remove(key())


def test_the_manifest_of_another_artifact_is_refused(store: ArtifactStore) -> None:
    write(store, key(), {"a": "one"})
    write(store, key("rollout"), {"a": "one"})
    (store.fetch(key()) / "manifest.json").write_bytes((store.fetch(key("rollout")) / "manifest.json").read_bytes())
    with pytest.raises(CorruptArtifact, match="belongs to default/ledger/rollout/"):
        store.manifest(key())


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    expected = {"a": files.hash_file(path)}
    read: list[str] = []

    def hash_one(which: Path) -> files.FileEntry:
        read.append(which.name)
        return files.hash_file(which)

    verifier = files.Verifier(hash_one)
    assert [verifier.problems(tmp_path, expected) for _ in range(3)] == [[], [], []]
    assert read == ["a"]
    _flip(path)
    assert verifier.problems(tmp_path, expected) == ["a has other content (sha256 differs)"]
    assert read == ["a", "a"]


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("a link", lambda folder: (folder / "x").symlink_to("/etc/passwd")),
        ("a link within", lambda folder: (folder / "x").symlink_to("a")),
        ("a pipe", lambda folder: os.mkfifo(folder / "x")),
        ("a name that is not UTF-8", lambda folder: (Path(os.fsdecode(bytes(folder) + b"/\xff"))).write_text("")),
    ],
)
def test_a_draft_with_something_else_than_plain_files_is_not_completed(
    store: ArtifactStore, kind: str, make: object
) -> None:
    with store.draft(key()) as draft:
        (draft.path / "a").write_text("")
        make(draft.path)  # type: ignore[operator]
        with pytest.raises(StageFailed):
            draft.complete(summary={}, upstream={}, tools={}, now=NOW)
    assert store.manifest(key()) is None


def test_a_stage_cannot_write_the_manifest_itself(store: ArtifactStore) -> None:
    with store.draft(key()) as draft:
        (draft.path / "manifest.json").write_text("{}")
        with pytest.raises(StageFailed, match="that name belongs to the store"):
            draft.complete(summary={}, upstream={}, tools={}, now=NOW)


def test_listing_selects_by_the_parts_of_the_key(store: ArtifactStore) -> None:
    for which in (key(), key(digit="b"), key("rollout"), key(name="other")):
        write(store, which, {"a": ""})
    store.write_record("default", "ledger", "current", {"model": "x"})
    assert {str(manifest.key) for manifest in store.list(name="ledger", stage="tasks")} == {
        str(key()),
        str(key(digit="b")),
    }
    assert len(store.list("default")) == 4
    assert store.list("elsewhere") == []


def test_records_are_replaced_whole(store: ArtifactStore) -> None:
    assert store.read_record("default", "ledger", "current") is None
    store.write_record("default", "ledger", "current", {"model": "x", "old": 1})
    store.write_record("default", "ledger", "current", {"model": "y"})
    assert store.read_record("default", "ledger", "current") == {"model": "y"}


def test_a_damaged_record_is_named(store: ArtifactStore, tmp_path: Path) -> None:
    store.write_record("default", "ledger", "current", {})
    (tmp_path / "store/default/ledger/current.json").write_text("{")
    with pytest.raises(CorruptArtifact, match=r"default/ledger/current\.json is not JSON"):
        store.read_record("default", "ledger", "current")


def test_reading_a_store_that_is_not_there_makes_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    assert (store.manifest(key()), store.list(), store.read_record("default", "ledger", "current")) == (None, [], None)
    assert store.holder("default", "ledger") is None
    assert not (tmp_path / "store").exists()


def test_removing_what_is_not_there_or_being_written_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(BadInput, match="has no artifact"):
        store.remove(key())
    with store.draft(key()), pytest.raises(BadInput, match=f"being written by process {os.getpid()}"):
        store.remove(key())


def test_a_store_whose_path_is_a_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="a file, not a folder"), open_store(str(tmp_path / "file")).draft(key()):
        pass


def test_what_is_left_of_a_kill_while_the_manifest_was_written_is_not_hashed(store: ArtifactStore) -> None:
    with store.draft(key()) as draft:
        (draft.path / "a").write_text("one")
        draft.path.with_name(f".{draft.path.name}.manifest").write_text("{")
        manifest = draft.complete(summary={}, upstream={}, tools={}, now=NOW)
    assert list(manifest.files) == ["a"]
    assert not list(draft.path.parent.glob(".*"))


def test_finished_files_are_read_only(store: ArtifactStore) -> None:
    write(store, key(), {"a": "one"})
    assert (store.fetch(key()) / "a").stat().st_mode & 0o222 == 0
