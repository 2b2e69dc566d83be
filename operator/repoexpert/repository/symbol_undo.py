"""Undoing a change symbol by symbol: each function, method or assignment merged back on its own in today's files.

Most old changes no longer reverse as a whole, because lines around them moved on; the functions they touched often
are nearly the same still. Called by reversal. Pure but for reading today's files through `Today`.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from repoexpert.repository.analysis import Symbol, dump, parse, same_behaviour, symbols_of
from repoexpert.repository.diffs import split_lines
from repoexpert.repository.merging import merge_source

Mode = Literal["edit", "remove", "restore"]
_SIMILAR = 0.6
_WORD = re.compile(rb"[A-Za-z_]\w*")


@dataclass
class Today:
    """The tree that changes are undone in: source files by path, parsed once each."""

    paths: Sequence[str]
    read: Callable[[str], bytes | None]
    _symbols: dict[str, Mapping[str, Symbol]] = field(default_factory=dict)
    _lines: dict[str, list[bytes]] = field(default_factory=dict)

    def symbols(self, path: str) -> Mapping[str, Symbol]:
        """Symbols of a file, empty when it is missing or does not parse."""
        if path not in self._symbols:
            content = self.read(path)
            self._symbols[path] = (symbols_of(content) if content is not None else None) or {}
        return self._symbols[path]

    def find(self, path: str, symbol: Symbol, text: bytes) -> tuple[str, Symbol] | None:
        """Where a symbol is today: in its file, or moved: same qualified name and a similar text elsewhere."""
        if found := self.symbols(path).get(symbol.name):
            return (path, found) if found.kind == symbol.kind else None
        if symbol.kind != "function" or symbol.leaf.startswith("__"):
            return None
        best: tuple[float, str, Symbol] | None = None
        for other in self.paths:
            if other == path or b"def " + symbol.leaf.encode() not in (self.read(other) or b""):
                continue
            moved = self.symbols(other).get(symbol.name)
            if moved and moved.kind == "function":
                ratio = difflib.SequenceMatcher(None, split_lines(self.text(other, moved)), split_lines(text)).ratio()
                best = max(best or (0.0, "", moved), (ratio, other, moved), key=lambda found: found[0])
        return best[1:] if best and best[0] >= _SIMILAR else None

    def text(self, path: str, symbol: Symbol) -> bytes:
        """The lines of a symbol."""
        return lines_of(self.lines(path), symbol)

    def lines(self, path: str) -> list[bytes]:
        """The lines of a file; not to be changed."""
        if path not in self._lines:
            self._lines[path] = split_lines(self.read(path) or b"")
        return self._lines[path]


def lines_of(lines: Sequence[bytes], symbol: Symbol) -> bytes:
    """The text of a symbol in its file's lines."""
    return b"".join(lines[symbol.first : symbol.last])


@dataclass(frozen=True)
class Edit:
    """One symbol undone: today's lines `first` to `last` of `path` become `text`."""

    path: str
    name: str
    mode: Mode
    first: int
    last: int
    text: bytes
    words: frozenset[bytes]
    """Identifiers in the symbol's text on both sides of the change."""
    header_changed: bool

    @property
    def symbol(self) -> str:
        return f"{self.path}::{self.name.partition('#')[0]}"

    @property
    def leaf(self) -> str:
        return self.name.rpartition(".")[2].partition("#")[0]


def undo_symbols(path: str, before: bytes, after: bytes, today: Today) -> list[Edit]:
    """The edits that undo what `before` → `after` did to the symbols of one file, where each can be undone."""
    old, new = symbols_of(before), symbols_of(after)
    if old is None or new is None:
        return []
    edits: list[Edit] = []
    before_lines, after_lines = split_lines(before), split_lines(after)
    for name, symbol in new.items():
        was = old.get(name)
        if was is None:
            if symbol.parent and symbol.parent not in old:
                continue  # goes with its class
            edits += _removed(path, symbol, lines_of(after_lines, symbol), today)
        elif symbol.kind != "class" and was.kind == symbol.kind and symbol.name != "__all__":
            texts = lines_of(before_lines, was), lines_of(after_lines, symbol)
            if texts[0] != texts[1]:
                edits += _merged(path, symbol, *texts, today)
    for name, symbol in old.items():
        if name not in new and not (symbol.parent and symbol.parent not in new):
            edits += _restored(path, symbol, before_lines, old, today)
    return edits


def _words(*texts: bytes) -> frozenset[bytes]:
    return frozenset(word for text in texts for word in _WORD.findall(text))


def _merged(path: str, symbol: Symbol, before: bytes, after: bytes, today: Today) -> Iterator[Edit]:
    found = today.find(path, symbol, after)
    if found is None:
        return
    where, now = found
    ours = today.text(where, now)
    text = merge_symbol(after, ours, before)
    if text is not None:
        header = _header(before) != _header(after)
        yield Edit(where, now.name, "edit", now.first, now.last, text, _words(before, after), header)


def merge_symbol(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Today's text of a symbol without what `theirs` → `base` brought; None when nothing would behave otherwise."""
    try:
        texts = [text.decode("utf-8") for text in (base, ours, theirs)]
    except UnicodeDecodeError:
        return None
    indents = [re.match(r"[ \t]*", text) for text in texts]
    shifts = [match[0] if match else "" for match in indents]
    texts = [_shift(text, own, shifts[1]) for text, own in zip(texts, shifts, strict=True)]
    for merged in merge_source(*texts):
        if same_behaviour(_standing(texts[1]), _standing(merged)) is False:
            return merged.encode()
    return None


def _shift(text: str, own: str, wanted: str) -> str:
    """The text with its leading blanks `own` replaced by `wanted` on each line that has them."""
    if own == wanted:
        return text
    return "".join(
        wanted + line.removeprefix(own) if line.strip() and line.startswith(own) else line
        for line in text.splitlines(keepends=True)
    )


def _standing(text: str) -> bytes:
    """The text as a file of its own: a method gets a class around it."""
    return (f"class _:\n{text}" if text[:1] in (" ", "\t") else text).encode()


def _header(text: bytes) -> bytes:
    match = re.search(rb"(?s)\b(?:def|class)\b.*?:[ \t]*(?:#[^\n]*)?\n", text)
    return b" ".join((match[0] if match else b"").split())


def _removed(path: str, symbol: Symbol, after: bytes, today: Today) -> Iterator[Edit]:
    if symbol.leaf == "__all__" or (found := today.find(path, symbol, after)) is None:
        return
    where, now = found
    lines = today.lines(where)
    first, indent = now.first, b" " * now.indent
    while first and lines[first - 1].startswith(indent + b"#"):
        first -= 1
    while first and not lines[first - 1].strip():
        first -= 1
    yield Edit(where, now.name, "remove", first, now.last, b"", _words(after), False)


def _restored(
    path: str, symbol: Symbol, before: Sequence[bytes], old: Mapping[str, Symbol], today: Today
) -> Iterator[Edit]:
    now = today.symbols(path)
    if symbol.name in now or (symbol.parent and symbol.parent not in now) or symbol.leaf == "__all__":
        return
    siblings = [s for s in old.values() if s.parent == symbol.parent]
    earlier = [now[s.name] for s in siblings[: siblings.index(symbol)] if s.name in now]
    if not earlier:
        return
    at = earlier[-1].last
    text = lines_of(before, symbol)
    gap = b"\n" * (1 if symbol.parent else 2) if symbol.kind != "assignment" else b""
    yield Edit(path, symbol.name, "restore", at, at, gap + text, _words(text), False)


def clusters(edits: Sequence[Edit]) -> list[list[Edit]]:
    """Edits that belong together: one speaks of a symbol that another adds, removes or gives a new signature."""
    group = list(range(len(edits)))
    for i, one in enumerate(edits):
        if (one.mode == "edit" and not one.header_changed) or one.leaf.startswith("__"):
            continue
        for j, other in enumerate(edits):
            if i != j and one.leaf.encode() in other.words:
                old, new = group[j], group[i]
                group = [new if g == old else g for g in group]
    return [[edits[i] for i, g in enumerate(group) if g == key] for key in dict.fromkeys(group)]


def apply_edits(edits: Iterable[Edit], today: Today) -> dict[str, bytes] | None:
    """Path to content with the edits made, None when they overlap or a result does not parse."""
    by_path: dict[str, list[Edit]] = {}
    edits = list(edits)
    for edit in edits:
        by_path.setdefault(edit.path, []).append(edit)
    results: dict[str, bytes] = {}
    for path, mine in by_path.items():
        content = _apply(today.read(path) or b"", mine)
        if content is None:
            return None
        results[path] = content
    gone = {edit.leaf for edit in edits if edit.mode == "remove" and "." not in edit.name}
    kept = {edit.leaf for edit in edits if edit.mode == "restore"}
    if gone - kept:
        results = _without_exports(results, gone - kept, today)
    return None if any(parse(content) is None for content in results.values()) else results


def _apply(content: bytes, edits: list[Edit]) -> bytes | None:
    lines = split_lines(content)
    end = len(lines) + 1
    for edit in sorted(edits, key=lambda e: (e.first, e.last), reverse=True):
        if edit.last > end:
            return None
        new = split_lines(edit.text)
        if edit.first and new and not lines[edit.first - 1].endswith(b"\n"):
            lines[edit.first - 1] += b"\n"
        lines[edit.first : edit.last] = new
        end = edit.first
    text = b"".join(lines)
    if parse(text) is None and any(edit.mode == "remove" for edit in edits):
        return _fill_empty_bodies(content, edits)
    return text


def _fill_empty_bodies(content: bytes, edits: list[Edit]) -> bytes | None:
    """As `_apply`, a class that loses its last member keeps a `pass`."""
    lines = split_lines(content)
    for edit in sorted(edits, key=lambda e: (e.first, e.last), reverse=True):
        if edit.mode == "remove" and "." in edit.name:
            indent = re.match(rb"[ \t]*", lines[edit.last - 1])
            lines[edit.first : edit.last] = [(indent[0] if indent else b"    ") + b"pass\n"]
        else:
            lines[edit.first : edit.last] = split_lines(edit.text)
    text = b"".join(lines)
    return text if parse(text) is not None else None


def _without_exports(results: dict[str, bytes], names: set[str], today: Today) -> dict[str, bytes]:
    """The removed names taken out of `__all__` and of the re-exporting `__init__.py` files above."""
    places = dict.fromkeys(results)
    for path in results:
        places.update(dict.fromkeys(f"{parent}/__init__.py" for parent in PurePosixPath(path).parents))
    cleaned = dict(results)
    for path in places:
        content = results.get(path) if path in results else today.read(path)
        if content is not None and (without := drop_exports(content, names)) != content:
            cleaned[path] = without
    return cleaned


def drop_exports(source: bytes, names: set[str]) -> bytes:
    """The file without `names` in `__all__` and in module-level `from ... import`."""
    tree = parse(source)
    offsets = [0]
    for line in split_lines(source):
        offsets.append(offsets[-1] + len(line))
    spans: list[tuple[int, int]] = []
    for node in tree.body if tree else ():
        items: list[ast.expr | ast.alias] = []
        if isinstance(node, ast.ImportFrom):
            items = [alias for alias in node.names if (alias.asname or alias.name) in names]
            if items and len(items) == len(node.names):
                spans.append((offsets[node.lineno - 1], offsets[node.end_lineno or node.lineno]))
                continue
        elif isinstance(node, (ast.Assign, ast.AugAssign)) and "__all__" in (dump(node) or "")[:80]:
            elements = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else []
            items = [e for e in elements if isinstance(e, ast.Constant) and e.value in names]
            if isinstance(node.value, ast.Tuple) and items and len(elements) - len(items) == 1:
                continue  # one element without its comma would be no tuple any more
        for item in items:
            start = offsets[item.lineno - 1] + item.col_offset
            end = offsets[(item.end_lineno or item.lineno) - 1] + (item.end_col_offset or 0)
            spans.append(_item_span(source, start, end))
    for start, end in sorted(spans, reverse=True):
        source = source[:start] + source[end:]
    return source


def _item_span(source: bytes, start: int, end: int) -> tuple[int, int]:
    """The item with its comma, and its line when nothing else is on it."""
    after = re.compile(rb"[ \t]*,[ \t]*").match(source, end)
    if after:
        end = after.end()
    else:
        start -= len(source[:start]) - len(source[:start].rstrip(b", \t\r\n"))
        return start, end
    head = source.rfind(b"\n", 0, start) + 1
    if not source[head:start].strip() and source[end : end + 1] in (b"\n", b"\r"):
        return head, source.index(b"\n", end) + 1
    return start, end
