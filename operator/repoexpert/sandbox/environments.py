"""Unpacked environments, one folder for each archive content, shared read-only by every sandbox on the machine.

Called by the stages before they make a pool.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from repoexpert.errors import InfrastructureError


def unpack_cached(archive: Path, cache: Path) -> Path:
    """The folder with `archive` (.tar or .tar.zst) unpacked below `cache/environments`, unpacking it at most once.

    Whole or absent: it is unpacked aside and renamed, so that two processes may ask at once and one may be killed.
    Files get no owner but this process and are readable by everyone, since a sandbox's user is someone else.
    """
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    home = cache / "environments"
    target = home / digest
    if target.is_dir():
        return target
    home.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{digest[:12]}.", dir=home))
    try:
        _unpack(archive, aside)
        aside.chmod(0o755)
        aside.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _unpack(archive: Path, folder: Path) -> None:
    for command in (
        ["tar", "-xf", str(archive), "-C", str(folder), "--no-same-owner"],
        ["chmod", "-R", "a+rX,go-w,u+w", str(folder)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
        if done.returncode != 0:
            raise InfrastructureError(f"cannot unpack {archive}: {done.stderr.strip()[-500:]}")
