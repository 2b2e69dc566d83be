"""Makes a sandbox's start tree: unpack, patch, lay files over, commit as one orphan commit.

Everything runs inside the sandbox, as its user: a hostile archive, patch or .gitattributes can do there what the agent
could do anyway. The new repository holds the objects of the start tree and nothing else: no template, no hook, no reflog,
no alternate, no packed history. Called by `bubblewrap`.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from repoexpert.errors import BadInput
from repoexpert.sandbox.arguments import Bind
from repoexpert.sandbox.protocol import StartTree

INPUTS = "/run/repoexpert/start"
_DATE = "2000-01-01T00:00:00Z"
_PREPARE = """set -e
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
mkdir -p /tmp/home
cd /testbed
"""
_COMMIT = f"""
git init -q --template= -b main .
mkdir -p .git/info
git config user.name Developer
git config user.email developer@example.invalid
git config core.logAllRefUpdates false
git config gc.auto 0
git -c core.autocrlf=false add -A -f .
export GIT_AUTHOR_DATE={_DATE} GIT_COMMITTER_DATE={_DATE}
git update-ref refs/heads/main "$(git commit-tree -m 'Start' "$(git write-tree)")"
"""
_OVERLAY = f"""
tar -tf {INPUTS}/overlay{{suffix}} --exclude='__pycache__' --exclude='*.pyc' > /tmp/.overlay
tar -xf {INPUTS}/overlay{{suffix}} --exclude='__pycache__' --exclude='*.pyc' --skip-old-files --no-same-owner
if [ -d .git ]; then sed -n -e 's|^\\./||' -e '/[^/]$/s|^|/|p' /tmp/.overlay > .git/info/exclude; fi
rm -f /tmp/.overlay
"""


@dataclass(frozen=True)
class Preparation:
    """A script for `bash` and what it reads below INPUTS: binds, and small files given as content."""

    script: str
    binds: tuple[Bind, ...]
    contents: dict[str, bytes]


def prepare(start: StartTree) -> Preparation:
    """The work that makes `start` in an empty /testbed. Pure but for looking at the archives' existence."""
    for archive in (start.archive, start.overlay):
        if archive is not None and not archive.is_file():
            raise BadInput(f"the tree's archive is missing: {archive}")
    contents: dict[str, bytes] = {}
    script = [_PREPARE, f"tar -xf {INPUTS}/tree{_suffix(start.archive)} --no-same-owner\n"]
    binds = [Bind(start.archive, f"{INPUTS}/tree{_suffix(start.archive)}")]
    for index, patch in enumerate(start.patches):
        if not patch.strip():
            continue
        contents[f"patch-{index}"] = (patch if patch.endswith("\n") else patch + "\n").encode(
            "utf-8", "surrogateescape"
        )
        script.append(
            f"git apply --whitespace=nowarn {INPUTS}/patch-{index}"
            f" || {{ echo 'repoexpert: patch {index} does not apply'; exit 65; }}\n"
        )
    if start.files:
        contents["files.tar"] = _tar(start)
        script.append(f"tar -xf {INPUTS}/files.tar --no-same-owner --unlink-first --recursive-unlink\n")
    if start.commit:
        script.append(_COMMIT)
    if start.overlay is not None:
        suffix = _suffix(start.overlay)
        binds.append(Bind(start.overlay, f"{INPUTS}/overlay{suffix}"))
        script.append(_OVERLAY.format(suffix=suffix))
    return Preparation("".join(script), tuple(binds), contents)


def _suffix(archive: Path) -> str:
    return ".tar.zst" if archive.name.endswith(".zst") else ".tar"


def _tar(start: StartTree) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in sorted(start.files.items()):
            parts = PurePosixPath(path)
            if parts.is_absolute() or ".." in parts.parts or ".git" in parts.parts or not parts.parts:
                raise BadInput(f"a start tree's file must lie in the tree: {path}")
            member = tarfile.TarInfo(str(parts))
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
