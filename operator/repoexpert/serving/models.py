"""Which model an expert serves: the record `current` in the store, and where a training artifact keeps its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from repoexpert.errors import BadInput
from repoexpert.storage.records import ArtifactKey
from repoexpert.storage.store import ArtifactStore

CURRENT = "current"
WEIGHTS = "model"


class Current(BaseModel):
    """The served model. Replaced as a whole when a candidate passes the gate."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    """The training artifact's key, `NAMESPACE/NAME/training/FINGERPRINT`."""
    since: str
    revision: int
    previous: str | None = None
    """The key that was served before."""

    @property
    def key(self) -> ArtifactKey:
        """The key, parsed."""
        namespace, name, stage, fingerprint = self.model.split("/")
        return ArtifactKey(namespace=namespace, name=name, stage=stage, fingerprint=fingerprint)


def read_current(store: ArtifactStore, namespace: str, name: str) -> Current | None:
    """The served model; None when there is none. Raises BadInput for a record that cannot be read."""
    found = store.read_record(namespace, name, CURRENT)
    if found is None:
        return None
    try:
        current = Current.model_validate(found)
        current.key  # noqa: B018 - parsing is the check
    except (ValidationError, ValueError) as error:
        raise BadInput(
            f"the record `{CURRENT}` of {namespace}/{name} in {store.url} cannot be read: {error}"
        ) from error
    return current


def next_revision(previous: Mapping[str, Any] | None) -> int:
    """1 for the first model that is served."""
    revision = (previous or {}).get("revision")
    return revision + 1 if isinstance(revision, int) else 1


def weights(training: Path) -> Path:
    """The model's folder inside a training artifact. Raises BadInput when there is none."""
    folder = training / WEIGHTS
    if not (folder / "config.json").is_file():
        raise BadInput(f"{training} holds no model: {WEIGHTS}/config.json is missing; train again")
    return folder
