"""Aligning two sequences of lines or tokens. Pure. Called by diffs and merging."""

from __future__ import annotations

import bisect
import difflib
from collections.abc import Hashable, Iterator, Sequence


class Matcher:
    """Matching blocks of two sequences: equal ends first, then items that are unique in both, then difflib in between.

    Much faster than difflib alone on files of thousands of lines, and anchored like Git's patience diff.
    """

    def __init__(self, isjunk: object, a: Sequence[Hashable], b: Sequence[Hashable], autojunk: bool = False) -> None:
        self._a, self._b = a, b

    def get_matching_blocks(self) -> list[tuple[int, int, int]]:
        """As difflib's: (start in a, start in b, length), in order, closed by an empty block."""
        blocks: list[tuple[int, int, int]] = []
        for a, b, size in self._match(0, len(self._a), 0, len(self._b)):
            if blocks and sum(blocks[-1][::2]) == a and blocks[-1][1] + blocks[-1][2] == b:
                blocks[-1] = (blocks[-1][0], blocks[-1][1], blocks[-1][2] + size)
            elif size:
                blocks.append((a, b, size))
        return [*blocks, (len(self._a), len(self._b), 0)]

    def _match(self, a0: int, a1: int, b0: int, b1: int) -> Iterator[tuple[int, int, int]]:
        head = self._head(a0, a1, b0, b1)
        yield a0, b0, head
        a0, b0 = a0 + head, b0 + head
        tail = self._tail(a0, a1, b0, b1)
        a1, b1 = a1 - tail, b1 - tail
        at_a, at_b = a0, b0
        for a, b in self._anchors(a0, a1, b0, b1) if (a1 - a0) * (b1 - b0) > 10_000 else ():
            if a < at_a or b < at_b:
                continue  # already inside the run that an earlier anchor began
            back = self._tail(at_a, a, at_b, b)
            run = 1 + self._head(a + 1, a1, b + 1, b1)
            if at_a < a - back and at_b < b - back:
                yield from self._plain(at_a, a - back, at_b, b - back)
            yield a - back, b - back, back + run
            at_a, at_b = a + run, b + run
        yield from self._plain(at_a, a1, at_b, b1)
        yield a1, b1, tail

    def _head(self, a0: int, a1: int, b0: int, b1: int) -> int:
        size, limit, a, b = 0, min(a1 - a0, b1 - b0), self._a, self._b
        while size < limit and a[a0 + size] == b[b0 + size]:
            size += 1
        return size

    def _tail(self, a0: int, a1: int, b0: int, b1: int) -> int:
        size, limit, a, b = 0, min(a1 - a0, b1 - b0), self._a, self._b
        while size < limit and a[a1 - size - 1] == b[b1 - size - 1]:
            size += 1
        return size

    def _plain(self, a0: int, a1: int, b0: int, b1: int) -> Iterator[tuple[int, int, int]]:
        if a0 < a1 and b0 < b1:
            matcher = difflib.SequenceMatcher(None, self._a[a0:a1], self._b[b0:b1], autojunk=False)
            yield from ((a + a0, b + b0, size) for a, b, size in matcher.get_matching_blocks())

    def _anchors(self, a0: int, a1: int, b0: int, b1: int) -> list[tuple[int, int]]:
        ours, theirs = _unique(self._a, a0, a1), _unique(self._b, b0, b1)
        pairs = sorted((at, theirs[item]) for item, at in ours.items() if item in theirs)
        return _longest_increasing(pairs)


def _unique(items: Sequence[Hashable], start: int, end: int) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for at in range(start, end):
        places[items[at]] = -1 if items[at] in places else at
    return {item: at for item, at in places.items() if at >= 0}


def _longest_increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs that increases in both places (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    back: list[int] = []
    for index, (_, b) in enumerate(pairs):
        pile = bisect.bisect_left(tops, b)
        back.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(b)
            ends.append(index)
        else:
            tops[pile], ends[pile] = b, index
    chain: list[tuple[int, int]] = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(pairs[at])
        at = back[at]
    return chain[::-1]
