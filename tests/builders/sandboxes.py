"""Start trees, and pools of real bubblewrap sandboxes over this Python, for tests."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.protocol import Limits

MIB = 1 << 20
SMALL = Limits(memory_bytes=256 * MIB, processes=64, file_bytes=64 * MIB, output_bytes=100_000, disk_bytes=128 * MIB)
PYTHON = f"{sys.base_prefix}/bin/python3"
"""The interpreter, as a sandbox sees it."""


def make_archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A tar of the files, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return path


def make_pool(scratch: Path, limits: Limits = SMALL, environment_dir: Path | None = None) -> BubblewrapPool:
    """A pool whose sandboxes have this interpreter and, without `environment_dir`, no virtual environment."""
    return BubblewrapPool(environment_dir, None, Path(sys.base_prefix), limits, scratch)
