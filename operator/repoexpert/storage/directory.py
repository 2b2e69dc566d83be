"""Artifact store in a directory (a laptop's disk, a volume of a cluster). Opened by `store.open_store`.

A draft is the final folder without its manifest, so completing copies nothing and a killed stage finds its files.
The lock lies beside that folder, as `.FINGERPRINT.lock`, outside what is hashed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from repoexpert.errors import BadInput
from repoexpert.storage.files import Verifier, flush, freeze, write_atomically
from repoexpert.storage.keys import parse_key, record_file, select
from repoexpert.storage.locks import Locked, holder, lock
from repoexpert.storage.manifests import build_manifest, corrupt, manifest_bytes, parse_manifest, parse_record
from repoexpert.storage.problems import CorruptArtifact, disk, disk_problem
from repoexpert.storage.records import (
    MANIFEST,
    ArtifactKey,
    Manifest,
    Manifests,
    Problems,
    StoredArtifact,
    StoredArtifacts,
)


class DirectoryDraft:
    """A writer's hold on one folder."""

    def __init__(self, path: Path, key: ArtifactKey, verifier: Verifier, manifest: Manifest | None) -> None:
        self.path = path
        self.done = manifest is not None
        self._key = key
        self._verifier = verifier
        self._manifest = manifest

    def complete(
        self, *, summary: Mapping[str, Any], upstream: Mapping[str, str], tools: Mapping[str, str], now: datetime
    ) -> Manifest:
        """Hash, flush, then write the manifest by rename."""
        if self._manifest is not None:
            return self._manifest
        with disk(self.path):
            manifest = build_manifest(self._key, self.path, self._verifier, summary, upstream, tools, now)
            flush(self.path)
            # Aside is outside the folder: what a kill leaves there must not be hashed by the next try.
            aside = self.path.with_name(f".{self.path.name}.manifest")
            write_atomically(self.path / MANIFEST, manifest_bytes(manifest), aside=aside)
            freeze(self.path)
        self._manifest = manifest
        self.done = True
        return manifest


class DirectoryStore:
    """See `store.ArtifactStore`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._verifier = Verifier()

    @property
    def url(self) -> str:
        return str(self._root)

    def manifest(self, key: ArtifactKey) -> Manifest | None:
        try:
            content = (self._folder(key) / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise disk_problem(error, self._root) from error
        return parse_manifest(content, key, self.url)

    def fetch(self, key: ArtifactKey) -> Path:
        manifest = self.manifest(key)
        if manifest is None:
            raise BadInput(f"the store {self.url} has no complete artifact {key}")
        with disk(self._root):
            problems = self._verifier.problems(self._folder(key), manifest.files)
        if problems:
            raise corrupt(key, self.url, problems)
        return self._folder(key)

    @contextlib.contextmanager
    def draft(self, key: ArtifactKey, *, waiting: Callable[[str], None] | None = None) -> Iterator[DirectoryDraft]:
        folder = self._folder(key)
        manifest = self.manifest(key)
        if manifest is not None:
            yield DirectoryDraft(folder, key, self._verifier, manifest)
            return
        with contextlib.ExitStack() as stack:
            with disk(self._root):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock(self._lock(key), wait=True, waiting=waiting))
                # The one we waited for may have been `artifacts rm`.
                folder.mkdir(exist_ok=True)
            yield DirectoryDraft(folder, key, self._verifier, self.manifest(key))

    def list(self, namespace: str | None = None, name: str | None = None, stage: str | None = None) -> Manifests:
        found = [item.manifest for item in self.states(namespace, name, stage) if item.manifest is not None]
        return sorted(found, key=lambda manifest: manifest.created)

    def states(
        self, namespace: str | None = None, name: str | None = None, stage: str | None = None
    ) -> StoredArtifacts:
        found = []
        with disk(self._root):
            folders = [folder for folder in self._root.glob("*/*/*/*") if folder.is_dir()]
        for folder in sorted(folders):
            key = parse_key(folder.relative_to(self._root).as_posix())
            if key is None or not select(key, namespace, name, stage):
                continue
            try:
                manifest = self.manifest(key)
            except CorruptArtifact:
                found.append(StoredArtifact(key, "corrupt"))
                continue
            found.append(StoredArtifact(key, "complete" if manifest else "partial", manifest))
        return found

    def remove(self, key: ArtifactKey) -> None:
        folder = self._folder(key)
        if not folder.is_dir():
            raise BadInput(f"the store {self.url} has no artifact {key}")
        try:
            with disk(folder), lock(self._lock(key), wait=False):
                # Without its manifest the rest is a draft: a removal that is killed leaves nothing that looks whole.
                (folder / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(folder)
        except Locked as error:
            raise BadInput(f"{key} is being written by process {error.holder}: stop it first") from error

    def verify(self, key: ArtifactKey) -> Problems:
        try:
            manifest = self.manifest(key)
        except CorruptArtifact as error:
            return [str(error)]
        if manifest is None:
            return [f"not complete: {MANIFEST} is missing"]
        with disk(self._root):
            return Verifier().problems(self._folder(key), manifest.files)

    @contextlib.contextmanager
    def hold(self, namespace: str, name: str) -> Iterator[None]:
        path = self._run_lock(namespace, name)
        with contextlib.ExitStack() as stack:
            with disk(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock(path, wait=False))
            yield

    def holder(self, namespace: str, name: str) -> str | None:
        return holder(self._run_lock(namespace, name))

    def read_record(self, namespace: str, name: str, record: str) -> dict[str, Any] | None:
        path = self._root / record_file(namespace, name, record)
        try:
            return parse_record(path.read_bytes(), str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise disk_problem(error, path) from error

    def write_record(self, namespace: str, name: str, record: str, value: Mapping[str, Any]) -> None:
        path = self._root / record_file(namespace, name, record)
        with disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(value, indent=1, sort_keys=True).encode())

    def _folder(self, key: ArtifactKey) -> Path:
        return self._root / str(key)

    def _lock(self, key: ArtifactKey) -> Path:
        return self._folder(key).with_name(f".{key.fingerprint}.lock")

    def _run_lock(self, namespace: str, name: str) -> Path:
        return (self._root / record_file(namespace, name, "run")).with_name(".run.lock")
