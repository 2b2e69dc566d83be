"""What Python files define, import and are tested by. Pure.

Called by reversal (what a change touched), by task making (which tests look at it, which test functions to remove)
and by verification (which tests an answer wrote).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

SymbolKind = Literal["function", "class", "assignment"]
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Symbol:
    """A named top-level statement or class member. Lines are 0-based, `last` excluded, decorators included."""

    name: str
    """Qualified; a second definition of the same name ends in `#2`."""
    kind: SymbolKind
    first: int
    last: int
    indent: int
    parent: str = ""

    @property
    def leaf(self) -> str:
        return self.name.rpartition(".")[2].partition("#")[0]


def parse(source: bytes | str) -> ast.Module | None:
    """The tree of a file, None when it is no Python of this version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def symbols_of(source: bytes) -> dict[str, Symbol] | None:
    """Name to symbol in the order of the file; None when the file does not parse or has lone carriage returns."""
    tree = parse(source) if b"\r" not in source.replace(b"\r\n", b"") else None
    if tree is None:
        return None
    found: dict[str, Symbol] = {}
    for symbol in _walk(tree.body, ""):
        name, count = symbol.name, 2
        while name in found:
            name, count = f"{symbol.name}#{count}", count + 1
        found[name] = symbol if name == symbol.name else Symbol(name, symbol.kind, symbol.first, symbol.last,
                                                                symbol.indent, symbol.parent)  # fmt: skip
    return found


def _walk(body: Sequence[ast.stmt], parent: str) -> Iterator[Symbol]:
    prefix = f"{parent}." if parent else ""
    for node in body:
        last = node.end_lineno or node.lineno
        if isinstance(node, (*_Function, ast.ClassDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            kind: SymbolKind = "class" if isinstance(node, ast.ClassDef) else "function"
            yield Symbol(prefix + node.name, kind, first, last, node.col_offset, parent)
            if isinstance(node, ast.ClassDef):
                yield from _walk(node.body, prefix + node.name)
        elif name := _target(node):
            yield Symbol(prefix + name, "assignment", node.lineno - 1, last, node.col_offset, parent)


def _target(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, (ast.AnnAssign, ast.AugAssign)) and isinstance(node.target, ast.Name):
        return node.target.id
    return ""


def same_behaviour(one: bytes, other: bytes, *, lenient: bool = False) -> bool | None:
    """Whether two files differ in comments, layout and docstrings alone; None when one does not parse
    or nests too deep to be compared.

    `lenient` looks past module-level imports and version numbers as well: changing those alone is no bug worth finding.

    Only the top-level statements on differing lines are compared, so that large files cost little.
    """
    first, second = parse(one), parse(other)
    if first is None or second is None:
        return None
    lines = one.split(b"\n"), other.split(b"\n")
    head, tail = common_ends(*lines)
    dumps = []
    for tree, mine in zip((first, second), lines, strict=True):
        touched = [node for node in tree.body if (node.end_lineno or 0) > head and _first(node) <= len(mine) - tail]
        dumps.append(
            [_meaning(node) for node in touched if not (_is_text(node) or (lenient and _is_bookkeeping(node)))]
        )
    return None if any(None in dump for dump in dumps) else dumps[0] == dumps[1]


def common_ends(one: Sequence[bytes], other: Sequence[bytes]) -> tuple[int, int]:
    """How many items are equal at the start and, after that, at the end."""
    head, shorter = 0, min(len(one), len(other))
    while head < shorter and one[head] == other[head]:
        head += 1
    tail = 0
    while tail < shorter - head and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    return head, tail


def _first(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, (*_Function, ast.ClassDef)) else []
    return min([node.lineno, *(d.lineno for d in decorators)])


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_bookkeeping(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    return isinstance(node, ast.Assign) and _target(node) in ("__version__", "version", "VERSION", "__all__")


def dump(node: ast.AST) -> str | None:
    """`ast.dump`, None for a tree that is parsed but too deep to be walked (a sum of a thousand terms)."""
    try:
        return ast.dump(node)
    except RecursionError:
        return None


def _meaning(top: ast.stmt) -> str | None:
    for node in ast.walk(top):
        if isinstance(node, (ast.ClassDef, *_Function)) and _docstring(node.body):
            node.body = node.body[1:] or [ast.Pass()]
    return dump(top)


def _docstring(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and _is_text(body[0])


def module_name(path: str, source_roots: Iterable[str] = ()) -> str:
    """The dotted name that `path` is imported by; the longest matching source root is cut off."""
    pure = PurePosixPath(path)
    for root in sorted((r for r in source_roots if r not in ("", ".")), key=len, reverse=True):
        if pure.is_relative_to(root):
            pure = pure.relative_to(root)
            break
    parts = list(pure.with_suffix("").parts)
    if parts and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imports_of(source: bytes, module: str, is_package: bool) -> frozenset[str]:
    """Dotted names that a file imports, relative ones resolved; `from a import b` gives `a` and `a.b`."""
    tree = parse(source)
    found: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(found)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".") if module else []
    keep = len(parts) - node.level + (1 if is_package else 0)
    return ".".join([*parts[: max(keep, 0)], *([node.module] if node.module else [])])


@dataclass(frozen=True)
class ImportGraph:
    """Which files of the tree import which."""

    edges: Mapping[str, frozenset[str]]

    @classmethod
    def build(cls, files: Mapping[str, bytes], source_roots: Iterable[str] = ()) -> ImportGraph:
        """From path to content of the Python files."""
        roots = tuple(source_roots)
        by_module = {module_name(path, roots): path for path in sorted(files)}
        edges = {}
        for path, content in files.items():
            names = imports_of(content, module_name(path, roots), path.endswith("__init__.py"))
            edges[path] = frozenset(by_module[name] for name in names if name in by_module) - {path}
        return cls(edges)

    def distances(self, targets: Iterable[str]) -> dict[str, int]:
        """Path to the number of imports between it and the nearest of `targets`, for every file that reaches one."""
        importers: dict[str, list[str]] = {}
        for path, imported in self.edges.items():
            for other in imported:
                importers.setdefault(other, []).append(path)
        found = dict.fromkeys(targets, 0)
        queue = list(found)
        for path in queue:
            for importer in sorted(importers.get(path, ())):
                if importer not in found:
                    found[importer] = found[path] + 1
                    queue.append(importer)
        return found


def location_of_test(test_id: str) -> tuple[str, str]:
    """Path and qualified function name of a pytest node id, without its parameters."""
    path, _, rest = test_id.partition("::")
    return path, rest.partition("[")[0].replace("::", ".")
