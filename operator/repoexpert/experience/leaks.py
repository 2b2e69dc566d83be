"""What a statement must not contain, and taking it out. Pure. Called by statements; property-tested.

Secrets are the lines of the reference (12 characters or more once blanks are collapsed) and the names and paths of the
tests that notice the bug.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

SHORTEST = 12


@dataclass(frozen=True)
class Secrets:
    """Normalised lines of the reference, and words that name tests."""

    lines: frozenset[str]
    names: frozenset[str]


def normal(text: str) -> str:
    """Text with each run of blanks as one blank."""
    return " ".join(text.split())


def secrets_of(patches: Iterable[str], tests: Iterable[str]) -> Secrets:
    """Secrets of reference patches and of test node ids."""
    lines = {
        normal(line[1:])
        for patch in patches
        for line in patch.split("\n")
        if line[:1] in ("+", "-") and not line.startswith(("+++ ", "--- "))
    }
    names: set[str] = set()
    for test in tests:
        path, *rest = test.partition("[")[0].split("::")
        pure = PurePosixPath(path)
        names |= {path, pure.name, ".".join(pure.with_suffix("").parts)}
        names |= {pure.stem} if pure.stem.startswith("test_") or pure.stem.endswith("_test") else set()
        names |= {name for name in rest if name.lower().startswith("test") or name.endswith(("Test", "Tests"))}
    return Secrets(frozenset(line for line in lines if len(line) >= SHORTEST), frozenset(n for n in names if n))


def leaks(text: str, secrets: Secrets) -> list[str]:
    """The secrets that the text contains, sorted."""
    flat = normal(text)
    return sorted(
        [line for line in secrets.lines if line in flat]
        + [name for name in secrets.names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
    )


def redact(text: str, secrets: Secrets) -> str:
    """The text without its leaks: sentences and list items that hold one are dropped, smallest unit first."""
    for pieces in (re.compile(r"(?<=[.!?])(?=\s)|(?=\n)"), re.compile(r"(?=\n)")):
        kept = [piece for piece in pieces.split(text) if not leaks(piece, secrets)]
        text = "".join(kept)
        if not leaks(text, secrets):
            break
    else:
        # A secret that spans sentences: words are taken out until none is left.
        for _ in range(len(secrets.lines) + len(secrets.names)):
            if not (found := leaks(text, secrets)):
                break
            text = _without(text, found[0])
        if leaks(text, secrets):
            return ""
    return re.sub(r"What happens now:\s*(?=\Z)", "", re.sub(r"\n{3,}", "\n\n", text)).strip()


def _without(text: str, secret: str) -> str:
    pattern = r"\s+".join(re.escape(word) for word in secret.split())
    return re.sub(pattern, " … ", text)
