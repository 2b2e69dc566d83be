"""What the engine needs of a verifier; `repoexpert.experience.verifying.Verifier` is one."""

from __future__ import annotations

from typing import Protocol

from repoexpert.experience.tasks import Task


class VerdictLike(Protocol):
    """A verifier's answer."""

    @property
    def verified(self) -> bool:
        """The answer solves the task."""

    @property
    def reason(self) -> str:
        """A short constant when it does not."""

    @property
    def detail(self) -> str:
        """For people."""


class VerifierLike(Protocol):
    """Grades a patch in a fresh sandbox of its own."""

    async def verify(self, task: Task, patch: str) -> VerdictLike:
        """Raises SandboxLost or another InfrastructureError when it cannot tell."""
