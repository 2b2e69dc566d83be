"""Canonical JSON of a spec: equal meaning gives equal bytes, whatever the order, process or spelling.

`"1e-5"` equals `"0.00001"`, a list that is a set or a map has no order, and an absent value equals a field that does
not exist, so that a new optional field leaves the fingerprints of existing specs alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic.fields import FieldInfo

from repoexpert.api.base import ApiModel


def plain(value: Any) -> Any:
    """An API value as JSON types, in canonical form."""
    if isinstance(value, ApiModel):
        return _plain_model(value)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, str | int | bool):
        return value
    raise TypeError(f"no canonical form for {type(value).__name__}: {value!r}")


def _plain_model(model: ApiModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is not None:
            found[field.alias or name] = _unordered(plain(value), field)
    return found


def _unordered(value: Any, field: FieldInfo) -> Any:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if extra.get("x-kubernetes-list-type") in ("set", "map"):
        return sorted(value, key=encode)
    return value


def at(document: dict[str, Any], path: str) -> Any:
    """The value at a dotted path, None where it is absent."""
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def select(document: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Path to value for the paths that hold something."""
    return {path: value for path in paths if (value := at(document, path)) is not None}


def encode(value: Any) -> str:
    """JSON text with sorted keys, ASCII only and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
