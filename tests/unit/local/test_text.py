from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.local.text import brief, duration, number, printable, words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (192, "3m12s"), (7500, "2h05m"), (-3, "0s")],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("value", "said"), [(1234567, "1,234,567"), (3.0, "3"), (0.123456, "0.123"), (1e-5, "1e-05")])
def test_numbers(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize("name", ["heldOutRows", "held_out_rows", "held-out-rows"])
def test_names_become_words(name: str) -> None:
    assert words(name) == "held out rows"


def test_the_first_plain_figures_of_a_summary_are_told() -> None:
    summary = {
        "proven": 38,
        "reasons": ["x"],
        "nothing": None,
        "passRate": {"base": {"heldout": 0.125}},
        "promoted": False,
        "text": "x" * 80,
        "teacher": "scripted",
        "more": 1,
    }
    assert brief(summary, most=4) == "proven 38 · pass rate base heldout 0.125 · promoted no · teacher scripted"
    assert brief({}) == ""


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    assert all(char.isprintable() or char in "\n\t" for char in printable(text))


def test_ordinary_text_is_left_alone() -> None:
    assert printable("Grüße, 你好\n\tx") == "Grüße, 你好\n\tx"
    assert printable("\x1b[2J\r") == "\\x1b[2J\\r"
