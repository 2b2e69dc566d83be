"""References to objects beside the resource. The key material itself never enters a spec, a fingerprint or a log."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from repoexpert.api.base import ApiModel
from repoexpert.api.scalars import ObjectName, Text


class SecretRef(ApiModel):
    """A Secret in the namespace of the resource."""

    name: ObjectName = Field(description="Name of the Secret.")


class SecretKeyRef(ApiModel):
    """One key of a Secret in the namespace of the resource."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: Annotated[str, Text(253, r"^[-._a-zA-Z0-9]+$", "is not a Secret key: letters, digits, '-', '_' and '.'")] = (
        Field(description="Key inside the Secret.")
    )
