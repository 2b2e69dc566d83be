"""Scalar types of the API: decimals and dates as strings, names, commands, and the markers of list fields.

Kubernetes APIs ban floats, so decimals travel as strings and are exact here. Used by the sibling modules only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALUE_ERROR = "bad_value"
"""pydantic error type of the scalars below; the message is for people already."""

ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


def list_map(*keys: str) -> dict[str, Any]:
    """Schema marker of a list whose items are told apart by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


@dataclass(frozen=True)
class DecimalText:
    """A decimal number written as a string ("1e-5"), with optional bounds (themselves decimal strings)."""

    above: str | None = None
    at_least: str | None = None
    below: str | None = None
    at_most: str | None = None
    signed: bool = False

    @property
    def pattern(self) -> str:
        """Bounded digits: every match is finite as a CEL double and exact as a Decimal."""
        return ("^-?" if self.signed else "^") + r"[0-9]{1,15}(\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?$"

    @property
    def bounds(self) -> str:
        """The bounds in words, e.g. "above 0 and at most 1"; empty without bounds."""
        named = [("above", self.above), ("at least", self.at_least), ("below", self.below), ("at most", self.at_most)]
        return " and ".join(f"{word} {bound}" for word, bound in named if bound is not None)

    @property
    def cel(self) -> str:
        """The bounds as a CEL expression on the string; empty without bounds."""
        named = [(">", self.above), (">=", self.at_least), ("<", self.below), ("<=", self.at_most)]
        return " && ".join(f"double(self) {sign} {float(bound)}" for sign, bound in named if bound is not None)

    def parse(self, value: object) -> Decimal:
        """From a string, or from a Decimal in Python code; never from a number, whose digits YAML may already have bent."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise PydanticCustomError(
                VALUE_ERROR, 'decimal numbers are strings here: write "{value}" in quotes', {"value": str(value)}
            )
        if isinstance(value, bool) or not isinstance(value, str | Decimal):
            raise PydanticCustomError(
                VALUE_ERROR, 'must be a decimal number in quotes such as "0.5", not {value}', {"value": quoted(value)}
            )
        if isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise PydanticCustomError(
                VALUE_ERROR, '{value} is not a decimal number such as "0.5" or "1e-5"', {"value": quoted(value)}
            )
        number = Decimal(value)
        if not self._within(number):
            raise PydanticCustomError(
                VALUE_ERROR, "must be {bounds}, not {value}", {"bounds": self.bounds, "value": f"{value}"}
            )
        return number

    def _within(self, number: Decimal) -> bool:
        return (
            (self.above is None or number > Decimal(self.above))
            and (self.at_least is None or number >= Decimal(self.at_least))
            and (self.below is None or number < Decimal(self.below))
            and (self.at_most is None or number <= Decimal(self.at_most))
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "string", "pattern": self.pattern, "maxLength": 40}
        if self.cel:
            found["x-kubernetes-validations"] = [{"rule": self.cel, "message": f"must be {self.bounds}"}]
        return found


EPOCH = date(1970, 1, 1)
DAY_MESSAGE = "must not be before 1970"


@dataclass(frozen=True)
class DayText:
    """A calendar day since 1970, "YYYY-MM-DD", UTC."""

    pattern: str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

    def parse(self, value: object) -> date:
        """From "YYYY-MM-DD", or from a date in Python code."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            try:
                day = date.fromisoformat(value)
            except ValueError as error:
                raise PydanticCustomError(
                    VALUE_ERROR, '"{value}" is not a day of the calendar', {"value": value}
                ) from error
            if day < EPOCH:
                raise PydanticCustomError(VALUE_ERROR, DAY_MESSAGE)
            return day
        raise PydanticCustomError(
            VALUE_ERROR, 'must be a day written "YYYY-MM-DD", not {value}', {"value": quoted(value)}
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(date.isoformat, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # The rule is also what refuses a list: the API server's type check lets one pass where a format is given.
        rule = {"rule": f"self >= timestamp('{EPOCH}T00:00:00Z')", "message": DAY_MESSAGE}
        return {
            "type": "string",
            "format": "date",
            "pattern": self.pattern,
            "maxLength": 10,
            "x-kubernetes-validations": [rule],
        }


@dataclass(frozen=True)
class Text:
    """A string with a length, a pattern, and words for what the pattern means."""

    max_length: int
    pattern: str = ""
    hint: str = ""
    min_length: int = 1

    def parse(self, value: object) -> str:
        """The string itself; anything else is refused, a number with the advice to quote it."""
        if not isinstance(value, str):
            raise PydanticCustomError(VALUE_ERROR, "{why}", {"why": not_text(value)})
        if len(value) < self.min_length:
            raise PydanticCustomError(VALUE_ERROR, "must not be empty")
        if len(value) > self.max_length:
            raise PydanticCustomError(
                VALUE_ERROR,
                "is {length} characters long; at most {most} are allowed",
                {"length": len(value), "most": self.max_length},
            )
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise PydanticCustomError(
                VALUE_ERROR, "{value} {hint}", {"value": quoted(value), "hint": self.hint or "does not fit"}
            )
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "string", "maxLength": self.max_length}
        if self.min_length:
            found["minLength"] = self.min_length
        if self.pattern:
            found["pattern"] = self.pattern
        return found


def quoted(value: object) -> str:
    """A value as a message shows it: strings in quotes, cut at 64 characters, YAML's words for the rest."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list | tuple):
        return "a list" if isinstance(value, list | tuple) else "a mapping"
    text = str(value).replace("\n", "\\n")
    text = text if len(text) <= 64 else f"{text[:61]}..."
    return f'"{text}"' if isinstance(value, str) else text


def not_text(value: object) -> str:
    """Why a value that is not a string was refused where one is wanted."""
    if isinstance(value, bool | int | float):
        return f'must be a string: write "{quoted(value)}" in quotes'
    return f"must be a string, not {quoted(value)}"


Day = Annotated[date, DayText()]
Count = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
ObjectName = Annotated[
    str,
    Text(
        253,
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "is not a Kubernetes name: lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    ),
]
"""Name of another Kubernetes object (RFC 1123 subdomain)."""
Command = Annotated[str, Text(4096)]
"""One shell command line, or one argument of a command."""
