"""Undoing an old change in today's tree, from strict to lenient, whole and in independent parts.

    exact      every hunk's after-image is found in today's file
    three-way  base = after the change, ours = today, theirs = before it: no conflict
    hunks      those hunks of it that reverse on their own
    symbols    functions, methods and assignments merged back each on its own (symbol_undo.py)

Each part is a candidate for a task; what it is worth is decided by running tests, later. Called by candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from repoexpert.repository.analysis import Symbol, same_behaviour
from repoexpert.repository.diffs import FileDiff, Hunk, changed_ranges, split_lines, undo_hunks
from repoexpert.repository.merging import merge_lines
from repoexpert.repository.mining import Change, ChangedFile
from repoexpert.repository.symbol_undo import Edit, Today, apply_edits, clusters, undo_symbols

Tier = Literal["exact", "three-way", "hunks", "symbols"]
TIERS: tuple[Tier, ...] = ("exact", "three-way", "hunks", "symbols")
ReadBlob = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Undone:
    """One file with a change undone; `content` is None where the file then does not exist."""

    tier: Tier
    content: bytes | None
    complete: bool = True


@dataclass(frozen=True)
class Part:
    """An independent part of a change, undone."""

    name: str
    """Empty for the whole change, else `file:PATH`, `hunks`, `symbols` or `symbol:PATH::NAME`."""
    tier: Tier
    files: Mapping[str, bytes | None]
    """Path in today's tree to its content in the start tree."""
    symbols: tuple[str, ...] = field(default=())
    """`path::Qualified.name` of today's symbols that it changes."""
    removes: bool = False
    """It takes whole functions away: the change had added them."""


def undo_file(
    file: ChangedFile, hunks: Sequence[Hunk], today: bytes | None, blob: str | None, read: ReadBlob
) -> Undone | None:
    """One file undone as a whole or in some of its hunks; None when nothing of it reverses. `blob` is today's id."""
    if file.after is None:
        restored = read(file.before) if file.before and today is None else None
        return Undone("exact", restored) if restored is not None else None
    if file.before is None:
        return Undone("exact", None) if today is not None and blob == file.after else None
    if today is None or not hunks:
        return None
    content, undone = undo_hunks(today, hunks)
    if len(undone) == len(hunks):
        return Undone("exact", content)
    if may_merge(today, hunks):
        base, theirs = read(file.after), read(file.before)
        merged = merge_lines(base, today, theirs) if base is not None and theirs is not None else None
        if merged is not None and merged != today:
            return Undone("three-way", merged)
    return Undone("hunks", content, complete=False) if undone else None


def may_merge(today: bytes, hunks: Sequence[Hunk]) -> bool:
    """Whether a three-way merge can succeed: every run of added lines is still there. Cheap, to skip hopeless merges."""
    for hunk in hunks:
        run: list[bytes] = []
        for line in [*hunk.body, b" "]:
            if line[:1] == b"+":
                run.append(line[1:])
            elif run:
                if b"".join(run) not in today:
                    return False
                run = []
    return True


def whole_tier(undone: Sequence[Undone | None]) -> Tier | None:
    """The tier of a change by its source files; None when no hunk of it reverses."""
    if undone and all(u is not None and u.complete for u in undone):
        return "exact" if all(u is not None and u.tier == "exact" for u in undone) else "three-way"
    return "hunks" if any(undone) else None


def parts_of(
    change: Change, diffs: Mapping[str, FileDiff], today: Today, blobs: Mapping[str, str], read: ReadBlob
) -> list[Part]:
    """The independent parts of a change that can be undone in today's tree, the strictest first.

    `diffs` is by the path after the change, `blobs` today's path to blob id, `read` gives a blob's content. Every
    part parses and behaves otherwise than today; parts with equal results come once.
    """
    undone = {
        file: undo_file(file, _hunks(diffs, file), today.read(file.today), blobs.get(file.today), read)
        for file in change.sources
    }
    parts = [*_whole_parts(undone), *_symbol_parts(change, today, read)]
    kept: dict[tuple[tuple[str, bytes | None], ...], Part] = {}
    for part in parts:
        checked = _checked(part, today)
        if checked is not None:
            kept.setdefault(tuple(sorted(checked.files.items())), checked)
    return list(kept.values())


def _hunks(diffs: Mapping[str, FileDiff], file: ChangedFile) -> tuple[Hunk, ...]:
    diff = diffs.get(file.path)
    return diff.hunks if diff is not None and not diff.binary else ()


def _whole_parts(undone: Mapping[ChangedFile, Undone | None]) -> Iterator[Part]:
    tier = whole_tier(list(undone.values()))
    found = {file.today: u for file, u in undone.items() if u is not None}
    if tier is None:
        return
    yield Part("" if tier != "hunks" else "hunks", tier, {path: u.content for path, u in found.items()})
    if len(undone) > 1:
        for path, u in found.items():
            yield Part(f"file:{path}", u.tier, {path: u.content})


def _symbol_parts(change: Change, today: Today, read: ReadBlob) -> Iterator[Part]:
    edits: list[Edit] = []
    for file in change.sources:
        after = read(file.after) if file.after else None
        before = read(file.before) if file.before else b""
        if after is not None and before is not None:
            edits += undo_symbols(file.today, before, after, today)
    groups = clusters(edits)
    if 1 < len(groups) <= 12:
        yield from _part("symbols", edits, today)
    for group in groups:
        yield from _part(f"symbol:{group[0].symbol}", group, today)
        if len(group) > 1 and any(edit.mode == "edit" for edit in group):
            for edit in group:
                if edit.mode == "edit":
                    yield from _part(f"symbol:{edit.symbol}:alone", [edit], today)


def _part(name: str, edits: Sequence[Edit], today: Today) -> Iterator[Part]:
    files = apply_edits(edits, today)
    if files:
        removes = all(edit.mode == "remove" for edit in edits)
        symbols = tuple(sorted({edit.symbol for edit in edits}))
        yield Part(name, "symbols", dict(files), symbols, removes)


def _checked(part: Part, today: Today) -> Part | None:
    """The part without files that behave as today, None when none is left, one does not parse or is not UTF-8."""
    files: dict[str, bytes | None] = {}
    for path, content in part.files.items():
        now = today.read(path)
        if content == now:
            continue
        if content is not None:
            same = same_behaviour(now or b"", content)
            if same is None or not _utf8(content) or not _utf8(now or b""):
                return None
            if same and now is not None:
                continue
        files[path] = content
    if all(_bookkeeping(today.read(path), content) for path, content in files.items()):
        return None
    symbols = part.symbols or tuple(touched_symbols(files, today))
    return Part(part.name, part.tier, files, symbols, part.removes)


def _bookkeeping(now: bytes | None, new: bytes | None) -> bool:
    return now is not None and new is not None and bool(same_behaviour(now, new, lenient=True))


def _utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def touched_symbols(files: Mapping[str, bytes | None], today: Today) -> list[str]:
    """Today's innermost functions, classes and assignments whose lines the contents change."""
    names: list[str] = []
    for path in sorted(files):
        now, new = today.lines(path), split_lines(files[path] or b"")
        for _, first, last, _, _ in changed_ranges(now, new):
            found = [s for s in today.symbols(path).values() if _touches(s, first, last)]
            inner = [s for s in found if not any(o.parent == s.name for o in found)]
            names += [f"{path}::{s.name.partition('#')[0]}" for s in inner]
    return list(dict.fromkeys(names))


def _touches(symbol: Symbol, first: int, last: int) -> bool:
    return symbol.first < max(last, first + 1) and first < symbol.last
