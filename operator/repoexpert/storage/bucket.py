"""Artifact store in an S3-compatible bucket, through s3fs. Opened by `store.open_store`.

A draft is a folder below the cache. Completing uploads its files below a prefix of the writer's own and then puts the
manifest on the condition that there is none yet (If-None-Match: *), so of several writers one whole artifact stands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from repoexpert.errors import BadInput
from repoexpert.storage.files import Verifier, freeze, write_atomically
from repoexpert.storage.keys import parse_key, record_file, select
from repoexpert.storage.locks import Locked, holder, lock
from repoexpert.storage.manifests import build_manifest, corrupt, manifest_bytes, parse_manifest, parse_record
from repoexpert.storage.objects import Objects
from repoexpert.storage.problems import CorruptArtifact, disk
from repoexpert.storage.records import (
    MANIFEST,
    ArtifactKey,
    Manifest,
    Manifests,
    Problems,
    StoredArtifact,
    StoredArtifacts,
)


class BucketDraft:
    """A writer's hold on a scratch folder that becomes an artifact when it is complete."""

    def __init__(self, store: BucketStore, key: ArtifactKey, path: Path, manifest: Manifest | None) -> None:
        self.path = path
        self.done = manifest is not None
        self._store = store
        self._key = key
        self._manifest = manifest

    def complete(
        self, *, summary: Mapping[str, Any], upstream: Mapping[str, str], tools: Mapping[str, str], now: datetime
    ) -> Manifest:
        """Upload, then put the manifest; when a rival's stands already, drop ours and return the rival's."""
        if self._manifest is None:
            with disk(self.path):
                ours = build_manifest(
                    self._key,
                    self.path,
                    self._store.verifier,
                    summary,
                    upstream,
                    tools,
                    now,
                    root=self._store.upload_root(self.path),
                )
            self._manifest = self._store.publish(ours, self.path)
            self.done = True
        return self._manifest


class BucketStore:
    """See `store.ArtifactStore`."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        cache: Path,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self.verifier = Verifier()
        self._objects = Objects(bucket, prefix)
        self._cache = cache / "buckets" / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._new_id = new_id

    def manifest(self, key: ArtifactKey) -> Manifest | None:
        content = self._objects.read(f"{key}/{MANIFEST}")
        return None if content is None else parse_manifest(content, key, self.url)

    def fetch(self, key: ArtifactKey) -> Path:
        manifest = self.manifest(key)
        if manifest is None:
            raise BadInput(f"the store {self.url} has no complete artifact {key}")
        whole = self._whole(key)
        with disk(whole):
            whole.parent.mkdir(parents=True, exist_ok=True)
            with lock(whole.with_name(f".{whole.name}.lock"), wait=True):
                if whole.is_dir() and not self.verifier.problems(whole, manifest.files):
                    return whole
                self._download(manifest, whole)
        return whole

    @contextlib.contextmanager
    def draft(self, key: ArtifactKey, *, waiting: Callable[[str], None] | None = None) -> Iterator[BucketDraft]:
        folder = self._scratch(key)
        manifest = self.manifest(key)
        if manifest is not None:
            yield BucketDraft(self, key, folder, manifest)
            return
        with contextlib.ExitStack() as stack:
            with disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock(folder.with_name(f".{folder.name}.lock"), wait=True, waiting=waiting))
                # The one we waited for has moved its folder away when it completed.
                folder.mkdir(exist_ok=True)
            yield BucketDraft(self, key, folder, self.manifest(key))

    def list(self, namespace: str | None = None, name: str | None = None, stage: str | None = None) -> Manifests:
        found = [item.manifest for item in self.states(namespace, name, stage) if item.manifest is not None]
        return sorted(found, key=lambda manifest: manifest.created)

    def states(
        self, namespace: str | None = None, name: str | None = None, stage: str | None = None
    ) -> StoredArtifacts:
        below = "/".join([part for part in (namespace, name if namespace else None) if part])
        keys = {parse_key("/".join(path.split("/")[:4])) for path in self._objects.names(below)}
        found = []
        for key in sorted((key for key in keys if key is not None), key=str):
            if not select(key, namespace, name, stage):
                continue
            try:
                manifest = self.manifest(key)
            except CorruptArtifact:
                found.append(StoredArtifact(key, "corrupt"))
                continue
            found.append(StoredArtifact(key, "complete" if manifest else "partial", manifest))
        return found

    def remove(self, key: ArtifactKey) -> None:
        names = self._objects.names(str(key))
        scratch, whole = self._scratch(key), self._whole(key)
        if not names and not scratch.is_dir() and not whole.is_dir():
            raise BadInput(f"the store {self.url} has no artifact {key}")
        try:
            with disk(scratch):
                scratch.parent.mkdir(parents=True, exist_ok=True)
                with lock(scratch.with_name(f".{scratch.name}.lock"), wait=False):
                    # First the manifest: a removal that is killed leaves nothing that looks whole.
                    self._objects.delete([name for name in names if name == f"{key}/{MANIFEST}"])
                    self._objects.delete([name for name in names if name != f"{key}/{MANIFEST}"])
                    for folder in (scratch, whole):
                        shutil.rmtree(folder, ignore_errors=True)
        except Locked as error:
            raise BadInput(f"{key} is being written by process {error.holder}: stop it first") from error

    def verify(self, key: ArtifactKey) -> Problems:
        """Downloads the artifact beside the cache and compares, so that the bucket is judged and not the cache."""
        try:
            manifest = self.manifest(key)
        except CorruptArtifact as error:
            return [str(error)]
        if manifest is None:
            return [f"not complete: {MANIFEST} is missing"]
        aside = self._whole(key).with_name(f".verify-{self._new_id()}")
        try:
            with disk(aside):
                missing = self._objects.download(self._root(manifest), list(manifest.files), aside)
                return [f"{name} is missing" for name in missing] or Verifier().problems(aside, manifest.files)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

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
        path = record_file(namespace, name, record)
        content = self._objects.read(path)
        return None if content is None else parse_record(content, f"{self.url}/{path}")

    def write_record(self, namespace: str, name: str, record: str, value: Mapping[str, Any]) -> None:
        content = json.dumps(value, indent=1, sort_keys=True).encode()
        self._objects.write(record_file(namespace, name, record), content)

    def upload_root(self, scratch: Path) -> str:
        """Prefix of this draft's upload, remembered beside it so that a second try overwrites what a first one left."""
        note = scratch.with_name(f".{scratch.name}.upload")
        if not note.exists():
            write_atomically(note, f"files-{self._new_id()}".encode())
        return note.read_text(encoding="utf-8").strip()

    def publish(self, manifest: Manifest, scratch: Path) -> Manifest:
        """Upload the files and claim the key. The loser's upload is removed, the winner's folder becomes the cache."""
        key = manifest.key
        self._objects.upload(scratch, self._root(manifest), list(manifest.files))
        won = self._objects.create(f"{key}/{MANIFEST}", manifest_bytes(manifest))
        standing = manifest if won else self.manifest(key)
        if standing is None:
            raise CorruptArtifact(f"the manifest of {key} in {self.url} came and went while it was written: run again")
        names = self._objects.names(str(key))
        kept = (f"{key}/{MANIFEST}", f"{key}/{standing.root}/")
        self._objects.delete([name for name in names if not name.startswith(kept)])
        with disk(scratch):
            scratch.with_name(f".{scratch.name}.upload").unlink(missing_ok=True)
            whole = self._whole(key)
            if standing.root == manifest.root and not whole.exists():
                whole.parent.mkdir(parents=True, exist_ok=True)
                scratch.rename(whole)
                freeze(whole)
            else:
                shutil.rmtree(scratch, ignore_errors=True)
        return standing

    def _download(self, manifest: Manifest, whole: Path) -> None:
        aside = whole.with_name(f".{whole.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(whole, ignore_errors=True)
        missing = self._objects.download(self._root(manifest), list(manifest.files), aside)
        problems = [f"{name} is missing" for name in missing] or self.verifier.problems(aside, manifest.files)
        if problems:
            shutil.rmtree(aside, ignore_errors=True)
            raise corrupt(manifest.key, self.url, problems)
        aside.rename(whole)
        freeze(whole)

    def _root(self, manifest: Manifest) -> str:
        return f"{manifest.key}/{manifest.root}".rstrip("/")

    def _scratch(self, key: ArtifactKey) -> Path:
        return self._cache / "drafts" / str(key)

    def _whole(self, key: ArtifactKey) -> Path:
        return self._cache / "artifacts" / str(key)

    def _run_lock(self, namespace: str, name: str) -> Path:
        return (self._cache / record_file(namespace, name, "run")).with_name(".run.lock")
