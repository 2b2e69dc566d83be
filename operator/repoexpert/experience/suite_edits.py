"""Test functions inside test files: finding, removing, comparing. Pure. Called by proving and verifying."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from repoexpert.repository.analysis import dump, parse, symbols_of
from repoexpert.repository.diffs import split_lines


def defined_tests(source: bytes) -> dict[str, str]:
    """Qualified name to meaning of each function whose name starts with `test`, in the order of the file.

    Functions that differ in comments, docstring or layout alone have equal meanings. Empty for no Python.
    """
    found: dict[str, str] = {}
    tree = parse(source)
    if tree is not None:
        _collect(tree.body, "", "", found, source)
    return found


def _collect(body: Iterable[ast.stmt], prefix: str, decorated: str, found: dict[str, str], source: bytes) -> None:
    for node in body:
        if isinstance(node, ast.ClassDef):
            marks = decorated + "".join(_meaning(d, source) for d in node.decorator_list)
            _collect(node.body, f"{prefix}{node.name}.", marks, found, source)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
            text = node.body[0] if node.body else None
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and len(node.body) > 1:
                node.body = node.body[1:]
            found[prefix + node.name] = decorated + _meaning(node, source)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            _collect(node.body, prefix, decorated, found, source)


def _meaning(node: ast.AST, source: bytes) -> str:
    """Equal for code that differs in comments and layout alone; the text itself where it nests too deep for that."""
    return dump(node) or ast.get_source_segment(source.decode("utf-8", "replace"), node) or ""


def written_tests(before: bytes | None, after: bytes) -> list[str]:
    """Qualified names of the tests that `after` adds or changes."""
    old = defined_tests(before) if before is not None else {}
    return [name for name, meaning in defined_tests(after).items() if old.get(name) != meaning]


def remove_tests(source: bytes, names: Iterable[str]) -> bytes | None:
    """The test file without the test functions `names` (qualified, no parameters), decorators and comments above gone.

    A class that has no member left but its docstring goes as well; an inherited test is removed from the base class of
    the same file. None when one is not found or the rest would not parse.
    """
    symbols = symbols_of(source)
    if symbols is None:
        return None
    bases = _bases(source)
    gone: set[str] = set()
    for name in names:
        owner = _owner(name, symbols, bases)
        if owner is None:
            return None
        gone |= {found for found in symbols if found.partition("#")[0] == owner}
    gone = _with_empty_classes(source, gone)
    lines = split_lines(source)
    for name in sorted(gone, key=lambda n: symbols[n].first, reverse=True):
        symbol = symbols[name]
        if symbol.parent in gone:
            continue
        first, last = symbol.first, symbol.last
        while first and lines[first - 1].strip().startswith(b"#") and lines[first - 1].startswith(b" " * symbol.indent):
            first -= 1
        while last < len(lines) and not lines[last].strip():
            last += 1
        lines[first:last] = [b"\n"] * (min(2, last - symbol.last) if last < len(lines) and first and
                                       lines[first - 1].strip() else 0)  # fmt: skip
    text = b"".join(lines).rstrip() + b"\n"
    text = text.replace(b"\r\r", b"\r")
    return text if parse(text) is not None else None


def _owner(name: str, symbols: Mapping[str, object], bases: Mapping[str, list[str]]) -> str | None:
    if name in symbols:
        return name
    cls, _, leaf = name.rpartition(".")
    seen: set[str] = set()
    queue = list(bases.get(cls, ()))
    for base in queue:
        if base in seen:
            continue
        seen.add(base)
        if f"{base}.{leaf}" in symbols:
            return f"{base}.{leaf}"
        queue += bases.get(base, ())
    return None


def _bases(source: bytes) -> dict[str, list[str]]:
    tree = parse(source)
    return {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for node in (tree.body if tree else ())
        if isinstance(node, ast.ClassDef)
    }


def _with_empty_classes(source: bytes, gone: set[str]) -> set[str]:
    """`gone` and the classes that would be left with nothing but a docstring."""
    tree = parse(source)
    result = set(gone)

    def visit(node: ast.ClassDef, prefix: str) -> bool:
        name = prefix + node.name
        left = False
        for child in node.body:
            if isinstance(child, ast.ClassDef):
                left |= not visit(child, f"{name}.")
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                left |= f"{name}.{child.name}" not in gone
            else:
                left |= not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
        if not left and any(item.startswith(f"{name}.") for item in gone):
            result.add(name)
            return True
        return False

    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef):
            visit(node, "")
    return result
