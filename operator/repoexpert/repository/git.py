"""Runs Git on repositories that may be hostile. The only module of this package that starts `git`.

Whatever a repository contains or its configuration says, these commands run no hook, no filter, no submodule and
no transport but those named here, and never ask anything at a terminal.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from repoexpert.errors import InfrastructureError
from repoexpert.repository.credentials import without_secrets

PROTOCOLS = ("https", "http", "ssh", "file")

_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.symlinks": "true",
    "core.autocrlf": "false",
    "core.quotePath": "false",
    "core.attributesFile": os.devnull,
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "credential.interactive": "false",
    "filter.lfs.smudge": "",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "log.showSignature": "false",
    "diff.external": "",
    # No diff of a larger file is made, and none is held in memory while it is fetched.
    "core.bigFileThreshold": "4m",
    # A server that stops sending is given up after a minute instead of holding the stage for ever.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}

_FORGOTTEN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_CURL_VERBOSE",
    "GIT_EXTERNAL_DIFF",
    "GIT_PREFIX",
)


class GitFailed(Exception):
    """A Git command ended with an error; `reason` is what Git itself said."""

    def __init__(self, command: str, exit_code: int, reason: str) -> None:
        super().__init__(f"git {command} failed ({exit_code}): {reason}")
        self.exit_code = exit_code
        self.reason = reason


def environment(extra: Mapping[str, str] | None = None, *, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment for a Git process: the settings above, the caller's repository variables forgotten."""
    inherited = without_secrets(os.environ if base is None else base)
    env = {key: value for key, value in inherited.items() if key not in _FORGOTTEN}
    env = {key: value for key, value in env.items() if not key.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
    env["GIT_CONFIG_COUNT"] = str(len(_SETTINGS))
    for index, (key, value) in enumerate(_SETTINGS.items()):
        env[f"GIT_CONFIG_KEY_{index}"] = key
        env[f"GIT_CONFIG_VALUE_{index}"] = value
    env |= {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C.UTF-8",
    }
    return env | dict(extra or {})


def run_git(
    git_dir: Path | None,
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    extra_env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> bytes:
    """Standard output of `git ARGUMENTS` on `git_dir`.

    Raises GitFailed with Git's own words, InfrastructureError when Git is missing or takes over `timeout` seconds.
    """
    place = [] if git_dir is None else [f"--git-dir={git_dir}"]
    try:
        done = subprocess.run(
            ["git", *place, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=environment(extra_env),
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as e:
        raise InfrastructureError("git is not installed on this machine; install the package `git`") from e
    except subprocess.TimeoutExpired as e:
        raise InfrastructureError(f"git {arguments[0]} did not finish within {timeout:.0f} s") from e
    if done.returncode:
        raise GitFailed(arguments[0], done.returncode, done.stderr.decode(errors="replace").strip())
    return done.stdout


def git_text(git_dir: Path | None, *arguments: str, extra_env: Mapping[str, str] | None = None) -> str:
    """As `run_git`, decoded; bytes that are no UTF-8 come back as surrogates."""
    return run_git(git_dir, arguments, extra_env=extra_env).decode(errors="surrogateescape")
