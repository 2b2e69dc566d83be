"""Sandboxes of an environment artifact on this machine, for the stages that run tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from repoexpert.repository.records import EnvironmentRecord
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.environments import unpack_cached
from repoexpert.sandbox.protocol import Limits, SandboxPool


@asynccontextmanager
async def open_pool(environment_dir: Path, cache: Path) -> AsyncIterator[SandboxPool]:
    """A pool with the artifact's virtual environment and probe, unpacked in `cache` at most once."""
    record = EnvironmentRecord.model_validate_json((environment_dir / "environment.json").read_bytes())
    environment = await asyncio.to_thread(unpack_cached, environment_dir / "env.tar.zst", cache)
    probe = await asyncio.to_thread(unpack_cached, environment_dir / "probe.tar.zst", cache)
    async with BubblewrapPool(environment, probe, Path(record.python_prefix), Limits(), cache / "sandboxes") as pool:
        yield pool
