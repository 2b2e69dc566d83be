"""What a finished stage leaves for whoever started it: an exit code and at most 4 kB of JSON (the limit of a
Kubernetes termination message). Pure; called by the stage entry, read by the local runner."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from repoexpert.errors import BadInput, InfrastructureError, Interrupted, RepoExpertError

LIMIT = 4096
"""Bytes."""

Kind = Literal["complete", "bad-input", "failed", "infrastructure", "interrupted", "bug"]


class Termination(BaseModel):
    """How a stage ended."""

    model_config = ConfigDict(extra="ignore")

    kind: Kind
    stage: str
    message: str = ""
    log: str = ""
    """The last lines worth reading, for a bug the end of its traceback."""
    fingerprint: str = ""
    summary: dict[str, Any] = {}
    """The manifest's, left out when it is too long."""


def kind_of(error: BaseException) -> Kind:
    """The word for an error."""
    if isinstance(error, BadInput):
        return "bad-input"
    if isinstance(error, InfrastructureError):
        return "infrastructure"
    if isinstance(error, Interrupted):
        return "interrupted"
    return "failed" if isinstance(error, RepoExpertError) else "bug"


def encode(termination: Termination) -> bytes:
    """JSON of at most LIMIT bytes: the summary goes first, then the log is cut, then the message."""
    for candidate in (
        termination,
        termination.model_copy(update={"summary": {}}),
        termination.model_copy(update={"summary": {}, "log": termination.log[-600:]}),
        termination.model_copy(update={"summary": {}, "log": "", "message": _cut(termination.message, 600)}),
    ):
        said = json.dumps(candidate.model_dump(exclude_defaults=True), ensure_ascii=False)
        content = said.encode(errors="replace")
        if len(content) <= LIMIT:
            break
    return content


def decode(content: bytes) -> Termination | None:
    """The termination, or None when the stage was killed before it could write one."""
    try:
        return Termination.model_validate_json(content)
    except ValueError:
        return None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
