"""Taking test functions out of test files, and telling which tests an answer wrote."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.experience.suite_edits import defined_tests, remove_tests, written_tests

_FILE = b"""\
import pytest

VALUES = [1, 2]


# about one
@pytest.mark.parametrize("v", VALUES)
def test_one(v):
    assert v


class TestTwo:
    \"\"\"Doc.\"\"\"

    def test_a(self):
        assert 1

    def test_b(self):
        assert 2


class Base:
    def test_shared(self):
        assert 3


class TestChild(Base):
    pass


def test_last():
    assert 4
"""


@pytest.mark.parametrize(
    ("names", "gone", "kept"),
    [
        pytest.param({"test_one"}, [b"test_one", b"about one", b"parametrize"], [b"test_a", b"VALUES"], id="a decorated function"),
        pytest.param({"TestTwo.test_a"}, [b"test_a"], [b"TestTwo", b"test_b"], id="a method"),
        pytest.param({"TestTwo.test_a", "TestTwo.test_b"}, [b"TestTwo"], [b"test_one"], id="a class that is left empty"),
        pytest.param({"TestChild.test_shared"}, [b"test_shared"], [b"TestChild"], id="an inherited test"),
        pytest.param({"test_last"}, [b"test_last"], [b"TestChild"], id="the last function"),
    ],
)  # fmt: skip
def test_test_functions_are_removed(names: set[str], gone: list[bytes], kept: list[bytes]) -> None:
    result = remove_tests(_FILE, names)
    assert result is not None
    ast.parse(result)
    assert [word for word in gone if word in result] == []
    assert [word for word in kept if word not in result] == []


def test_a_test_that_is_not_there_cannot_be_removed() -> None:
    assert remove_tests(_FILE, {"test_generated"}) is None


@given(st.sets(st.sampled_from(["test_one", "TestTwo.test_a", "TestTwo.test_b", "Base.test_shared", "test_last"])))
def test_exactly_the_named_tests_go(names: set[str]) -> None:
    result = remove_tests(_FILE, names)
    # Base would be left empty and goes; its heir cannot stand without it, which the proof's run shows.
    assert result is None or set(defined_tests(_FILE)) - names == set(defined_tests(result))


def test_written_tests_are_new_or_changed_ones() -> None:
    after = (
        _FILE.replace(b"assert 4", b"assert 5").replace(b"assert 1", b"assert 1  # same")
        + b"\ndef test_new():\n    pass\n"
    )
    assert written_tests(_FILE, after) == ["test_last", "test_new"]
    assert written_tests(None, b"def test_x():\n    pass\n\ndef helper():\n    pass\n") == ["test_x"]


def test_a_test_that_nests_too_deep_is_compared_as_text() -> None:
    deep = b"def test_sum():\n    assert " + b" + ".join([b"1"] * 1500) + b" == 1500\n"
    assert written_tests(deep, deep) == []
    assert written_tests(deep, deep.replace(b"== 1500", b"!= 1500")) == ["test_sum"]
