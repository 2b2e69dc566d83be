"""Undoing changes: each tier does what it says, and what it gives parses and behaves otherwise."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.repository.diffs import make_patch, parse_diff
from repoexpert.repository.merging import merge_lines, merge_source
from repoexpert.repository.mining import Change, ChangedFile
from repoexpert.repository.reversal import Part, parts_of
from repoexpert.repository.symbol_undo import Today, drop_exports, merge_symbol


def _parts(
    before: dict[str, str], after: dict[str, str], today: dict[str, str], moved: dict[str, str] | None = None
) -> list[Part]:
    """Parts of the change `before` → `after` undone in `today`; blob ids are the contents' own places."""
    blobs: dict[str, bytes] = {}

    def blob(text: str | None) -> str | None:
        if text is None:
            return None
        blobs[text] = dedent(text).encode()
        return text

    files = tuple(
        ChangedFile(p, p, blob(before.get(p)), blob(after.get(p)), "source", (moved or {}).get(p, p))
        for p in sorted({*before, *after})
    )
    change = Change("c" * 40, "p" * 40, "t", "", None, datetime(2024, 1, 1, tzinfo=UTC), files, ("c" * 40,))
    texts = {p: dedent(t).encode() for p, t in today.items()}
    old = {p: dedent(t).encode() for p, t in before.items()}
    new = {p: dedent(t).encode() for p, t in after.items()}
    patch = make_patch({p: (old.get(p), new.get(p)) for p in {*old, *new}}).encode()
    diffs = {d.path or d.old_path or "": d for d in parse_diff(patch)}
    return parts_of(change, diffs, Today(sorted(texts), texts.get), dict(today.items()), blobs.get)


_BEFORE = "def f(a):\n    return a\n"
_AFTER = "def f(a):\n    return a + 1\n"


def test_a_change_that_is_still_there_reverses_exactly() -> None:
    (part,) = _parts({"m.py": _BEFORE}, {"m.py": _AFTER}, {"m.py": "import os\n\n\n" + _AFTER})
    assert (part.name, part.tier, part.symbols) == ("", "exact", ("m.py::f",))
    assert part.files == {"m.py": b"import os\n\n\n" + _BEFORE.encode()}


def test_changed_neighbours_need_a_three_way_merge() -> None:
    lines = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6\ng = 7\n"
    today = lines.replace("b = 2", "b = 20").replace("d = 4", "d = 40")
    part = _parts({"m.py": lines}, {"m.py": lines.replace("d = 4", "d = 40")}, {"m.py": today})[0]
    assert (part.tier, part.files["m.py"]) == ("three-way", today.replace("d = 40", "d = 4").encode())


def test_hunks_that_still_fit_are_undone_without_the_others() -> None:
    gap = "".join(f"x{n} = {n}\n" for n in range(12))
    before, after = f"a = 1\n{gap}z = 1\n", f"a = 2\n{gap}z = 2\n"
    parts = _parts({"m.py": before}, {"m.py": after}, {"m.py": after.replace("z = 2", "zz = 99")})
    assert [(p.name, p.tier) for p in parts] == [("hunks", "hunks")]
    assert parts[0].files["m.py"] == f"a = 1\n{gap}zz = 99\n".encode()


def test_a_reformatted_function_is_undone_by_its_logical_lines() -> None:
    before = "def f(a, b):\n    x = call(a, 'k')\n    return x\n"
    after = "def f(a, b):\n    x = call(a, 'k')\n    x += b\n    return x\n"
    today = 'def f(a, b):\n    # why\n    x = call(\n        a,\n        "k",\n    )\n    x += b\n    return x\n'
    (part,) = _parts({"m.py": before}, {"m.py": after}, {"m.py": today})
    assert part.tier == "symbols" or part.tier == "exact"
    assert part.files["m.py"] == today.replace("    x += b\n", "").encode()


def test_a_function_that_moved_to_another_file_is_found() -> None:
    body = "def steady(a):\n    b = a * 2\n    c = b + 1\n    return c\n"
    old = body.replace("a * 2", "a * 3")
    parts = _parts({"m.py": old}, {"m.py": body}, {"m.py": "x = 1\n", "n.py": "y = 1\n\n\n" + body})
    assert [(p.name, p.symbols) for p in parts] == [("symbol:n.py::steady", ("n.py::steady",))]


def test_independent_functions_of_one_change_are_parts_of_their_own() -> None:
    one, two = "def one(a):\n    return a{}\n", "def two(a):\n    return a{}\n"
    before, after = one.format("") + "\n\n" + two.format(""), one.format(" + 1") + "\n\n" + two.format(" + 2")
    parts = _parts({"m.py": before}, {"m.py": after}, {"m.py": after})
    assert [p.name for p in parts] == ["", "symbol:m.py::one", "symbol:m.py::two"]


def test_functions_that_need_each_other_stay_together() -> None:
    before = "def use(a):\n    return a\n"
    after = "def helper(a):\n    return a + 1\n\n\ndef use(a):\n    return helper(a)\n"
    names = [
        (p.name, sorted(p.symbols))
        for p in _parts({"m.py": before}, {"m.py": after}, {"m.py": "z = 1\n\n\n" + after + "\n\ny = 2\n"})
    ]
    assert any(symbols == ["m.py::helper", "m.py::use"] for _, symbols in names)
    assert not any(symbols == ["m.py::helper"] for _, symbols in names)


def test_an_added_function_takes_its_export_along() -> None:
    before = "__all__ = ['a']\n\n\ndef a():\n    return 1\n"
    after = "__all__ = ['a', 'b']\n\n\ndef a():\n    return 1\n\n\ndef b():\n    return 2\n"
    today = after.replace("return 2", "return 3").replace("['a', 'b']", "[\n    'a',\n    'b',\n]")
    part = _parts({"p/m.py": before}, {"p/m.py": after}, {"p/m.py": today, "p/__init__.py": "from .m import a, b\n"})[
        -1
    ]
    assert part.removes
    assert part.files == {
        "p/m.py": b"__all__ = [\n    'a',\n]\n\n\ndef a():\n    return 1\n",
        "p/__init__.py": b"from .m import a\n",
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("def f():\n    return 1\n", "def f():\n    # said\n    return 1\n", id="a comment"),
        pytest.param("def f():\n    return 1\n", 'def f():\n    """Doc."""\n    return 1\n', id="a docstring"),
        pytest.param("import a\nx = 1\n", "import b\nx = 1\n", id="imports alone"),
    ],
)
def test_changes_without_behaviour_are_no_candidates(before: str, after: str) -> None:
    assert _parts({"m.py": before}, {"m.py": after}, {"m.py": after}) == []


def test_files_that_are_not_utf8_or_no_python_are_left_alone() -> None:
    assert _parts({"m.py": "x = 1\n"}, {"m.py": "x = 2\n"}, {"m.py": "x = 2\nprint 1\n"}) == []


@given(
    st.lists(st.sampled_from(["a = 1", "b = 2", "if a:\n    c = 3", "d = f(4,\n  5)", "# note", ""]), max_size=12),
    st.data(),
)
def test_merging_with_an_unchanged_side_gives_the_other(lines: list[str], data: st.DataObject) -> None:
    base = "\n".join(lines) + "\n"
    other = "\n".join(data.draw(st.permutations(lines))) + "\n"
    assert merge_lines(base.encode(), base.encode(), other.encode()) == other.encode()
    assert merge_lines(base.encode(), other.encode(), base.encode()) == other.encode()


@given(st.integers(0, 4), st.integers(0, 4))
def test_source_merges_are_python_or_nothing(mine: int, theirs: int) -> None:
    lines = ["def f(a):\n", "    b = a\n", "    for x in b:\n", "        yield x\n", "    return\n"]
    ours = "".join([*lines[:mine], "    # mine\n" if mine else "", *lines[mine:]])
    other = "".join(line.replace("a", "q") if at == theirs else line for at, line in enumerate(lines))
    merged = merge_symbol("".join(lines).encode(), ours.encode(), other.encode())
    if merged is not None:
        ast.parse(merged)


def test_an_unmergeable_source_gives_nothing_or_a_part() -> None:
    assert list(merge_source("x = 1\n", "x = 2\n", "x = 3\n")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"from .m import a, b, c\n", b"from .m import a, c\n"),
        (b"from .m import b\nx = 1\n", b"x = 1\n"),
        (b"from .m import (\n    a,\n    b,\n)\n", b"from .m import (\n    a,\n)\n"),
        (b"__all__ = ['a', 'b']\n", b"__all__ = ['a']\n"),
        (b"__all__ = ('b', 'a', 'c')\n", b"__all__ = ('a', 'c')\n"),
        (b"x = ['b']\n", b"x = ['b']\n"),
    ],
)
def test_exports_are_dropped(source: bytes, expected: bytes) -> None:
    assert drop_exports(source, {"b"}) == expected
