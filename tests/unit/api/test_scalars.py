"""Decimals are exact, days are days, and neither is ever taken from a number."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from repoexpert.api.scalars import DayText, DecimalText, Text

ANY = DecimalText(signed=True)


@given(
    sign=st.sampled_from(["", "-"]),
    whole=st.integers(min_value=0, max_value=10**15 - 1),
    fraction=st.text("0123456789", max_size=15),
    exponent=st.none() | st.integers(min_value=-99, max_value=99),
)
def test_a_decimal_is_exactly_what_was_written(sign: str, whole: int, fraction: str, exponent: int | None) -> None:
    text = f"{sign}{whole}" + (f".{fraction}" if fraction else "") + (f"e{exponent}" if exponent is not None else "")
    assert ANY.parse(text) == Decimal(text)
    assert float(text) == float(ANY.parse(text))  # so the CEL rules, which compare doubles, see the same number


@given(st.text())
def test_any_text_is_a_decimal_or_refused(text: str) -> None:
    try:
        assert ANY.parse(text).is_finite()
    except ValueError as error:
        assert "is not a decimal number" in str(error)  # noqa: PT017 - either outcome is right


REFUSED: dict[str, tuple[Any, str]] = {
    "a float": (1e-5, 'decimal numbers are strings here: write "1e-05" in quotes'),
    "a whole number": (1, 'decimal numbers are strings here: write "1" in quotes'),
    "a truth value": (True, 'must be a decimal number in quotes such as "0.5", not true'),
    "a list": ([], 'must be a decimal number in quotes such as "0.5", not a list'),
    "a word": ("fast", '"fast" is not a decimal number such as "0.5" or "1e-5"'),
    "not a number": ("nan", '"nan" is not a decimal number such as "0.5" or "1e-5"'),
    "a comma": ("0,5", '"0,5" is not a decimal number such as "0.5" or "1e-5"'),
    "a line end": ("0.5\n", '"0.5\\n" is not a decimal number such as "0.5" or "1e-5"'),
    "digits of another script": ("٣", '"٣" is not a decimal number such as "0.5" or "1e-5"'),
    "below its bound": ("0", "must be above 0 and at most 1, not 0"),
    "above its bound": ("1.1", "must be above 0 and at most 1, not 1.1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_decimal_is_refused_with_a_reason(case: str) -> None:
    value, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        DecimalText(above="0", at_most="1").parse(value)


@given(st.dates(min_value=date(1970, 1, 1)))
def test_every_day_since_1970_is_read_as_written(day: date) -> None:
    assert DayText().parse(day.isoformat()) == day


@pytest.mark.parametrize(
    "value",
    ["2021-02-29", "2020-1-1", "20200101", "2020-01-01T00:00:00", "1969-12-31", "", "٢٠٢٠-٠١-٠١", 20200101, None, True,
     datetime(2020, 1, 1)],
)  # fmt: skip
def test_what_is_no_day_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"day|1970"):
        DayText().parse(value)


@pytest.mark.parametrize("value", ["a\n", "", "abcd", "A", 1, None])
def test_text_must_fit_whole(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is|must"):
        Text(3, "^[a-z]+$", "is not lower case").parse(value)


def test_a_decimal_is_written_back_as_a_string() -> None:
    adapter: TypeAdapter[Decimal] = TypeAdapter(Annotated[Decimal, ANY])
    assert adapter.dump_json(Decimal("0.10")) == b'"0.10"'
    with pytest.raises(ValidationError):
        adapter.validate_json("0.1")
