"""What a trajectory shows about how the agent went about it: loops, and looks at places where the answer may lie. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

_LOOP = 3
_SUSPICIOUS: dict[str, re.Pattern[str]] = {
    "git-history": re.compile(
        r"\bgit\b[^\n|;&]*\b(log\b[^\n|;&]*--(all|reflog)|reflog|fsck|stash\s+list|rev-list\b[^\n]*--all)"
    ),
    "git-objects": re.compile(
        r"\bgit\s+(cat-file\b[^\n]*--batch-all|unpack-objects|verify-pack)|\.git/(objects|logs|packed-refs)"
    ),
    "git-remote": re.compile(r"\bgit\s+(fetch|pull|clone|remote\s+add|ls-remote)\b"),
    "package-download": re.compile(r"\b(pip3?|uv(\s+pip)?|conda|poetry)\s+(download|install|add)\b"),
    "network": re.compile(r"\b(curl|wget|nc|ssh)\s|\burllib\.request\b|\brequests\.get\("),
    "installed-packages": re.compile(r"site-packages|dist-packages"),
    "bytecode": re.compile(r"\.pyc\b|\buncompyle|\bdecompyle"),
}


def is_looping(turns: Sequence[tuple[str, str]]) -> bool:
    """True when the same command gave the same output three times in a row. `turns` are (command, observation)."""
    same = 1
    for before, turn in itertools.pairwise(turns):
        same = same + 1 if turn == before else 1
        if same >= _LOOP:
            return True
    return False


def suspicious_commands(commands: Iterable[str]) -> tuple[str, ...]:
    """`kind: command` for commands that look for the answer outside the tree; each shortened to 200 characters."""
    found = []
    for command in commands:
        for kind, pattern in _SUSPICIOUS.items():
            if pattern.search(command):
                found.append(f"{kind}: {' '.join(command.split())[:200]}")
                break
    return tuple(found)


def turns_of(messages: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(command, observation) of every executed turn of a trajectory."""
    turns = []
    for message, answer in itertools.pairwise(messages):
        actions = message.get("extra", {}).get("actions") if message.get("role") == "assistant" else None
        if actions and answer.get("role") in ("user", "exit"):
            turns.append((str(actions[0]["command"]), str(answer.get("content", ""))))
    return turns
