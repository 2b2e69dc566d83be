"""What an artifact is: its key, its manifest. No IO here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MANIFEST = "manifest.json"


class ArtifactKey(BaseModel):
    """Where an artifact lives: `NAMESPACE/NAME/STAGE/FINGERPRINT`."""

    model_config = ConfigDict(frozen=True)

    namespace: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
    stage: str = Field(pattern=r"^[a-z][a-z-]*$", max_length=40)
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}/{self.stage}/{self.fingerprint}"


class FileEntry(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(ge=0, description="Bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """Written last: an artifact without it is not complete."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    key: ArtifactKey
    upstream: dict[str, str] = Field(default_factory=dict, description="Stage name to fingerprint.")
    created: datetime
    tools: dict[str, str] = Field(default_factory=dict, description="Tool name to version.")
    summary: dict[str, Any] = Field(default_factory=dict, description="The stage's own figures, JSON values.")
    files: dict[str, FileEntry] = Field(description="Relative POSIX path to size and sha256; the manifest excluded.")
    root: str = Field(default="", description="Prefix of the files below the artifact's folder (object stores).")

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for path in files:
            if not is_inside(path):
                raise ValueError(f"file path {path!r} is absolute or leaves the artifact's folder")
        return files

    @field_validator("root")
    @classmethod
    def _root_stays_inside(cls, root: str) -> str:
        if root and not is_inside(root):
            raise ValueError(f"root {root!r} is absolute or leaves the artifact's folder")
        return root

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


@dataclass(frozen=True)
class StoredArtifact:
    """One folder of the store as a listing sees it, complete or not."""

    key: ArtifactKey
    state: Literal["complete", "partial", "corrupt"]
    """`partial`: no manifest yet, a stage is at work or was stopped; `corrupt`: the manifest cannot be read."""
    manifest: Manifest | None = None


Manifests = list[Manifest]
StoredArtifacts = list[StoredArtifact]
Problems = list[str]
"""Named because a class with a method called `list` cannot write `list[...]` in its signatures."""


def is_inside(path: str) -> bool:
    """Whether a POSIX path is relative, normal and cannot leave the folder it is joined to."""
    return bool(path) and "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))
