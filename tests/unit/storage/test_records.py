from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from repoexpert.storage.keys import parse_key, record_file
from repoexpert.storage.records import ArtifactKey, Manifest, is_inside

KEY = ArtifactKey(namespace="default", name="a", stage="tasks", fingerprint="0" * 64)
ENTRY = {"size": 0, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "", "a\0b", ".."],
)
def test_a_manifest_refuses_a_path_that_is_absolute_or_leaves_the_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="leaves the artifact"):
        Manifest(key=KEY, created=datetime(2024, 1, 1, tzinfo=UTC), files={path: ENTRY})  # type: ignore[dict-item]


def test_a_manifest_refuses_a_root_that_leaves_the_folder() -> None:
    with pytest.raises(ValidationError, match="leaves the artifact"):
        Manifest(key=KEY, created=datetime(2024, 1, 1, tzinfo=UTC), files={}, root="../other")


@given(st.lists(st.text("ab.-_ ü", min_size=1).filter(lambda part: part not in (".", "..")), min_size=1))
def test_plain_relative_paths_are_inside(parts: list[str]) -> None:
    assert is_inside("/".join(parts))


@given(st.text())
def test_what_parses_as_a_key_prints_as_the_same_path(path: str) -> None:
    key = parse_key(path)
    assert key is None or str(key) == path


def test_a_printed_key_parses_back() -> None:
    assert parse_key(str(KEY)) == KEY


@pytest.mark.parametrize("path", ["a/b/c", f"A/b/tasks/{'0' * 64}", f"a/../tasks/{'0' * 64}", f"a/b/tasks/{'0' * 63}"])
def test_other_paths_are_no_keys(path: str) -> None:
    assert parse_key(path) is None


@pytest.mark.parametrize("record", ["../x", "a/b", "", "A", ".hidden"])
def test_a_record_cannot_be_named_out_of_its_folder(record: str) -> None:
    with pytest.raises(ValueError, match="record name"):
        record_file("default", "a", record)
