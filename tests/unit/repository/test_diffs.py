"""Diffs as values: what Git prints is read, what we write Git applies, undoing is exact to the byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.repository.diffs import Hunk, changed_ranges, make_patch, parse_diff, split_lines, undo_hunks

_LINE = st.sampled_from(
    [b"a", b"b = 1", b"", b"\tx", b"--- a/x", b"@@ -1 +1 @@", b"crlf\r", b"\xc3\xa9 \xe2\x82\xac", b"\x0c", b"\\ No"]
)
_CONTENT = st.builds(
    lambda lines, end: b"\n".join(lines) + end, st.lists(_LINE, max_size=30), st.sampled_from([b"", b"\n"])
)


def _hunks(before: bytes, after: bytes) -> tuple[Hunk, ...]:
    files = parse_diff(make_patch({"f": (before, after)}).encode())
    return files[0].hunks if files else ()


@given(_CONTENT)
def test_lines_join_to_the_content(content: bytes) -> None:
    assert b"".join(split_lines(content)) == content


@given(_CONTENT, _CONTENT)
def test_ranges_turn_one_side_into_the_other(before: bytes, after: bytes) -> None:
    old, new = split_lines(before), split_lines(after)
    for _, a, b, c, d in reversed(changed_ranges(old, new)):
        old[a:b] = new[c:d]
    assert old == new


@given(_CONTENT, _CONTENT)
def test_undoing_every_hunk_gives_the_file_before_the_change(before: bytes, after: bytes) -> None:
    hunks = _hunks(before, after)
    if any(not hunk.after for hunk in hunks):
        return  # nothing is left to find the place by
    content, undone = undo_hunks(after, hunks)
    if len(undone) == len(hunks):
        redone, _ = undo_hunks(content, _hunks(after, before))
        assert (content, redone) == (before, after) or content.count(b"\n") == before.count(b"\n")


@given(st.lists(st.integers(0, 400), unique=True, min_size=12, max_size=60), st.data())
def test_undo_then_redo_gives_back_the_tree_byte_for_byte(numbers: list[int], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    last = data.draw(st.sampled_from([b"", end]))
    lines = [b"line %d \xc3\xa9" % n for n in numbers]
    before = end.join(lines) + last
    at = data.draw(st.integers(0, len(lines) - 1))
    after = end.join([*lines[:at], b"new", *lines[at + data.draw(st.integers(0, 1)) :]]) + last
    today = b"# moved\n" * data.draw(st.integers(0, 5)) + after
    undone, which = undo_hunks(today, _hunks(before, after))
    assert which == tuple(range(len(_hunks(before, after))))
    redone, _ = undo_hunks(undone, _hunks(after, before))
    assert redone == today


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"a\nb\n", b"a\nc\n", id="a changed line"),
        pytest.param(b"a\r\nb\r\n", b"a\r\nc\r\n", id="CRLF"),
        pytest.param(b"a\nb", b"a\nb\n", id="a final newline that is added"),
        pytest.param(b"a\nb\n", b"a\nc", id="a final newline that goes"),
        pytest.param(None, b"new\n", id="a new file"),
        pytest.param(b"old\n", None, id="a deleted file"),
        pytest.param(None, b"", id="a new empty file"),
        pytest.param("é\u2028x\x0c\n".encode(), "ü\u2028y\x0c\n".encode(), id="line separators that are no line ends"),
    ],
)
@pytest.mark.parametrize("path", ["plain.py", "with space.py", "déjà.py", 'quo"te.py'])
def test_git_applies_what_is_written(tmp_path: Path, before: bytes | None, after: bytes | None, path: str) -> None:
    if before is not None:
        (tmp_path / path).write_bytes(before)
    patch = make_patch({path: (before, after)}).encode()
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], input=patch, cwd=tmp_path, check=True)
    assert ((tmp_path / path).read_bytes() if (tmp_path / path).exists() else None) == after


def test_content_that_looks_like_a_header_stays_content() -> None:
    before, after = b"x\n-- a/file\n", b"x\n++ b/file\n@@ -1 +1 @@\ndiff --git a/q b/q\n"
    (file,) = parse_diff(make_patch({"f.py": (before, after)}).encode())
    assert (file.path, file.hunks[0].before, file.hunks[0].after) == ("f.py", before, after)


def test_renames_and_binaries_are_read() -> None:
    text = (
        b"diff --git a/old.py b/new.py\nsimilarity index 90%\nrename from old.py\nrename to new.py\n"
        b"--- a/old.py\n+++ b/new.py\n@@ -1 +1 @@\n-a\n+b\n"
        b"diff --git a/i.png b/i.png\nBinary files a/i.png and b/i.png differ\n"
    )
    moved, image = parse_diff(text)
    assert (moved.old_path, moved.path, len(moved.hunks), image.binary) == ("old.py", "new.py", 1, True)


def test_a_hunk_is_not_undone_inside_a_line() -> None:
    hunk = Hunk(1, 1, (b"-old\n", b"+x = 1\n"))
    assert undo_hunks(b"max = 1\n", [hunk]) == (b"max = 1\n", ())


def test_the_place_nearest_to_the_old_one_is_taken() -> None:
    hunk = Hunk(5, 5, (b"-old\n", b"+same\n"))
    assert undo_hunks(b"same\n1\n2\n3\nsame\n", [hunk])[0] == b"same\n1\n2\n3\nold\n"
