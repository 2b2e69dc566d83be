"""A user namespace of one's own for each sandbox, when the worker runs as root.

Without it a sandbox's user would be the machine's root with its capabilities taken away: it would own every file of root,
write below /proc/sys, and RLIMIT_NPROC would not hold. Here user 1000 inside is an unused id outside, and inside no further
user namespace can be made. The namespace lives as long as its file descriptor. Called by `bubblewrap`.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from repoexpert.errors import InfrastructureError
from repoexpert.sandbox.arguments import USER_ID

_FIRST_ID = 1_879_048_192
"""Above the ids that distributions, container engines and systemd hand out."""
_START_SECONDS = 10.0
_NO_MORE = "echo 0 > /proc/sys/user/max_user_namespaces"
"""Inside the namespace this bounds the namespaces below it."""


class UserNamespace:
    """A user namespace with root and user 1000 only; `fd` refers to it, `outside_id` owns what user 1000 writes."""

    def __init__(self, index: int) -> None:
        self.outside_id = _FIRST_ID + index
        self.fd = _open_namespace(self.outside_id)

    def close(self) -> None:
        os.close(self.fd)


def _open_namespace(outside_id: int) -> int:
    """Start a helper in a new namespace, map its ids, keep the namespace by its descriptor, let the helper end."""
    with subprocess.Popen(
        ["/usr/bin/unshare", "--user", "/bin/sh", "-c", "read end"], stdin=subprocess.PIPE, env={}
    ) as helper:
        folder = Path(f"/proc/{helper.pid}")
        try:
            _await_namespace(folder)
            for name in ("uid_map", "gid_map"):
                (folder / name).write_text(f"0 0 1\n{USER_ID} {outside_id} 1\n", encoding="ascii")
            subprocess.run(
                ["/usr/bin/nsenter", f"--user={folder}/ns/user", "/bin/sh", "-c", _NO_MORE], check=True, env={}
            )
            return os.open(folder / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, subprocess.CalledProcessError) as error:
            raise InfrastructureError(
                f"cannot make a user namespace for a sandbox ({error}); is `kernel.unprivileged_userns_clone` 0, or is"
                " this a container without CAP_SYS_ADMIN?"
            ) from error
        finally:
            helper.kill()


def _await_namespace(folder: Path) -> None:
    own = Path("/proc/self/ns/user").stat().st_ino
    deadline = time.monotonic() + _START_SECONDS
    while (folder / "ns/user").stat().st_ino == own:
        if time.monotonic() > deadline:
            raise InfrastructureError(f"`unshare --user` did not start within {_START_SECONDS:.0f} s")
        time.sleep(0.0005)
