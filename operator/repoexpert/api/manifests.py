"""YAML text to plain values with line numbers, read the way `kubectl` reads it.

PyYAML's own loader differs from Kubernetes' where it matters: it makes dates of days, minutes of `1:30` and a string
of `1e-5`, accepts duplicate keys and forgets lines. Used by `validation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

MAX_NODES = 100_000
MAX_DEPTH = 64
TAG = "tag:yaml.org,2002:"
TAGS = ("map", "seq", "str", "null", "bool", "int", "float", "merge", "timestamp", "binary")


class WrittenFloat(float):
    """A YAML float that remembers how it was written, so that a message can repeat it ("3.10")."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        made = super().__new__(cls, text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Problem:
    """Something wrong in a manifest. `str()` gives the line that a user sees."""

    source: str
    line: int
    """Counted from 1; 0 when the file as a whole is meant."""
    path: str
    """"spec.training.loraRank"; empty when the document as a whole is meant."""
    message: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


@dataclass
class Document:
    """One YAML document."""

    source: str
    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def line(self, path: Path) -> int:
        """The line of a path, or of its nearest ancestor that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def report(self, path: Path, message: str, line: int | None = None) -> None:
        """Add a problem."""
        self.problems.append(Problem(self.source, line or self.line(path), dotted(path), message))


def dotted(path: Path) -> str:
    """("spec", "gate", 0, "metric") as "spec.gate[0].metric"."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class _Composer(yaml.SafeLoader):
    """SafeLoader with the implicit types of Kubernetes' YAML: no dates, no base 60, floats without a dot."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", list("yYnNtTfFoO")),
    ("int", r"[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Composer.add_implicit_resolver(f"{TAG}{_tag}", re.compile(rf"^(?:{_pattern})\Z"), _first)


def read_documents(text: str, source: str) -> Iterator[Document]:
    """The non-empty documents of a YAML stream. A syntax error ends the stream with a document that reports it."""
    try:
        for node in yaml.compose_all(text, Loader=_Composer):
            document = Document(source)
            document.value = _value(document, node, (), node.start_mark.line + 1, 0)
            if document.value is not None or document.problems:
                yield document
    except yaml.YAMLError as error:
        yield _broken(source, error)
    except RecursionError:
        yield Document(source, problems=[Problem(source, 0, "", "is nested too deeply to be a manifest")])


def _broken(source: str, error: yaml.YAMLError) -> Document:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    why = str(getattr(error, "problem", None) or error).splitlines()[0]
    if "'\\t'" in why:
        why = "a tab cannot indent YAML: use spaces"
    begin = getattr(error, "context_mark", None)
    if mark and begin and begin.line < mark.line:
        why = f"{why} ({getattr(error, 'context', None) or 'in what'}, which begins on line {begin.line + 1})"
    return Document(source, problems=[Problem(source, mark.line + 1 if mark else 0, "", f"is not valid YAML: {why}")])


def _value(document: Document, node: yaml.Node, path: Path, line: int, depth: int) -> Any:
    document.lines.setdefault(path, line)
    document.nodes += 1
    if depth > MAX_DEPTH or document.nodes > MAX_NODES:
        raise RecursionError
    if node.tag.removeprefix(TAG) not in TAGS:
        written = node.tag.replace(TAG, "!!")
        document.report(path, f"the YAML tag {written} is not understood: remove it")
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(document, node, path, depth)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(document, item, (*path, index), item.start_mark.line + 1, depth + 1)
            for index, item in enumerate(node.value)
        ]
    try:
        return _scalar(node) if isinstance(node, yaml.ScalarNode) else None
    except ValueError:  # an explicit tag on something else, such as `!!int x`
        document.report(path, f'"{node.value}" is not what its tag {node.tag.replace(TAG, "!!")} says')
        return None


def _mapping(document: Document, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = _joined(str(key_node.value)), key_node.start_mark.line + 1
        if key_node.tag == f"{TAG}merge":
            merged = _merge(document, value_node, path, depth) | merged
        elif not isinstance(key_node, yaml.ScalarNode):
            document.report(path, "a field's name must be a plain word", line)
        elif key in found:
            first = document.lines[(*path, key)]
            document.report((*path, key), f"is given twice (first on line {first}): keep one", line)
        else:
            found[key] = _value(document, value_node, (*path, key), line, depth + 1)
    return merged | found


def _merge(document: Document, node: yaml.Node, path: Path, depth: int) -> dict[str, Any]:
    """The fields that `<<: *anchor` brings in; earlier mappings win."""
    merged: dict[str, Any] = {}
    for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        value = _value(document, part, path, part.start_mark.line + 1, depth + 1)
        if not isinstance(value, dict):
            document.report(path, "<< must name a mapping", part.start_mark.line + 1)
            continue
        merged = value | merged
    return merged


def _scalar(node: yaml.ScalarNode) -> Any:
    text, kind = node.value, node.tag.removeprefix(TAG)
    if kind in ("str", "timestamp", "binary", "merge"):
        return _joined(text)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind == "int":
        return _integer(text)
    return WrittenFloat(text)


def _joined(text: str) -> str:
    """Escaped surrogate pairs, as JSON writes them, as the characters they stand for."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    if re.fullmatch(r"[-+]?0[0-7]+", digits):
        return int(digits, 8)
    return int(digits, 0)
