"""Packs trajectories for the report's viewer: a small index, and the texts in gzip chunks that open when looked at.

Five hundred trajectories are tens of megabytes of repetitive text; compressed and decoded on demand (the browser's
DecompressionStream) the page stays small and opens at once. Deterministic: no times in the gzip headers.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from repoexpert.errors import InfrastructureError
from repoexpert.rollout.records import ATTEMPTS, RESULT, TRAJECTORY, AttemptResult

CHUNK_CHARACTERS = 1_500_000
MESSAGE_CHARACTERS = 40_000
"""Longer messages are cut in the middle; the artifact holds them whole."""


@dataclass(frozen=True)
class Shown:
    """One trajectory as the viewer shows it."""

    source: str
    """Who wrote it: teacher, base, candidate or served."""
    suite: str
    result: AttemptResult
    messages: tuple[Mapping[str, str], ...]
    """Role and content."""


@dataclass(frozen=True)
class Packed:
    """What the page embeds."""

    index: tuple[dict[str, Any], ...]
    """One row a trajectory: what lists and filters need, and the chunk and place of its messages."""
    chunks: tuple[str, ...]
    """Base64 of gzip of a JSON list of message lists."""


def attempts_of(folder: Path) -> Iterator[tuple[AttemptResult, Path]]:
    """Finished attempts below `FOLDER/attempts`, by task and number. Raises InfrastructureError for an unreadable one."""
    for path in sorted((folder / ATTEMPTS).glob(f"*/[0-9]*/{RESULT}"), key=_order):
        try:
            yield AttemptResult.model_validate_json(path.read_bytes()), path.parent
        except ValidationError as error:
            raise InfrastructureError(f"{path} cannot be read as an attempt's result: {error}") from error


def _order(path: Path) -> tuple[str, int]:
    return path.parent.parent.name, int(path.parent.name)


def load(folder: Path, source: str, suite: str = "") -> Iterator[Shown]:
    """Every finished attempt below `folder`, in order."""
    for result, attempt in attempts_of(folder):
        yield Shown(source=source, suite=suite, result=result, messages=tuple(_messages(attempt / TRAJECTORY)))


def pack(trajectories: Iterable[Shown], chunk_characters: int = CHUNK_CHARACTERS) -> Packed:
    """Index and chunks, in the given order."""
    index: list[dict[str, Any]] = []
    chunks: list[str] = []
    pending: list[list[Mapping[str, str]]] = []
    size = 0
    for shown in trajectories:
        index.append({**_row(shown), "chunk": len(chunks), "place": len(pending)})
        pending.append(list(shown.messages))
        size += sum(len(message["content"]) for message in shown.messages)
        if size >= chunk_characters:
            chunks.append(_compressed(pending))
            pending, size = [], 0
    if pending:
        chunks.append(_compressed(pending))
    return Packed(index=tuple(index), chunks=tuple(chunks))


def _row(shown: Shown) -> dict[str, Any]:
    result = shown.result
    return {
        "source": shown.source,
        "suite": shown.suite,
        "task": result.task,
        "unit": result.unit,
        "attempt": result.attempt,
        "outcome": result.outcome,
        "reason": result.reason,
        "detail": result.detail[:2000],
        "exit": result.exit_status,
        "model": result.model,
        "scripted": result.scripted,
        "steps": result.steps,
        "tokens": result.prompt_tokens + result.completion_tokens,
        "looping": result.looping,
        "suspicious": bool(result.suspicious),
    }


def _compressed(messages: list[list[Mapping[str, str]]]) -> str:
    raw = json.dumps(messages, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
    return base64.b64encode(gzip.compress(raw, compresslevel=6, mtime=0)).decode("ascii")


def _messages(path: Path) -> Iterator[dict[str, str]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        found = [(str(m.get("role", "?")), _text(m.get("content"))) for m in document.get("messages", [])]
    except FileNotFoundError:
        found = [("note", "No trajectory was kept for this attempt.")]
    except (ValueError, AttributeError, TypeError) as error:
        found = [("note", f"The trajectory cannot be read: {error}")]
    for role, content in found:
        yield {"role": role, "content": _cut(content)}


def _text(content: object) -> str:
    """Content is a string, or a list of parts of which the text ones count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else json.dumps(content)


def _cut(text: str) -> str:
    if len(text) <= MESSAGE_CHARACTERS:
        return text
    half = MESSAGE_CHARACTERS // 2
    return f"{text[:half]}\n\n[... {len(text) - 2 * half} characters left out here ...]\n\n{text[-half:]}"
