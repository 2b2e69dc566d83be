"""Walking the models: fields by YAML name, the model at a path, every model of a resource.

Used by the CRD generator, by explanations of errors, and by tests that must see every field or rule.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from repoexpert.api.base import ApiModel
from repoexpert.api.manifests import Path


def bare(annotation: Any) -> Any:
    """An annotation without Annotated[...] and without "or None"."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


def item_of(annotation: Any) -> Any:
    """What a list holds, None for anything else."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is tuple else None


def is_model(annotation: Any) -> bool:
    """Whether an annotation is one of the API's objects."""
    return isinstance(annotation, type) and issubclass(annotation, ApiModel)


def field_names(model: type[BaseModel]) -> list[str]:
    """The YAML names of a model's fields."""
    return [field.alias or name for name, field in model.model_fields.items()]


def annotation_at(root: type[BaseModel], path: Path) -> Any:
    """What is expected at a path, None where nothing is known."""
    annotation: Any = root
    for part in path:
        annotation = item_of(annotation) if isinstance(part, int) else _field(annotation, part)
    return annotation


def model_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that describes the object at a path, None where there is none."""
    annotation = annotation_at(root, path)
    return annotation if is_model(annotation) else None


def _field(annotation: Any, alias: str) -> Any:
    if is_model(annotation):
        for field in annotation.model_fields.values():
            if field.alias == alias:
                return bare(field.annotation)
    return None


def walk(model: type[BaseModel], prefix: Path = ()) -> Iterator[Path]:
    """Every field below a model by YAML names, sections before what they hold; items of lists are not entered."""
    for name, field in model.model_fields.items():
        path = (*prefix, field.alias or name)
        yield path
        inner = bare(field.annotation)
        if is_model(inner):
            yield from walk(inner, path)


def models_below(root: type[ApiModel]) -> list[type[ApiModel]]:
    """A model and every model that it holds, in lists as well, each once."""
    found: list[type[ApiModel]] = []
    pending = [root]
    while pending:
        model = pending.pop(0)
        if model not in found:
            found.append(model)
            annotations = [bare(field.annotation) for field in model.model_fields.values()]
            inner = [annotation if is_model(annotation) else item_of(annotation) for annotation in annotations]
            pending.extend(annotation for annotation in inner if is_model(annotation))
    return found
