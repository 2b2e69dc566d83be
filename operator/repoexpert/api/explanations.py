"""pydantic's errors in words for whoever wrote the manifest: what is wrong and what to write instead.

Used by `validation` alone. No message here may speak of Python, pydantic or "inputs".
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from repoexpert.api.base import RULE_ERROR
from repoexpert.api.manifests import Path, dotted
from repoexpert.api.scalars import VALUE_ERROR, not_text, quoted
from repoexpert.api.schemas import annotation_at, field_names, is_model, item_of, model_at, walk


def explain_all(error: ValidationError, root: type[BaseModel]) -> list[tuple[Path, str]]:
    """The problems found when validating `root`: (path, message) each."""
    details = error.errors(include_url=False)
    inner = {detail["loc"][:-1] for detail in details}
    # A list whose items are all wrong is reported as too short as well; the items say enough.
    told = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in inner)]
    return [problem for detail in told for problem in _explain(detail, root)]


def _explain(error: ErrorDetails, root: type[BaseModel]) -> list[tuple[Path, str]]:
    path: Path = error["loc"]
    kind, value, context = error["type"], error.get("input"), error.get("ctx", {})
    if kind == RULE_ERROR:
        return [((*path, *name.split(".")) if name else path, message) for name, message in context["problems"]]
    if kind == VALUE_ERROR:
        return [(path, error["msg"])]
    if kind == "missing":
        return [(path, "is required" + _purpose(root, path))]
    if kind == "extra_forbidden":
        return [(path, _unknown_field(root, path))]
    if kind == "literal_error":
        return [(path, _one_of(_choices(root, path), value))]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return [(path, _not_fields(root, path, value))]
    if kind == "tuple_type":
        return [(path, _not_list(root, path, value))]
    return [(path, _type_or_bound(kind, value, context))]


def _type_or_bound(kind: str, value: Any, context: Mapping[str, Any]) -> str:
    bounds = {
        "greater_than_equal": "must be at least {ge}",
        "greater_than": "must be above {gt}",
        "less_than_equal": "must be at most {le}",
        "less_than": "must be below {lt}",
    }
    if kind in bounds:
        return f"{bounds[kind].format(**context)}, not {quoted(value)}"
    if kind in ("int_type", "int_from_float", "int_parsing"):
        return _not_whole(value)
    if kind in ("bool_type", "bool_parsing"):
        quotes = ": remove the quotes" if isinstance(value, str) and value.lower() in ("true", "false") else ""
        return f"must be true or false, not {quoted(value)}{quotes}"
    if kind == "string_type":
        return not_text(value)
    if kind == "too_long":
        return f"holds {context.get('actual_length', 'too many')} items; at most {context['max_length']} are allowed"
    if kind == "too_short":
        return f"must hold at least {context['min_length']} item" + ("s" if context["min_length"] > 1 else "")
    return f"is not a valid value: {quoted(value)}"


def _not_fields(root: type[BaseModel], path: Path, value: Any) -> str:
    model = model_at(root, path)
    names = ", ".join(field_names(model)) if model else "name: value"
    return f"must hold fields ({names}), not {quoted(value)}"


def _not_list(root: type[BaseModel], path: Path, value: Any) -> str:
    item = item_of(annotation_at(root, path))
    if is_model(item):
        return f"must be a list of items with the fields {', '.join(field_names(item))}, not {quoted(value)}"
    if isinstance(value, str) and "\n" not in value:
        return f"must be a list, not {quoted(value)}: write [{quoted(value)}]"
    return f'must be a list, each item on its own line after "- ", not {quoted(value)}'


def _not_whole(value: Any) -> str:
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return f"must be a whole number: remove the quotes around {quoted(value)}"
    return f"must be a whole number, not {quoted(value)}"


def suggestion(wrong: str, known: list[str]) -> str:
    """The known word nearest to a wrong one, as a question; empty when nothing is near."""
    plain = {_folded(word): word for word in known}
    folded = _folded(wrong)
    stem = folded.removesuffix("s")
    longer = [word for word in plain if len(stem) > 2 and word.startswith(stem)]
    around = [word for word in plain if len(stem) > 4 and stem in word]
    near = longer or around or difflib.get_close_matches(folded, plain, n=1, cutoff=0.6)
    return f'did you mean "{plain[near[0]]}"?' if near else ""


def _folded(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def _one_of(choices: list[str], value: Any) -> str:
    words = f"must be {choices[0]}" if len(choices) == 1 else f"must be one of {', '.join(choices)}"
    near = suggestion(value, choices) if isinstance(value, str) else ""
    return f"{words}, not {quoted(value)}" + (f"; {near}" if near else "")


def _unknown_field(root: type[BaseModel], path: Path) -> str:
    name = str(path[-1])
    model = model_at(root, path[:-1])
    known = field_names(model) if model else []
    near = suggestion(name, known)
    if near:
        return f"unknown field; {near}"
    homes = [dotted(found) for found in walk(root) if found[-1] == name and found[0] != "status"]
    if homes:
        return f"unknown field here; it belongs to {' or '.join(home.rpartition('.')[0] for home in homes[:3])}"
    return f"unknown field; the fields here are {', '.join(known)}" if known else "unknown field"


def _purpose(root: type[BaseModel], path: Path) -> str:
    model = model_at(root, path[:-1])
    for field in model.model_fields.values() if model else ():
        if field.alias == path[-1] and field.description:
            return f": {field.description.split('. ')[0].rstrip('.')}"
    return ""


def _choices(root: type[BaseModel], path: Path) -> list[str]:
    return [str(choice) for choice in get_args(annotation_at(root, path))]
