"""Where commands run: the one Protocol that the backends implement and everything else uses.

Fixed paths inside every sandbox, whatever the backend, so that environments can be moved:
the repository at `/testbed` (the paper's), the virtual environment at `/opt/repoexpert/env`, helper code of ours
(the pytest probe) at `/opt/repoexpert/probe`, both read-only; a private `/tmp`; `HOME=/tmp/home`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

TESTBED = "/testbed"
ENVIRONMENT = "/opt/repoexpert/env"
PROBE = "/opt/repoexpert/probe"


@dataclass(frozen=True)
class Result:
    """What a command did. An infrastructure failure is never a Result: it is raised as SandboxLost."""

    output: str
    """stdout and stderr together, decoded with replacement, at most the sandbox's output cap."""
    exit_code: int
    """The shell's; 124 when timed out (its whole process group was killed)."""
    timed_out: bool = False
    truncated: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class StartTree:
    """What a sandbox's `/testbed` holds: the archive's files, then the patches in order, then `files` laid
    over; committed as one orphan commit unless `commit` is False."""

    archive: Path
    """A tar (.tar or .tar.zst) of the repository's tree at its commit, no Git objects."""
    overlay: Path | None = None
    """A tar of untracked files that the environment's installation left in the tree (extensions, egg-info)."""
    patches: tuple[str, ...] = ()
    """Unified diffs for `git apply`."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Relative path to content, laid over last."""
    commit: bool = True


@dataclass(frozen=True)
class Limits:
    """Bounds on one sandbox."""

    memory_bytes: int = 4 << 30
    processes: int = 512
    cpu_seconds: int = 3600
    file_bytes: int = 2 << 30
    output_bytes: int = 1 << 20
    disk_bytes: int = 8 << 30
    """Of /testbed and /tmp together; a command that goes past it is killed like one that timed out."""


class Sandbox(Protocol):
    """A place to run commands on one task's tree."""

    async def run(
        self, command: str, *, timeout: float, env: Mapping[str, str] | None = None, cwd: str = TESTBED
    ) -> Result:
        """Run `command` with bash; kills its process group after `timeout` seconds. Raises SandboxLost."""

    async def put(self, path: str, content: bytes) -> None:
        """Write a file (absolute path inside, or relative to /testbed)."""

    async def get(self, path: str) -> bytes:
        """Read a file; raises FileNotFoundError."""


class SandboxPool(Protocol):
    """Gives out sandboxes that all share one environment."""

    def claim(self, start: StartTree) -> AbstractAsyncContextManager[Sandbox]:
        """A fresh sandbox with this start tree; gone when the context ends."""
