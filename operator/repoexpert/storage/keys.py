"""Keys and records as paths: parsing and selecting. Pure; called by both backends and the command line."""

from __future__ import annotations

import re

from pydantic import ValidationError

from repoexpert.storage.records import ArtifactKey

_RECORD = re.compile(r"[a-z0-9][-a-z0-9]{0,99}")


def parse_key(path: str) -> ArtifactKey | None:
    """The key of `NAMESPACE/NAME/STAGE/FINGERPRINT`, or None when the path is something else."""
    parts = path.split("/")
    if len(parts) != 4:
        return None
    try:
        return ArtifactKey(namespace=parts[0], name=parts[1], stage=parts[2], fingerprint=parts[3])
    except ValidationError:
        return None


def select(key: ArtifactKey, namespace: str | None, name: str | None, stage: str | None) -> bool:
    """Whether the key matches every part that is given."""
    return namespace in (None, key.namespace) and name in (None, key.name) and stage in (None, key.stage)


def record_file(namespace: str, name: str, record: str) -> str:
    """Where a record lies below the store: `NAMESPACE/NAME/RECORD.json`. Raises ValueError for an unsafe name."""
    if not _RECORD.fullmatch(record):
        raise ValueError(f"record name {record!r}: lower-case letters, digits and dashes only")
    # The key's own validation keeps namespace and name from leaving the store.
    checked = ArtifactKey(namespace=namespace, name=name, stage="record", fingerprint="0" * 64)
    return f"{checked.namespace}/{checked.name}/{record}.json"
