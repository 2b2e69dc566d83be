"""The store's interface and its opening by URL. Called by everything that reads or writes artifacts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from repoexpert.errors import BadInput
from repoexpert.storage.problems import CorruptArtifact
from repoexpert.storage.records import ArtifactKey, Manifest, Manifests, Problems, StoredArtifacts

__all__ = ["ArtifactStore", "CorruptArtifact", "Draft", "default_cache", "open_store"]


class Draft(Protocol):
    """One writer's hold on an artifact."""

    @property
    def done(self) -> bool:
        """True when the artifact was complete already, or a rival completed it while we waited."""

    @property
    def path(self) -> Path:
        """The working folder; after a crash it still holds what was written."""

    def complete(
        self, *, summary: Mapping[str, Any], upstream: Mapping[str, str], tools: Mapping[str, str], now: datetime
    ) -> Manifest:
        """Hash the files and write the manifest, last. Returns the manifest that stands, a faster rival's included."""


class ArtifactStore(Protocol):
    """Artifacts and small records; two backends."""

    @property
    def url(self) -> str:
        """Absolute URL or path, good for `open_store` from any folder."""

    def manifest(self, key: ArtifactKey) -> Manifest | None:
        """The manifest of a complete artifact, else None. Raises CorruptArtifact when it cannot be read."""

    def fetch(self, key: ArtifactKey) -> Path:
        """Local, read-only folder with every file checked. Raises CorruptArtifact; BadInput when there is none."""

    def draft(self, key: ArtifactKey, *, waiting: Callable[[str], None] | None = None) -> AbstractContextManager[Draft]:
        """Exclusive among writers of the key on this machine; `waiting` hears once of the process that is waited for."""

    def list(self, namespace: str | None = None, name: str | None = None, stage: str | None = None) -> Manifests:
        """Manifests of complete, readable artifacts, oldest first."""

    def states(
        self, namespace: str | None = None, name: str | None = None, stage: str | None = None
    ) -> StoredArtifacts:
        """Everything there is, half-written and unreadable artifacts included."""

    def remove(self, key: ArtifactKey) -> None:
        """Remove an artifact, complete or not. Raises BadInput when there is none or somebody is writing it."""

    def verify(self, key: ArtifactKey) -> Problems:
        """Read every byte; what is wrong, one sentence each. Empty: the artifact is whole."""

    def hold(self, namespace: str, name: str) -> AbstractContextManager[None]:
        """Exclusive among runs of one expert on this machine. Raises Locked, with the holder, at once."""

    def holder(self, namespace: str, name: str) -> str | None:
        """Process id of the run that holds the expert, or None."""

    def read_record(self, namespace: str, name: str, record: str) -> dict[str, Any] | None:
        """A small mutable JSON object, or None."""

    def write_record(self, namespace: str, name: str, record: str, value: Mapping[str, Any]) -> None:
        """Replace the record atomically."""


def default_cache() -> Path:
    """`$REPOEXPERT_CACHE`, else `repoexpert` in the user's cache folder."""
    if chosen := os.environ.get("REPOEXPERT_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "repoexpert"


def open_store(url: str, cache: Path | None = None) -> ArtifactStore:
    """Open a store by `file:///path`, a plain path or `s3://bucket/prefix`. Touches nothing yet.

    `cache` holds what is fetched from a bucket and the drafts on their way to one; a directory store needs none.
    """
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.scheme == "file":
        from repoexpert.storage.directory import DirectoryStore

        return DirectoryStore(_local_path(url))
    if parts.scheme != "s3":
        raise BadInput(f"store {url}: the scheme {parts.scheme}:// is not known; use a folder, file:/// or s3://")
    if parts.username or parts.password:
        raise BadInput("store: credentials do not belong in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not parts.netloc or parts.query or parts.fragment:
        raise BadInput(f"store {url}: expected s3://BUCKET/PREFIX")
    from repoexpert.storage.bucket import BucketStore

    return BucketStore(parts.netloc, parts.path.strip("/"), cache=cache or default_cache())


def _local_path(url: str) -> Path:
    if not url.startswith("file:"):
        if not url.strip():
            raise BadInput("store: the path is empty")
        return Path(url).expanduser().absolute()
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise BadInput(f"store {url}: a file URL has three slashes, as in file:///data/store")
    return Path(unquote(parts.path))
