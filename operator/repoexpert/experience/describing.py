"""From a proven candidate to its statement: which text of the change speaks, which names are public, what is missing.

Pure. Called by making.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Mapping, Sequence

from repoexpert.experience.findings import Finding
from repoexpert.experience.grounds import Ground
from repoexpert.experience.leaks import secrets_of
from repoexpert.experience.statements import Failure, Missing, write_statement
from repoexpert.repository.analysis import module_name, parse, symbols_of
from repoexpert.repository.candidates import Candidate

_FEW_PARTS = 4


def describe_task(ground: Ground, candidate: Candidate, finding: Finding, siblings: int) -> str:
    """The statement for a proven candidate; `siblings` is the number of parts of its change."""
    change = candidate.change
    names = public_names(candidate.part.symbols, ground.record.source_roots)
    leaves = [symbol.rpartition("::")[2].rpartition(".")[2] for symbol in candidate.part.symbols]
    title, body = change.title, change.body
    if not _speaks_for_part(candidate, siblings):
        told = _sentences_about(leaves, f"{title}\n{body}")
        title, body = told, ""
    failures = {test: Failure(f.error, f.message, f.phase == "collect") for test, f in finding.fail_to_pass.items()}
    return write_statement(
        title=title,
        body=body,
        names=names,
        failures=failures,
        missing=missing_symbols(candidate, ground.files),
        secrets=secrets_of((finding.sources_patch, finding.tests_patch), finding.fail_to_pass),
    )


def _speaks_for_part(candidate: Candidate, siblings: int) -> bool:
    """Whether the change's text is about this part: it is the whole, or one of few."""
    return candidate.part.name in ("", "hunks", "symbols") or siblings <= _FEW_PARTS


def _sentences_about(leaves: Sequence[str], text: str) -> str:
    """The first sentence or list item of a long text (release notes) that names one of the symbols."""
    for piece in re.split(r"(?<=[.!?])\s+|\n\s*(?=[*+-] )|\n\s*\n", text):
        if any(len(leaf) > 3 and re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", piece) for leaf in leaves):
            return " ".join(piece.split())
    return ""


def public_names(symbols: Sequence[str], source_roots: Sequence[str]) -> list[str]:
    """Dotted names of the symbols whose every component is public; a public owner stands for a private member."""
    names: dict[str, None] = {}
    for symbol in symbols:
        path, _, qualified = symbol.partition("::")
        parts = [*module_name(path, source_roots).split("."), *qualified.split(".")]
        if parts[-1].startswith("__") and parts[-1].endswith("__"):
            parts.pop()
        # A private module of a public package is an implementation detail: the package is the name people use.
        parts = [part for at, part in enumerate(parts) if not (part.startswith("_") and at < len(parts) - 1)]
        if parts and not parts[-1].startswith("_"):
            names[".".join(parts)] = None
    return list(names)


def missing_symbols(candidate: Candidate, tree: Mapping[str, bytes]) -> list[Missing]:
    """Public functions and classes that are in the tree and not in the start tree."""
    found: list[Missing] = []
    for path, content in sorted(candidate.part.files.items()):
        now, new = symbols_of(tree.get(path, b"")) or {}, symbols_of(content or b"") or {}
        gone = {s.name for s in now.values() if s.name not in new and s.kind != "assignment"}
        nodes = _definitions(tree.get(path, b""))
        for name in gone:
            if name.rpartition(".")[0] in gone or any(part.startswith("_") for part in name.split(".")):
                continue
            if (node := nodes.get(name)) is not None:
                found.append(Missing(_signature(name, node), _purpose(node)))
    return sorted(found, key=lambda item: item.signature)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(source: bytes) -> dict[str, _Definition]:
    found: dict[str, _Definition] = {}

    def visit(body: Sequence[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, _Definition):
                found.setdefault(prefix + node.name, node)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")

    tree = parse(source)
    visit(tree.body if tree else [], "")
    return found


def _signature(name: str, node: _Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return name
    try:
        return f"{name}({_without_annotations(node.args)})"
    except RecursionError:  # a default that nests hundreds deep
        return f"{name}(...)"


def _without_annotations(arguments: ast.arguments) -> str:
    plain = copy.deepcopy(arguments)
    for argument in [*plain.posonlyargs, *plain.args, *plain.kwonlyargs, plain.vararg, plain.kwarg]:
        if argument is not None:
            argument.annotation = None
    return ast.unparse(plain)


def _purpose(node: _Definition) -> str:
    """The first sentence of the docstring, markup taken off."""
    text = ast.get_docstring(node) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s", paragraph)[0]
    sentence = re.sub(r":\w+:`~?([^`]*)`|``?([^`]*)``?", lambda m: f"`{m[1] or m[2]}`", sentence)
    words = re.sub(r"\*(\w+)\*", r"`\1`", sentence).split()
    return " ".join(words) if words and len(words) <= 40 else " ".join(words[:40])
