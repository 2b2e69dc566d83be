"""A bare mirror of the target repository in the machine's cache, shared by all stages and experts.

Called by resolving, the environment stage and history mining. Only objects and refs are taken from the remote:
the mirror's configuration is ours, so nothing in the repository can run here (see git.py).
"""

from __future__ import annotations

import difflib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.repository.credentials import Credentials, redact_urls
from repoexpert.repository.git import PROTOCOLS, GitFailed, git_text, run_git
from repoexpert.storage.problems import disk_problem

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!//)\S+")
# What Git says when another try may help. An unknown host or a closed port is taken for a wrong address.
_TRANSIENT = re.compile(
    r"timed out|Connection reset|early EOF|returned error: (?:429|5\d\d)|unexpected disconnect|Operation too slow",
    re.IGNORECASE,
)
_NO_SPACE = re.compile("No space left on device|Disk quota exceeded", re.IGNORECASE)

_ADVICE = re.compile(
    r"fatal: Could not read from remote repository|Please make sure you have the correct|and the repository exists"
)


@dataclass(frozen=True)
class Mirror:
    """A bare repository on this machine."""

    url: str
    """Without credentials."""
    path: Path

    def git(self, *arguments: str) -> str:
        """Standard output of a Git command on the mirror; raises GitFailed."""
        return git_text(self.path, *arguments)

    def has(self, commit: str) -> bool:
        """Whether the commit and its tree are here."""
        try:
            run_git(self.path, ["cat-file", "-e", f"{commit}^{{tree}}"])
        except GitFailed:
            return False
        return True


def clean_url(url: str) -> str:
    """The address as Git gets it; raises BadInput for what is no repository address or carries a password."""
    if not url or url.startswith("-") or any(c.isspace() or not c.isprintable() for c in url.replace(" ", "")):
        raise BadInput(f"spec.repository.url {url!r} is not an address")
    parts = urlsplit(url)
    if "://" in url:
        if parts.scheme not in PROTOCOLS:
            raise BadInput(f"spec.repository.url: {parts.scheme} is not supported; use one of {', '.join(PROTOCOLS)}")
        if parts.password is not None:
            raise BadInput(
                f"spec.repository.url {redact_urls(url)} carries a password; remove it and give it as "
                "REPOEXPERT_GIT_USERNAME and REPOEXPERT_GIT_PASSWORD, or by credentialsSecretRef"
            )
        return url
    if "::" in url:
        raise BadInput(f"spec.repository.url {url!r}: remote helpers are not supported; use https, ssh, file or a path")
    if _SCP.fullmatch(url) and not Path(url).exists():
        return url
    return Path(url).expanduser().absolute().as_uri()


def _local_path(url: str) -> Path | None:
    return Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock among processes on `path`, which is made if missing and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Mirrors:
    """The mirrors of one cache folder."""

    def __init__(self, cache: Path, environ: Mapping[str, str] | None = None) -> None:
        self._folder = cache / "repositories"
        self._environ = os.environ if environ is None else environ

    def open(self, url: str) -> Mirror:
        """The mirror of `url`, as it is: possibly empty."""
        url = clean_url(url)
        path = self._folder / f"{hashlib.sha256(url.encode()).hexdigest()}.git"
        with locked(path.with_suffix(".lock")):
            if not (path / "HEAD").exists():
                path.mkdir(parents=True, exist_ok=True)
                run_git(None, ["init", "--quiet", "--bare", "--template=", str(path)])
        return Mirror(url, path)

    def ensure(self, url: str, commit: str) -> Mirror:
        """The mirror holding `commit` (a full id) with its history; asks the remote only when it is missing."""
        mirror = self.open(url)
        if mirror.has(commit):
            return mirror
        with locked(mirror.path.with_suffix(".lock")):
            if not mirror.has(commit):
                self._fetch(mirror, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            if not mirror.has(commit):
                # Not on any branch any more: most servers still give it by id.
                self._fetch(mirror, f"+{commit}:refs/repoexpert/{commit}")
        if not mirror.has(commit):
            raise BadInput(f"commit {commit} is not in {mirror.url}")
        return mirror

    def fetch_ref(self, url: str, ref: str) -> tuple[Mirror, str]:
        """The mirror with the newest state of `ref` (branch, tag, full ref name, HEAD or full commit id) and its commit.

        Raises BadInput when the remote cannot be read, or has no such ref (similar ones are named).
        """
        mirror = self.open(url)
        if _SHA.fullmatch(ref):
            return self.ensure(url, ref), ref
        refs = self._remote_refs(mirror)
        if not refs:
            raise BadInput(f"{mirror.url} is an empty repository: it has no commits")
        name = match_ref(ref, refs)
        if name is None:
            raise BadInput(_missing(mirror.url, ref, refs))
        local = "refs/repoexpert/HEAD" if name == "HEAD" else name
        with locked(mirror.path.with_suffix(".lock")):
            # Tags as well: the version that a build reads from Git comes from them.
            self._fetch(mirror, f"+{name}:{local}", "+refs/tags/*:refs/tags/*")
        return mirror, mirror.git("rev-parse", "--verify", f"{local}^{{commit}}").strip()

    def _remote_refs(self, mirror: Mirror) -> tuple[str, ...]:
        listing = self._remote(mirror, ["ls-remote", "--", mirror.url])
        names = (line.partition("\t")[2] for line in listing.splitlines())
        return tuple(name for name in names if name and not name.endswith("^{}"))

    def _fetch(self, mirror: Mirror, *refspecs: str) -> None:
        options = ["--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--update-shallow", "--no-auto-gc"]
        self._remote(mirror, ["fetch", *options, "--", mirror.url, *refspecs])

    def _remote(self, mirror: Mirror, arguments: list[str]) -> str:
        credentials = Credentials.from_environment(self._environ)
        with tempfile.TemporaryDirectory(prefix="repoexpert-git-") as helpers:
            env = credentials.environment(Path(helpers)) | self._own_settings(mirror.url, Path(helpers))
            try:
                return git_text(mirror.path, *arguments, extra_env=env)
            except GitFailed as e:
                reason = credentials.redact(_essence(e.reason)) or f"git {arguments[0]} exit code {e.exit_code}"
                if _NO_SPACE.search(reason):
                    raise disk_problem(OSError(errno.ENOSPC, "", str(self._folder)), self._folder) from None
                if not (local := _local_path(mirror.url)) and _TRANSIENT.search(reason):
                    raise InfrastructureError(f"cannot read repository {mirror.url}: {reason}") from None
                raise BadInput(f"spec.repository.url: {_unreadable(mirror.url, local, reason)}") from None

    def _own_settings(self, url: str, helpers: Path) -> dict[str, str]:
        """The user's own Git settings (proxies, authorities) hold while talking to a remote, nowhere else.

        A local repository that belongs to another user is trusted, as the person named exactly this one; only a
        configuration file reaches the process that serves it.
        """
        own = self._environ.get("GIT_CONFIG_GLOBAL") or str(Path("~/.gitconfig").expanduser())
        system = self._environ.get("GIT_CONFIG_NOSYSTEM", "0")
        local = _local_path(url)
        if local is None:
            return {"GIT_CONFIG_GLOBAL": own, "GIT_CONFIG_NOSYSTEM": system}
        config = helpers / "config"
        places = dict.fromkeys(f"{place}{end}" for place in (local, local.resolve()) for end in ("", "/.git"))
        lines = [f'[include]\n\tpath = "{own}"\n[safe]\n', *(f'\tdirectory = "{place}"\n' for place in places)]
        config.write_text("".join(lines), encoding="utf-8")
        return {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": system}


def _essence(said: str) -> str:
    """What Git said without its advice, which speaks of remotes that the person never configured."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _ADVICE.match(line)]
    return "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in lines)


def _unreadable(url: str, local: Path | None, reason: str) -> str:
    if local is None:
        return (
            f"cannot read {url}: {reason}. Check the address; a private repository needs REPOEXPERT_GIT_USERNAME and "
            "REPOEXPERT_GIT_PASSWORD, or for ssh REPOEXPERT_GIT_SSH_KEY"
        )
    if not local.exists():
        return f"there is no {local}"
    if "does not appear to be a git repository" in reason:
        return f"{local} is not a Git repository"
    return f"cannot read {url}: {reason}"


def match_ref(ref: str, names: tuple[str, ...]) -> str | None:
    """The full name that `ref` means among `names`, by Git's own order: as given, tag, branch."""
    candidates = (ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}")
    return next((name for name in candidates if name in names), None)


def _missing(url: str, ref: str, names: tuple[str, ...]) -> str:
    named = [name for name in names if name.startswith(("refs/heads/", "refs/tags/"))]
    short = list(dict.fromkeys(re.sub(r"^refs/(heads|tags)/", "", name) for name in named))
    near = difflib.get_close_matches(ref, short, n=5, cutoff=0.5)
    branches = [name.removeprefix("refs/heads/") for name in names if name.startswith("refs/heads/")]
    listed = near or branches[:5]
    hint = f"; similar: {', '.join(listed)}" if near else f"; branches there: {', '.join(listed)}" if listed else ""
    return f"spec.repository.ref {ref!r} is not in {url}{hint}"
