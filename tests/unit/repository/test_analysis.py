"""What files define and import, and when two versions of one behave alike."""

from __future__ import annotations

import pytest

from repoexpert.repository.analysis import (
    ImportGraph,
    imports_of,
    location_of_test,
    module_name,
    same_behaviour,
    symbols_of,
)

_SOURCE = b"""\
LIMIT = 3

@decorator
def one():
    def inner(): ...

class A:
    x: int = 1

    def one(self): ...

    @property
    def p(self): ...

    @p.setter
    def p(self, value): ...
"""


def test_symbols_have_qualified_names_and_whole_lines() -> None:
    found = symbols_of(_SOURCE) or {}
    assert {name: (s.kind, s.first, s.last) for name, s in found.items()} == {
        "LIMIT": ("assignment", 0, 1),
        "one": ("function", 2, 5),
        "A": ("class", 6, 16),
        "A.x": ("assignment", 7, 8),
        "A.one": ("function", 9, 10),
        "A.p": ("function", 11, 13),
        "A.p#2": ("function", 14, 16),
    }


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(b"# note\ndef f(a):\n    return  a\n", True, id="comments and blanks"),
        pytest.param(b'def f(a):\n    """Doc."""\n    return a\n', True, id="a docstring"),
        pytest.param(b"def f(a):\n    return a + 1\n", False, id="an expression"),
        pytest.param(b"def f(a, b=1):\n    return a\n", False, id="a parameter"),
        pytest.param(b"def f(a:\n", None, id="no Python"),
    ],
)
def test_behaviour_is_compared_without_layout(other: bytes, same: bool | None) -> None:
    assert same_behaviour(b"def f(a):\n    return a\n", other) is same


def test_a_lenient_comparison_looks_past_imports_and_versions() -> None:
    assert same_behaviour(
        b"import a\n__version__ = '1'\nx = 1\n", b"import b\n__version__ = '2'\nx = 1\n", lenient=True
    )
    assert not same_behaviour(b"import a\nx = 1\n", b"import a\nx = 2\n", lenient=True)


def test_lone_carriage_returns_are_not_understood() -> None:
    assert symbols_of(b"x = 1\ry = 2\n") is None


def test_relative_imports_are_resolved() -> None:
    source = b"from . import a\nfrom ..x import y\nimport z.w\n"
    assert imports_of(source, "p.q.m", False) == {"p.q", "p.q.a", "p.x", "p.x.y", "z.w"}
    assert imports_of(b"from .m import a\n", "p", True) == {"p.m", "p.m.a"}


def test_the_graph_gives_the_distance_to_what_changed() -> None:
    files = {
        "src/p/__init__.py": b"from .a import f\n",
        "src/p/a.py": b"",
        "tests/test_p.py": b"import p\n",
        "tests/test_other.py": b"import json\n",
    }
    found = ImportGraph.build(files, ["src"]).distances(["src/p/a.py"])
    assert found == {"src/p/a.py": 0, "src/p/__init__.py": 1, "tests/test_p.py": 2}


def test_module_names_leave_out_the_source_root() -> None:
    assert [module_name(p, ["src"]) for p in ("src/p/__init__.py", "src/p/m.py", "p.py")] == ["p", "p.m", "p"]


def test_a_node_id_is_a_path_and_a_qualified_name() -> None:
    assert location_of_test("tests/test_a.py::TestX::test_y[a::b]") == ("tests/test_a.py", "TestX.test_y")


def test_code_that_nests_too_deep_is_not_compared() -> None:
    deep = b"x = " + b" + ".join([b"1"] * 1500) + b"\n"
    assert same_behaviour(deep, deep.replace(b"x", b"y")) is None
    assert same_behaviour(b"a = 1\n" + deep, b"a = 2\n" + deep) is False
