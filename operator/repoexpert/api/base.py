"""What every API type is made of: strict frozen models, rules shared by CEL and Python, and scalar types.

A rule that the structural schema cannot carry is written once as a `Rule`: the CEL text goes into the CRD, its Python
twin runs in a pydantic validator, so the API server and `repoexpert validate` refuse the same manifests with the same
words. Used by the sibling modules only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import PydanticCustomError

RULE_ERROR = "rule"
"""pydantic error type of a broken `Rule`; its context holds `problems`, a list of (field path, message)."""

NO_DEFAULT = "x-no-default"
"""Marks a field whose absence means something that a CRD default would hide: its class decides, or this version does."""


@dataclass(frozen=True)
class Rule:
    """One cross-field rule: `cel` for the API server, `holds` for Python, the same `message` from both."""

    cel: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""
    """camelCase name of the field to blame, empty for the object itself."""


@dataclass(frozen=True)
class TransitionRule:
    """A rule about an update: `holds(new, old)`. `repoexpert validate` sees one object and cannot apply it."""

    cel: str
    message: str
    holds: Callable[[Any, Any], bool]
    field: str


class ApiModel(BaseModel):
    """A part of a resource: unknown fields are refused, values never change, YAML names are camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
    )

    validations: ClassVar[tuple[Rule, ...]] = ()
    transitions: ClassVar[tuple[TransitionRule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """An empty key (`training:`) counts as absent, as the API server's pruning of nulls has it."""
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _apply_rules(self) -> Self:
        problems = [(rule.field, rule.message) for rule in self.validations if not rule.holds(self)] + self._repeated()
        if problems:
            text = "; ".join(f"{field}: {message}" if field else message for field, message in problems)
            raise PydanticCustomError(RULE_ERROR, "{text}", {"text": text, "problems": problems})
        return self

    def _repeated(self) -> list[tuple[str, str]]:
        """Repeated items of lists that are sets or maps, which the API server refuses as well."""
        problems = []
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            keys = extra.get("x-kubernetes-list-map-keys")
            if extra.get("x-kubernetes-list-type") in ("set", "map"):
                named = [to_snake(str(key)) for key in keys] if isinstance(keys, list) else []
                items = [tuple(getattr(item, key) for key in named) or (item,) for item in getattr(self, name)]
                again = sorted({" ".join(map(str, item)) for item in items if items.count(item) > 1})
                problems += [(field.alias or name, f"lists {item} more than once") for item in again]
        return problems


class OpenModel(ApiModel):
    """A part that the API server or a newer operator may add fields to: what is unknown is ignored."""

    model_config = ConfigDict(extra="ignore")
