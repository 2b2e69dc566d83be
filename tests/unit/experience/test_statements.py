"""Statements: understandable, short, and without the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.experience.leaks import SHORTEST, Secrets, leaks, normal, redact, secrets_of
from repoexpert.experience.statements import Failure, Missing, change_text, observed, write_statement

_WORDS = st.text(st.sampled_from("ab .\n\t_(="), max_size=80)


@given(_WORDS, st.lists(_WORDS, max_size=4), st.lists(st.sampled_from(["test_a", "b.py", "ab"]), max_size=3))
def test_nothing_secret_survives(text: str, lines: list[str], names: list[str]) -> None:
    secrets = Secrets(frozenset(n for n in map(normal, lines) if len(n) >= SHORTEST), frozenset(names))
    assert leaks(redact(text, secrets), secrets) == []


@given(st.lists(st.sampled_from(["x = call(a, b)", "return the value", "if a and b:", "short"]), min_size=1), _WORDS)
def test_no_line_of_the_reference_is_in_a_statement(lines: list[str], body: str) -> None:
    patch = "--- a/m.py\n+++ b/m.py\n@@ -1 +1 @@\n" + "".join(f"-{line}\n+  {line} # new\n" for line in lines)
    secrets = secrets_of([patch], ["tests/test_m.py::TestM::test_it[1]"])
    text = write_statement(
        title=f"Make it so that {lines[0]}",
        body=f"{body}\n\n{' '.join(lines)} and more words. See test_it in tests/test_m.py for that.",
        names=["pkg.m.f"],
        failures={"t": Failure("ValueError", f"ValueError: {lines[-1]}")},
        missing=[],
        secrets=secrets,
    )
    flat = normal(text)
    assert not [line for line in lines if len(line) >= SHORTEST and line in flat]
    assert not {"test_it", "test_m.py", "TestM"} & set(flat.replace("`", " ").split())
    assert len(flat.split()) <= 130


def test_text_without_secrets_is_left_alone() -> None:
    text = "Fix the parser.\n\nWhat happens now:\n- `ValueError: bad` is raised."
    assert redact(text, Secrets(frozenset({"something else entirely"}), frozenset({"test_x"}))) == text


@pytest.mark.parametrize(
    ("title", "body", "expected"),
    [
        pytest.param("Release 1.2", "Notes", "", id="a release says nothing"),
        pytest.param("Bump version", "", "", id="a version bump says nothing"),
        pytest.param("v1.2.3", "", "", id="a version says nothing"),
        pytest.param("fix tests", "", "", id="a chore says nothing"),
        pytest.param("Changes for version 10.3.0", "", "", id="release notes say nothing"),
        pytest.param("Fix the parser (#12)", "", "Fix the parser.", id="numbers go"),
        pytest.param("Issue 821: key for all_equal", "", "key for all_equal.", id="a leading issue number goes"),
        pytest.param(
            "Handle empty input",
            "Fixes #12.\n\nAn empty list was not handled, see https://example.org/x for more.\n\n"
            "```\nf([])\n```\n\nCo-authored-by: A <a@b.c>\nSigned-off-by: B <b@b.c>",
            "Handle empty input.\n\nAn empty list was not handled, see for more.",
            id="links, trailers, code and closing words go",
        ),
    ],
)
def test_a_change_speaks_for_itself(title: str, body: str, expected: str) -> None:
    assert change_text(title, body) == expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure("TypeError", "TypeError: f() got an unexpected keyword argument 'x'"),
         "`TypeError: f() got an unexpected keyword argument 'x'` is raised."),
        (Failure("AssertionError", "AssertionError: assert 3 == 4\n +  where 3 = f(1)"),
         "The result is `3` but `4` is expected, where `3 = f(1)`."),
        (Failure("AssertionError", "AssertionError: Lists differ: [1] != [2]\n\nFirst"),
         "The result is `[1]` but `[2]` is expected."),
        (Failure("Failed", "Failed: DID NOT RAISE <class 'ValueError'>"),
         "No exception is raised where `ValueError` is expected."),
        (Failure("ValueError", "ValueError: <lib.Thing object at 0x7f12ab34cd> in /tmp/x/y"),
         "`ValueError: <lib.Thing object> in …` is raised."),
        (Failure("ImportError", "ImportError: cannot import name 'a' from 'b'", collecting=True),
         "Importing fails with `ImportError: cannot import name 'a' from 'b'`."),
    ],
)  # fmt: skip
def test_failures_are_described(failure: Failure, expected: str) -> None:
    assert observed([failure], limit=100) == [expected]


def test_a_missing_function_is_specified_by_its_signature_and_purpose() -> None:
    text = write_statement(
        title="Release 2.0", body="", names=["lib.take"], failures={"t": Failure("AttributeError", "AttributeError: no")},
        missing=[Missing("take(n, iterable)", "Return the first *n* items.")],
        secrets=secrets_of(['+def take(n, iterable):\n+    """Return the first *n* items."""\n'], ["t.py::test_take"]),
    )  # fmt: skip
    assert text.startswith(
        "`take(n, iterable)` is missing and should be there. What it does: return the first *n* items."
    )


def test_a_statement_that_says_nothing_is_none() -> None:
    text = write_statement(
        title="Release 2.0", body="", names=["lib.f"], failures={"t": Failure("ValueError", "ValueError: bad value given")},
        missing=[], secrets=secrets_of(["+raise ValueError: bad value given\n+bad value given\n"], []),
    )  # fmt: skip
    assert text == ""
