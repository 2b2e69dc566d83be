"""Reads the prompt files. Called by `attempt`, by the rollout stage (keys) and by evaluation."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources

from repoexpert.errors import BadInput


@dataclass(frozen=True)
class Prompts:
    """System and instance template of one unit (jinja), and the hash of both."""

    system: str
    instance: str

    @property
    def digest(self) -> str:
        """16 hex digits over both templates."""
        return hashlib.sha256(f"{self.system}\0{self.instance}".encode()).hexdigest()[:16]


@functools.cache
def prompts_of(unit: str) -> Prompts:
    """The prompts of a unit by its API name. BadInput when there are none."""
    folder = resources.files("repoexpert.agent.prompts")
    instance = folder / f"{unit}.jinja"
    if not instance.is_file():
        raise BadInput(f"unit {unit!r} has no prompt: it is not available yet")
    return Prompts(
        system=(folder / "system.jinja").read_text(encoding="utf-8").rstrip("\n"),
        instance=instance.read_text(encoding="utf-8").rstrip("\n"),
    )
