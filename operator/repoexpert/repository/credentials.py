"""Git credentials: read from the environment, handed to Git by its environment, never in a command line or a log.

Read by mirror.py. A folder named by `REPOEXPERT_GIT_CREDENTIALS` has the keys of a Kubernetes Secret as file names
(`username`, `password` or `token`, `ssh-privatekey`, `known_hosts`); single variables override its files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "REPOEXPERT_GIT_CREDENTIALS"
_USERNAME = "REPOEXPERT_GIT_USERNAME"
_PASSWORD = "REPOEXPERT_GIT_PASSWORD"  # noqa: S105 - the name of a variable
_SSH_KEY = "REPOEXPERT_GIT_SSH_KEY"
_KNOWN_HOSTS = "REPOEXPERT_GIT_KNOWN_HOSTS"

# Git calls it with the prompt as its argument; the answers are in the environment of the Git process alone.
_ASKPASS = f"""#!/bin/sh
case "$1" in
  Username*) printf '%s\\n' "${_USERNAME}" ;;
  *) printf '%s\\n' "${_PASSWORD}" ;;
esac
"""

_SECRET = ("REPOEXPERT_GIT_", "REPOEXPERT_TEACHER_", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a child process may have which talks to no server of ours: no teacher's key, no Git credentials,
    no key of the store."""
    return {name: value for name, value in environ.items() if not name.startswith(_SECRET)}


@dataclass(frozen=True)
class Credentials:
    """What to show a Git server. Empty fields are not used."""

    username: str = ""
    password: str = field(default="", repr=False)
    ssh_key: Path | None = None
    known_hosts: Path | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Credentials:
        """Variables first, then the files of the folder. A token alone gets the user name `git`."""
        folder = Path(environ[FOLDER]) if environ.get(FOLDER) else None

        def text(variable: str, *names: str) -> str:
            if environ.get(variable):
                return environ[variable]
            files = [folder / name for name in names] if folder else []
            return next((file.read_text(encoding="utf-8").strip() for file in files if file.is_file()), "")

        def path(variable: str, name: str) -> Path | None:
            if environ.get(variable):
                return Path(environ[variable])
            return folder / name if folder and (folder / name).is_file() else None

        password = text(_PASSWORD, "password", "token")
        username = text(_USERNAME, "username") or ("git" if password else "")
        return cls(username, password, path(_SSH_KEY, "ssh-privatekey"), path(_KNOWN_HOSTS, "known_hosts"))

    def environment(self, helpers: Path) -> dict[str, str]:
        """Environment of a Git process; writes the askpass helper, which holds no secret, into `helpers`.

        A key file that others can read is refused by ssh: it is copied with mode 600 into `helpers`.
        """
        env: dict[str, str] = {}
        if self.password:
            askpass = helpers / "askpass"
            askpass.write_text(_ASKPASS, encoding="utf-8")
            askpass.chmod(0o700)
            env |= {"GIT_ASKPASS": str(askpass), _USERNAME: self.username, _PASSWORD: self.password}
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]
        if self.ssh_key:
            key = helpers / "key"
            key.touch(mode=0o600)
            key.write_bytes(self.ssh_key.read_bytes())
            ssh += ["-i", str(key), "-o", "IdentitiesOnly=yes"]
        if self.known_hosts:
            ssh += ["-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
        return env | {"GIT_SSH_COMMAND": shlex.join(ssh)} if self.ssh_key or self.known_hosts else env

    def redact(self, text: str) -> str:
        """`text` without the password and without user information in URLs."""
        if self.password:
            text = text.replace(self.password, "***")
        return redact_urls(text)


def redact_urls(text: str) -> str:
    """`text` with `user:password@` of every URL in it replaced."""
    return re.sub(r"(?<=://)[^/\s@']+@", "***@", text)
