"""Three-way merges of source text, from strict to lenient: lines, logical lines, tokens.

Undoing an old change in newer text is a merge: base = after the change, ours = today's text, theirs = before it.
Where plain lines conflict because a formatter, a rename or a comment touched them since, a merge of logical lines
(compared by their tokens) or of tokens often does not. Pure. Called by reversal and symbol_undo.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from merge3 import Merge3

from repoexpert.repository.diffs import split_lines
from repoexpert.repository.matching import Matcher

_TOKENS = re.compile(r"\w+|[ \t]+|\n|.")
_TRIVIA = {tokenize.COMMENT, tokenize.NL}
_LAYOUT = {tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_CLOSERS = {")", "]", "}"}


@dataclass(frozen=True)
class Piece:
    """A stretch of text and the key that a merge compares it by."""

    key: Hashable
    text: str


def merge_lines(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """The merge of whole lines, None when both sides changed the same place."""
    if ours == base:
        return theirs
    lists = [split_lines(text) for text in (base, ours, theirs)]
    merge = Merge3(*lists, sequence_matcher=Matcher)
    merged: list[bytes] = []
    for region in merge.merge_regions():
        if region[0] == "conflict":
            return None
        source = {"unchanged": lists[0], "a": lists[1], "same": lists[1], "b": lists[2]}[region[0]]
        merged += source[region[1] : region[2]]
    return b"".join(merged)


def merge_pieces(
    base: Sequence[Piece], ours: Sequence[Piece], theirs: Sequence[Piece], *, partial: bool = False
) -> str | None:
    """The merge by keys; text that theirs did not change stays ours. None on conflict.

    With `partial`, places in conflict stay ours and None means that nothing of theirs came in.
    """
    keys = [[piece.key for piece in side] for side in (base, ours, theirs)]
    merge = Merge3(*keys, sequence_matcher=Matcher)
    ours_of = {z + i: a + i for z, z_end, a, _, _, _ in merge.find_sync_regions() for i in range(z_end - z)}
    merged: list[str] = []
    came_in = False
    for region in merge.merge_regions():
        kind, start, end = region[0], region[1], region[2]
        if kind == "conflict":
            if not partial:
                return None
            merged += [piece.text for piece in ours[region[3] : region[4]]]
        elif kind == "unchanged":
            merged += [ours[ours_of[z]].text for z in range(start, end)]
        elif kind == "b":
            came_in = True
            merged += [piece.text for piece in theirs[start:end]]
        else:
            merged += [piece.text for piece in ours[start:end]]
    return "".join(merged) if came_in or not partial else None


def logical_lines(text: str) -> list[Piece]:
    """The logical lines of Python text, keyed by depth and tokens: layout, quotes and comments do not count.

    Raises SyntaxError or tokenize.TokenError for text that is no Python.
    """
    lines = [line.decode() for line in split_lines(text.encode())]
    pieces: list[Piece] = []
    depth, start = 0, 0
    tokens: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.INDENT:
            depth += 1
        elif token.type == tokenize.DEDENT:
            depth -= 1
        elif token.type == tokenize.NEWLINE:
            pieces.append(Piece((depth, *tokens), "".join(lines[start : token.end[0] - (token.end[1] == 0)])))
            start, tokens = token.end[0], []
        elif token.type not in _TRIVIA | _LAYOUT:
            if token.string in _CLOSERS and tokens and tokens[-1] == ",":
                tokens.pop()
            tokens.append(_plain_string(token.string) if token.type == tokenize.STRING else token.string)
    rest = "".join(lines[start:])
    return pieces + ([Piece((0, "end"), rest)] if rest else [])


def _plain_string(literal: str) -> str:
    try:
        return repr(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        return literal


def token_pieces(text: str) -> list[Piece]:
    """The text cut into words, blanks and single characters."""
    return [Piece(token, token) for token in _TOKENS.findall(text)]


def merge_source(base: str, ours: str, theirs: str) -> Iterator[str]:
    """Merges of Python text from the strictest to the most lenient; the caller takes the first that parses."""
    merged = merge_lines(base.encode(), ours.encode(), theirs.encode())
    if merged is not None:
        yield merged.decode()
    try:
        logical = [logical_lines(text) for text in (base, ours, theirs)]
    except (SyntaxError, tokenize.TokenError):
        return
    if (text := merge_pieces(*logical)) is not None:
        yield text
    keys = [[piece.key for piece in side] for side in logical[:2]]
    if difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False).ratio() > 0.6:
        text = merge_pieces(*map(token_pieces, (base, ours, theirs)))
        if text is not None:
            yield text
    if (text := merge_pieces(*logical, partial=True)) is not None:
        yield text
