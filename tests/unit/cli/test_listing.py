from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.cli.listing import cell, size, table

ROWS = [{"id": "a", "steps": 5, "title": "one"}, {"id": "long-id", "steps": 12000, "title": "two\nlines"}]


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    assert table(ROWS, ("id", "steps", "title"), width=None) == [
        "ID        STEPS  TITLE",
        "a             5  one",
        "long-id  12,000  two lines",
    ]


def test_on_a_terminal_long_lines_are_cut() -> None:
    assert table(ROWS, ("id", "title"), width=12) == ["ID       TI…", "a        one", "long-id  tw…"]


@given(st.text())
def test_a_cell_is_one_printable_line(text: str) -> None:
    assert cell(text).isprintable() or cell(text).replace("\t", "").isprintable()


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_400_000, "3.4 MB"), (5e15, "5000.0 TB")]
)
def test_sizes(count: int, said: str) -> None:
    assert size(count) == said
