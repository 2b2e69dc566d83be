"""YAML is read as kubectl reads it, with the line of every field, and no text brings the reader down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.api.manifests import Document, read_documents


def read(text: str) -> list[Document]:
    return list(read_documents(text, "x.yaml"))


def problems(text: str) -> list[str]:
    return [str(problem) for document in read(text) for problem in document.problems]


VALUES: dict[str, tuple[str, Any]] = {
    "a day stays text": ("2020-12-31", "2020-12-31"),
    "a moment stays text": ("2020-12-31T10:00:00Z", "2020-12-31T10:00:00Z"),
    "a time stays text": ("1:30", "1:30"),
    "a number without a dot before the exponent is a number": ("1e-5", 1e-5),
    "a quoted number is text": ('"1e-5"', "1e-5"),
    "yes is true": ("yes", True),
    "off is false": ("off", False),
    "nothing is null": ("", None),
    "a tilde is null": ("~", None),
    "an octal number": ("0o17", 15),
    "an old octal number": ("017", 15),
    "leading zeros that are not octal": ("0089", 89.0),
    "hexadecimal": ("0x1F", 31),
    "a number with underscores": ("1_000", 1000),
    "a pair of escaped surrogates is one character": ('"\\ud83d\\ude00"', "\U0001f600"),
    "a tagged string": ("!!str 3.10", "3.10"),
    "a version with two dots is text": ("3.10.1", "3.10.1"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_is_read_as_kubernetes_reads_it(case: str) -> None:
    text, expected = VALUES[case]
    found = read(f"a: {text}\nb: 1\n")[0].value["a"]
    assert (float if isinstance(found, float) else type(found), found) == (type(expected), expected)


def test_a_float_remembers_how_it_was_written() -> None:
    assert str(read("a: 3.10")[0].value["a"]) == "3.10"


def test_every_field_and_item_knows_its_line() -> None:
    document = read("a:\n  b: 1\n  c:\n  - x\n  - y: 2\n")[0]
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "y"): 5,
    }
    assert document.line(("a", "c", 7, "z")) == 3


def test_lines_go_on_over_documents() -> None:
    first, second = read("a: 1\n---\n# nothing here\n---\nb: 2\n")
    assert (first.lines["a",], second.lines["b",]) == (1, 5)


def test_a_merge_fills_in_what_is_not_written() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nboth: {<<: [*base, *more], a: 9}\n"
    assert read(text)[0].value["both"] == {"a": 9, "b": 2, "c": 4}


PROBLEMS: dict[str, tuple[str, list[str]]] = {
    "a key given twice": ("a:\n  b: 1\n  b: 2\n", ["x.yaml:3: a.b: is given twice (first on line 2): keep one"]),
    "a tab": ("a:\n\tb: 1\n", ["x.yaml:2: is not valid YAML: a tab cannot indent YAML: use spaces"]),
    "a colon too many": ("a: b: c\n", ["x.yaml:1: is not valid YAML: mapping values are not allowed here"]),
    "an open bracket": ("a: [1, 2\nb: 3\n", ["x.yaml:2: is not valid YAML: expected ',' or ']', but got ':' (while parsing a flow sequence, which begins on line 1)"]),
    "an alias to nowhere": ("a: *b\n", ["x.yaml:1: is not valid YAML: found undefined alias 'b'"]),
    "a tag of Python's": (
        "a: !!python/object/apply:os.system [x]\n",
        ["x.yaml:1: a: the YAML tag !!python/object/apply:os.system is not understood: remove it"],
    ),
    "a tag that does not fit": ("a: !!int x\n", ['x.yaml:1: a: "x" is not what its tag !!int says']),
    "a merge of a word": ("a: {<<: b}\n", ["x.yaml:1: a: << must name a mapping"]),
    "a list as a key": ("? [a]\n: 1\n", ["x.yaml:1: a field's name must be a plain word"]),
    "an unprintable character": ("a: \x07\n", ["x.yaml: is not valid YAML: unacceptable character #x0007: special characters are not allowed"]),
    "brackets without end": ("[" * 1500, ["x.yaml: is nested too deeply to be a manifest"]),
    "an alias to itself": ("a: &a [*a]\n", ["x.yaml: is nested too deeply to be a manifest"]),
    "a million by aliases": (
        "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"{n}: &{n} [{','.join(['*' + p] * 9)}]\n" for p, n in zip("abcdef", "bcdefg", strict=True)),
        ["x.yaml: is nested too deeply to be a manifest"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_broken_text_is_reported_with_its_line(case: str) -> None:
    text, expected = PROBLEMS[case]
    assert problems(text) == expected


@given(st.text(alphabet=st.sampled_from(list("ab:-{}[]!&*<>|?%@`\"'#,~ \n\t1.0exX_"))))
def test_no_text_brings_the_reader_down(text: str) -> None:
    for document in read(text):
        assert document.value is not None or document.problems
