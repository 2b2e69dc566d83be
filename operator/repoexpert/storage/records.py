"""What an artifact is: its key, its manifest. No IO here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
