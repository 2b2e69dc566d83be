"""In which order candidates are tried: strict and recent first, one part a change before its others, symbols varied.

Pure but for working out parts through `expand`. Depends on the history and on which candidates were proven, never on
time, so that a run that was killed tries the same ones again. Called by making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from repoexpert.repository.candidates import Candidate, Listed
from repoexpert.repository.mining import Change
from repoexpert.repository.reversal import TIERS

MOST_PARTS = 400
"""Of one change: a release can hold hundreds."""
_OFTEN = 2

Expand = Callable[[Change], Sequence[Candidate]]


@dataclass
class Queue:
    """Gives out candidates in batches."""

    listed: Sequence[Listed]
    expand: Expand
    drawn: int = 0
    tiers: dict[str, int] = field(default_factory=dict)
    """Candidates drawn by tier."""
    _parts: dict[str, Sequence[Candidate]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _proven: dict[str, int] = field(default_factory=dict)
    _later: list[Candidate] = field(default_factory=list)
    _stream: Iterator[Candidate] | None = None

    def batch(self, size: int) -> list[Candidate]:
        """The next candidates, fewer than `size` at the end, none when all were tried."""
        if self._stream is None:
            self._stream = self._rounds()
        chosen: list[Candidate] = []
        for candidate in self._stream:
            if self._common(candidate):
                self._later.append(candidate)
                continue
            chosen.append(candidate)
            if len(chosen) == size:
                break
        while len(chosen) < size and self._later:
            chosen.append(self._later.pop(0))
        for candidate in chosen:
            self.tiers[candidate.part.tier] = self.tiers.get(candidate.part.tier, 0) + 1
        self.drawn += len(chosen)
        return chosen

    def proven(self, candidate: Candidate) -> None:
        """Tell that a task was made of it: more of the same symbols come last."""
        for symbol in candidate.part.symbols:
            self._proven[symbol] = self._proven.get(symbol, 0) + 1

    def siblings(self, candidate: Candidate) -> int:
        """How many parts its change has."""
        return len(self._parts.get(candidate.change.commit, ()))

    def remaining(self) -> dict[str, int]:
        """What was not tried: parts worked out, and changes whose parts were not even worked out."""
        known = len({c.patch for parts in self._parts.values() for c in parts})
        return {"candidates": known - self.drawn, "changes": len(self.listed) - len(self._parts)}

    def _common(self, candidate: Candidate) -> bool:
        symbols = candidate.part.symbols
        return bool(symbols) and all(self._proven.get(symbol, 0) >= _OFTEN for symbol in symbols)

    def _rounds(self) -> Iterator[Candidate]:
        ranks: Mapping[str | None, int] = {**{tier: n for n, tier in enumerate(TIERS)}, None: len(TIERS)}
        order = sorted(self.listed, key=lambda item: ranks[item.tier])
        number = 0
        while order:
            left: list[Listed] = []
            for item in order:
                parts = self._expanded(item.change)
                if number < len(parts):
                    left.append(item)
                    if parts[number].patch not in self._seen:
                        self._seen.add(parts[number].patch)
                        yield parts[number]
            order, number = left, number + 1

    def _expanded(self, change: Change) -> Sequence[Candidate]:
        if change.commit not in self._parts:
            self._parts[change.commit] = list(self.expand(change))[:MOST_PARTS]
        return self._parts[change.commit]
