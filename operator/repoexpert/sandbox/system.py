"""Looks at this machine once for a pool: its system folders, and a made-up /etc and what must be hidden.

Called by `bubblewrap`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from repoexpert.sandbox.arguments import Bind, System

_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_COPIED = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "mime.types")
_NETWORK = ("resolv.conf", "ssl", "ca-certificates", "pki")
_WRITTEN = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\nuser:x:1000:1000:user:/tmp/home:/bin/bash\n",
    "group": "root:x:0:\nuser:x:1000:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def system_view(python_prefix: Path, root: Path = Path("/")) -> System:
    """Which system folders exist and which of them must be hidden."""
    links: list[tuple[str, str]] = []
    folders: list[str] = ["/usr"]
    for name in _LINKS:
        path = root / name
        if path.is_symlink():
            links.append((str(path.readlink()), f"/{name}"))
        elif path.is_dir():
            folders.append(f"/{name}")
    packages = [*root.glob("usr/lib/python3*/dist-packages"), *python_prefix.glob("lib/python*/site-packages")]
    if not python_prefix.is_relative_to("/usr/local"):
        packages.append(root / "usr/local")
    return System(
        links=tuple(links),
        folders=tuple(folders),
        hidden=tuple(sorted(str(path) for path in packages if path.is_dir())),
        prefix="" if python_prefix.is_relative_to("/usr") else str(python_prefix),
    )


def system_binds(system: System, folder: Path, extra: Iterable[Bind], network: bool) -> list[Bind]:
    """Binds for /etc and for what is hidden, made in `folder`; each bind costs every command a fraction of a ms.

    /etc is one read-only folder, so a place for every bind of `extra` below it must be there beforehand.
    """
    etc, empty = folder / "etc", folder / "empty"
    etc.mkdir()
    empty.mkdir()
    for name in _COPIED:
        _copy(Path("/etc") / name, etc / name)
    for name, text in _WRITTEN.items():
        (etc / name).write_text(text, encoding="utf-8")
    if network:
        for name in _NETWORK:
            _copy(Path("/etc") / name, etc / name)
    for bind in extra:
        if bind.target.startswith("/etc/"):
            place = etc / bind.target.removeprefix("/etc/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if bind.source.is_dir():
                place.mkdir(exist_ok=True)
            else:
                place.touch()
    return [Bind(etc, "/etc"), *(Bind(empty, path) for path in system.hidden)]


def _copy(source: Path, target: Path) -> None:
    """A copy that follows links out of /etc where the target would be missing inside (resolv.conf)."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("private"))
    elif source.exists():
        shutil.copyfile(source, target)
