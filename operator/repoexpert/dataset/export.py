"""Writes the dataset artifact: JSONL per unit, the training and held-out files, and `dataset.json` with every count.

Called by the dataset stage. Byte for byte the same for the same rows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from repoexpert.dataset.build import FILTERS, Built, Options, Row
from repoexpert.experience.tasks import UNIT_FOLDERS

TRAIN = "train.jsonl"
HELDOUT = "heldout.jsonl"
DESCRIPTION = "dataset.json"


def repository_file(url: str) -> str:
    """`REPO.jsonl` from a repository's URL."""
    name = url.rstrip("/").removesuffix(".git").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', name) or 'repository'}.jsonl"


def write_dataset(
    folder: Path, built: Built, options: Options, *, repository: str, tokenizer: str, student: str
) -> dict[str, Any]:
    """Write every file below `folder` and return what `dataset.json` says."""
    names = {TRAIN: built.train, HELDOUT: built.heldout}
    for unit in sorted({row.unit for row in built.train}):
        rows = sorted((row for row in built.train if row.unit == unit), key=lambda row: row.id)
        names[f"data/{UNIT_FOLDERS[unit]}/{repository_file(repository)}"] = tuple(rows)
    hashes = {name: _write_rows(folder / name, rows) for name, rows in names.items()}
    description = describe(built, options) | {
        "repository": repository,
        "student": student,
        "tokenizerSha256": tokenizer,
        "files": hashes,
    }
    _write(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")
    return description


def describe(built: Built, options: Options) -> dict[str, Any]:
    """Every count worth knowing, JSON values."""
    kept = [*built.train, *built.heldout]
    return {
        "format": 1,
        "template": options.template,
        "maxLength": options.max_length,
        "perTask": options.per_task,
        "seed": options.seed,
        "decontaminated": bool(options.reserved),
        "rows": {"train": len(built.train), "heldout": len(built.heldout)},
        "scripted": sum(1 for row in kept if row.attempt.scripted),
        "teachers": dict(sorted(Counter(row.attempt.model for row in kept).items())),
        "units": {unit: _unit(unit, built, options) for unit in built.attempts},
        "tokens": {"train": _tokens(built.train), "heldout": _tokens(built.heldout)},
    }


def losses_table(description: dict[str, Any]) -> str:
    """The counts as a text table for people: one line a unit."""
    header = ["unit", "attempts", *FILTERS, "train", "heldout"]
    lines = [
        [unit, figures["attempts"], *(figures["lost"].get(name, 0) for name in FILTERS), figures["train"],
         figures["heldout"]]
        for unit, figures in description["units"].items()
    ]  # fmt: skip
    cells = [header, *([str(cell) for cell in line] for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def _unit(unit: str, built: Built, options: Options) -> dict[str, Any]:
    kept = [row for row in (*built.train, *built.heldout) if row.unit == unit]
    return {
        "attempts": built.attempts[unit],
        "lost": dict(built.lost[unit]),
        "wanted": options.quotas.get(unit),
        "train": sum(1 for row in built.train if row.unit == unit),
        "heldout": sum(1 for row in built.heldout if row.unit == unit),
        "tasks": len({row.attempt.task for row in kept}),
        "maskedLoopTurns": sum(row.conversation.loop_turns for row in kept),
        "maskedFormatErrorTurns": sum(row.conversation.format_error_turns for row in kept),
    }


def _tokens(rows: Sequence[Row]) -> dict[str, int]:
    lengths = sorted(row.tokens for row in rows)
    if not lengths:
        return {"total": 0, "trained": 0}
    quantiles = {f"p{part}": lengths[min(len(lengths) - 1, part * len(lengths) // 100)] for part in (5, 50, 95)}
    trained = sum(row.trained_tokens for row in rows)
    return {"total": sum(lengths), "trained": trained, "min": lengths[0], **quantiles, "max": lengths[-1]}


def _write_rows(path: Path, rows: Iterable[Row]) -> str:
    text = "".join(json.dumps(row.record(), ensure_ascii=False) + "\n" for row in rows)
    _write(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.aside")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
