"""ms-swift's argument classes read as text: the Megatron ones cannot be imported without a GPU stack."""

from __future__ import annotations

import ast
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_ALIASES = {
    "HfTrainingArguments": "TrainingArguments@transformers",
    "HfSeq2SeqTrainingArguments": "Seq2SeqTrainingArguments@transformers",
}
_SOURCES = {
    "swift": ["arguments", "megatron/arguments", "trainers/arguments.py", "ray_utils/arguments.py"],
    "transformers": ["training_args.py", "training_args_seq2seq.py"],
}
_OWN_IMPORTS = {"Seq2SeqTrainingArguments@transformers": "TrainingArguments@transformers"}


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def _classes() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Class name to (bases, field name to annotation text)."""
    found: dict[str, tuple[list[str], dict[str, str]]] = {}
    for package, places in _SOURCES.items():
        suffix = "@transformers" if package == "transformers" else ""
        for place in places:
            path = _package(package) / place
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                for node in ast.parse(file.read_text(encoding="utf-8")).body:
                    if isinstance(node, ast.ClassDef):
                        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                        fields = {
                            item.target.id: ast.unparse(item.annotation)
                            for item in node.body
                            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                        }
                        found[node.name + suffix] = (bases, fields)
    return found


def fields_of(name: str) -> dict[str, str]:
    """Every field of the class and its bases, with its annotation."""
    bases, fields = _classes().get(name, ([], {}))
    merged: dict[str, str] = {}
    for base in reversed(bases):
        known = (
            _OWN_IMPORTS.get(name) if base == "TrainingArguments" and name in _OWN_IMPORTS else _ALIASES.get(base, base)
        )
        merged |= fields_of(known or base)
    return merged | fields


def parses(annotation: str, value: str) -> bool:
    """Whether a command line's `value` is one of `annotation`, as HfArgumentParser reads it."""
    if annotation.strip("'\"") != annotation:
        return parses(annotation.strip("'\""), value)
    tree = ast.parse(annotation, mode="eval").body
    return _matches(tree, value)


def _matches(tree: ast.expr, value: str) -> bool:
    if isinstance(tree, ast.BinOp):
        return _matches(tree.left, value) or _matches(tree.right, value)
    if isinstance(tree, ast.Subscript):
        name = ast.unparse(tree.value)
        inner = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        if name == "Literal":
            return value in {str(part.value) for part in inner if isinstance(part, ast.Constant)}
        if name in {"dict", "Dict"}:
            return _is_json_object(value)
        return any(_matches(part, value) for part in inner)
    return _scalar(ast.unparse(tree), value)


def _scalar(kind: str, value: str) -> bool:
    if kind == "bool":
        return value in {"true", "false"}
    if kind in {"int", "float"}:
        try:
            {"int": int, "float": float}[kind](value)
        except ValueError:
            return False
        return True
    if kind in {"dict", "Dict"}:
        return _is_json_object(value)
    return kind not in {"None", "type(None)"}


def _is_json_object(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False
