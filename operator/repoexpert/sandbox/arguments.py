"""The argument list of one bubblewrap call. Pure: the pool, the environment stage and the tests share it.

What a command sees: the system's `/usr` read-only without other software's Python packages, the interpreter's prefix at
its own path, a made-up `/etc`, a fresh `/proc` and a minimal `/dev`, and the binds the caller gives. Nothing else of the
machine exists inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repoexpert.sandbox.protocol import ENVIRONMENT, TESTBED

HOME = "/tmp/home"  # noqa: S108 - a path inside the sandbox
USER_ID = 1000
"""User and group of every command inside."""

_SHM_BYTES = 256 << 20


@dataclass(frozen=True)
class Bind:
    """A folder or file of this machine at a path inside."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class System:
    """What of this machine's system a sandbox sees; made by `system.system_view`."""

    links: tuple[tuple[str, str], ...]
    """Merged-/usr links at the root: (`usr/bin`, `/bin`)."""
    folders: tuple[str, ...]
    """Root folders that are no links on this machine, bound read-only."""
    hidden: tuple[str, ...]
    """Folders to cover by an empty one: installed packages that may hold a copy of the answer."""
    prefix: str
    """The interpreter's installation; empty when it is below /usr."""


def command_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a command; nothing of this process's own environment is inherited."""
    return {
        "PATH": f"{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": HOME,
        "USER": "user",
        "VIRTUAL_ENV": ENVIRONMENT,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PAGER": "cat",
        "MANPAGER": "cat",
        "GIT_PAGER": "cat",
        "LESS": "-R",
        "PIP_PROGRESS_BAR": "off",
        "TQDM_DISABLE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(extra or {}),
    }


def bubblewrap_arguments(
    system: System,
    binds: Sequence[Bind],
    *,
    environment: Mapping[str, str],
    data: Mapping[str, int] | None = None,
    cwd: str = TESTBED,
    network: bool = False,
    user_namespace_fd: int | None = None,
    status_fd: int | None = None,
) -> list[str]:
    """Everything between `bwrap` and the command.

    `data` gives paths inside whose content is read from a descriptor.
    With `user_namespace_fd` (made by `identity.UserNamespace`, when this process is root) the command starts as the
    namespace's root with only CAP_SETUID and CAP_SETGID and must be started through `setpriv`; without it bubblewrap
    makes the namespace and the command is user 1000 at once.
    """
    arguments = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"]
    if not network:
        arguments.append("--unshare-net")
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if user_namespace_fd is None:
        arguments += ["--unshare-user", "--disable-userns", "--uid", str(USER_ID), "--gid", str(USER_ID)]
    else:
        arguments += ["--userns", str(user_namespace_fd), "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    if status_fd is not None:
        arguments += ["--json-status-fd", str(status_fd)]
    arguments += _system_mounts(system)
    made = set(system.folders)
    for bind in sorted(binds, key=lambda bind: bind.target.count("/")):
        for parent in map(str, reversed(Path(bind.target).parents[:-1])):
            if parent not in made and not parent.startswith("/usr/"):
                arguments += ["--dir", parent]
                made.add(parent)
        arguments += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.target]
    for path, descriptor in (data or {}).items():
        arguments += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    arguments += ["--remount-ro", "/", "--chdir", cwd, "--clearenv"]
    for name, value in environment.items():
        arguments += ["--setenv", name, value]
    return arguments


def _system_mounts(system: System) -> list[str]:
    arguments: list[str] = []
    for folder in system.folders:
        arguments += ["--ro-bind", folder, folder]
    for target, link in system.links:
        arguments += ["--symlink", target, link]
    if system.prefix:
        # bubblewrap gives a missing parent the mode it has outside: 0700 for /root.
        for parent in reversed(Path(system.prefix).parents[:-1]):
            arguments += ["--perms", "0755", "--dir", str(parent)]
        arguments += ["--ro-bind", system.prefix, system.prefix]
    return [
        *arguments,
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm"),  # noqa: S108 - inside
        *("--remount-ro", "/dev"),
    ]
