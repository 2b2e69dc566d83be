"""Making, writing and reading manifests. Called by both backends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from repoexpert.errors import StageFailed
from repoexpert.storage.files import UnsafeFile, Verifier, scan
from repoexpert.storage.problems import CorruptArtifact
from repoexpert.storage.records import MANIFEST, ArtifactKey, Manifest


def build_manifest(
    key: ArtifactKey,
    folder: Path,
    verifier: Verifier,
    summary: Mapping[str, Any],
    upstream: Mapping[str, str],
    tools: Mapping[str, str],
    now: datetime,
    root: str = "",
) -> Manifest:
    """Hash the files of a draft. Raises UnsafeFile for links, StageFailed for a stage's own manifest."""
    try:
        found = scan(folder)
    except UnsafeFile as error:
        raise UnsafeFile(f"{error}. Discard the unfinished artifact with `repoexpert artifacts rm {key}`") from error
    if MANIFEST in found:
        raise StageFailed(f"the stage {key.stage} wrote a file named {MANIFEST}: that name belongs to the store")
    files = verifier.entries(folder, found)
    return Manifest(
        key=key,
        upstream=dict(upstream),
        created=now,
        tools=dict(tools),
        summary=dict(summary),
        files=files,
        root=root,
    )


def manifest_bytes(manifest: Manifest) -> bytes:
    """Indented, so that two manifests can be compared by eye and by `diff`. Files are sorted; a summary keeps its order,
    which says what the stage holds to be most important."""
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()


def parse_manifest(content: bytes, key: ArtifactKey, store: str) -> Manifest:
    """Raises CorruptArtifact when it is not a manifest, or that of another artifact."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise corrupt(key, store, [f"{MANIFEST} cannot be read: {first['msg']}"]) from error
    if manifest.key != key:
        raise corrupt(key, store, [f"{MANIFEST} belongs to {manifest.key}"])
    return manifest


def parse_record(content: bytes, where: str) -> dict[str, Any]:
    """Raises CorruptArtifact when the record is not a JSON object."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise CorruptArtifact(f"{where} is not JSON ({error}): remove it and run again") from error
    if not isinstance(value, dict):
        raise CorruptArtifact(f"{where} is not a JSON object: remove it and run again")
    return value


def corrupt(key: ArtifactKey, store: str, problems: list[str]) -> CorruptArtifact:
    """The error that names the damage and the command that mends it."""
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
    return CorruptArtifact(
        f"artifact {key} is damaged: {problems[0]}{more}. "
        f"Remove it with `repoexpert artifacts rm {key} --store {store}`, then run again"
    )
