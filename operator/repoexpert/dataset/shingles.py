"""Overlap of texts by word 13-grams: near-duplicates within the data, and contamination by what the student is judged on.

13 words is the length that GPT-3 (Brown et al. 2020, appendix C) and most since use for decontamination.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

WORDS = 13
DUPLICATE_JACCARD = 0.85
"""Trajectories this alike teach the same; scripted ones share their boilerplate and lie well below."""
CONTAINED = 0.5
"""A text shares at least this part of the smaller side's 13-grams: one was copied from the other."""

_WORD = re.compile(r"\w+|[^\w\s]")


def shingles(text: str) -> frozenset[int]:
    """64-bit hashes of the text's word 13-grams; a shorter text is one shingle, an empty one none."""
    words = _WORD.findall(text)
    if not words:
        return frozenset()
    grams = [words[start : start + WORDS] for start in range(max(1, len(words) - WORDS + 1))]
    return frozenset(
        int.from_bytes(hashlib.blake2b("\0".join(gram).encode(), digest_size=8).digest(), "big") for gram in grams
    )


def jaccard(left: frozenset[int], right: frozenset[int]) -> float:
    """Shared part of both; 0 when both are empty."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def near_duplicates(sets: Sequence[frozenset[int]], threshold: float = DUPLICATE_JACCARD) -> dict[int, int]:
    """Index of each set that is alike an earlier kept one, to that one's index. Exact, no sketches.

    Prefix filtering (Bayardo, Ma, Srikant 2007): with shingles ordered rarest first, two sets of Jaccard >= t share one
    among the first |x| - ceil(t |x|) + 1 of each, so only those are indexed.
    """
    frequency = Counter(shingle for one in sets for shingle in one)
    index: dict[int, list[int]] = {}
    found: dict[int, int] = {}
    for position, one in enumerate(sets):
        ordered = sorted(one, key=lambda shingle: (frequency[shingle], shingle))
        prefix = ordered[: len(one) - math.ceil(threshold * len(one)) + 1]
        candidates = sorted({other for shingle in prefix for other in index.get(shingle, ())})
        alike = (other for other in candidates if jaccard(one, sets[other]) >= threshold)
        if (first := next(alike, None)) is not None:
            found[position] = first
            continue
        for shingle in prefix:
            index.setdefault(shingle, []).append(position)
    return found


class Reserved:
    """What must not be learnt: texts, exact patches and ids of everything the student is judged on."""

    def __init__(self, ids: Iterable[str] = (), patches: Iterable[str] = (), texts: Iterable[str] = ()) -> None:
        self._ids = frozenset(ids)
        self._patches = frozenset(changed_lines(patch) for patch in patches) - {()}
        self._sets = [shingled for text in texts if (shingled := shingles(text))]
        self._index: dict[int, list[int]] = {}
        for position, one in enumerate(self._sets):
            for shingle in one:
                self._index.setdefault(shingle, []).append(position)

    def __bool__(self) -> bool:
        return bool(self._ids or self._patches or self._sets)

    def reason(self, ids: Iterable[str], patches: Iterable[str], texts: Iterable[str]) -> str | None:
        """Why something with these ids, patches and texts is contaminated: `id`, `patch`, `text`; None when clean."""
        if self._ids.intersection(ids):
            return "id"
        if any(changed_lines(patch) in self._patches for patch in patches):
            return "patch"
        return "text" if any(self._overlaps(shingles(text)) for text in texts) else None

    def _overlaps(self, one: frozenset[int]) -> bool:
        shared = Counter(position for shingle in one for position in self._index.get(shingle, ()))
        return any(count >= CONTAINED * min(len(one), len(self._sets[position])) for position, count in shared.items())


def changed_lines(patch: str) -> tuple[str, ...]:
    """Added and removed lines without blanks: equal for one change at different places of a file."""
    lines = [line for line in patch.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]
    return tuple(line[0] + "".join(line[1:].split()) for line in lines if line[1:].strip())
