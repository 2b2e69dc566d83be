"""Source distributions of a package index: which there are, since when, and what is in one.

Called by releases.py. The index is the one that the machine's own clients use; its answer is read by the Simple
Repository API (PEP 691, upload times by PEP 700).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.repository.buildsettings import read_build_settings
from repoexpert.repository.credentials import redact_urls

_JSON = "application/vnd.pypi.simple.v1+json"
_SECONDS = 60
_FILE_BYTES = 20 << 20
_TOTAL_BYTES = 500 << 20
_NOISE = re.compile(r"(?:^|/)(?:PKG-INFO|[^/]+\.egg-info(?:/.*)?|\.git(?:/.*)?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Release:
    """One source distribution."""

    version: Version
    url: str
    filename: str
    sha256: str
    uploaded: datetime


def index_url(environ: Mapping[str, str], home: Path) -> str:
    """The index that uv or pip is set to use on this machine."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    variables = read_build_settings(environ, home).variables
    return variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or PYPI_SIMPLE_ENDPOINT


def list_releases(name: str, index: str) -> list[Release]:
    """Final releases with a source distribution, by upload time; those below an earlier release's version (backports)
    are left out. Raises BadInput for an unknown package, InfrastructureError when the index does not answer."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(f"{name!r} is no package name")
    page = f"{index.rstrip('/')}/{canonicalize_name(name)}/"
    document = json.loads(_get(page, accept=_JSON))
    return ascending(parse_release(entry, page) for entry in document.get("files", []))


def ascending(releases: Iterator[Release | None]) -> list[Release]:
    """Final releases in order of upload whose versions only go up."""
    final = [it for it in releases if it and not it.version.is_prerelease]
    kept: list[Release] = []
    for release in sorted(final, key=lambda it: (it.uploaded, it.version)):
        if not kept or release.version > kept[-1].version:
            kept.append(release)
    return kept


def parse_release(entry: Mapping[str, Any], page: str) -> Release | None:
    """A file entry of the index as a release; None for wheels, yanked files and those without time or hash."""
    filename, sha256, uploaded = (
        entry.get("filename", ""),
        entry.get("hashes", {}).get("sha256"),
        entry.get("upload-time"),
    )
    if entry.get("yanked") or not sha256 or not uploaded or not filename.endswith((".tar.gz", ".zip")):
        return None
    try:
        _, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return None
    return Release(version, urljoin(page, entry["url"]), filename, sha256, datetime.fromisoformat(uploaded))


def download(release: Release, cache: Path) -> bytes:
    """The archive's bytes, from the cache if they are there; checked against the index's sha256 either way."""
    file = cache / release.sha256
    if file.is_file() and hashlib.sha256(content := file.read_bytes()).hexdigest() == release.sha256:
        return content
    content = _get(release.url)
    if hashlib.sha256(content).hexdigest() != release.sha256:
        raise InfrastructureError(f"{release.filename} does not have the sha256 that the index gives")
    cache.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.replace(file)
    return content


def _get(url: str, accept: str = "*/*") -> bytes:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http"):
        raise BadInput(f"the package index {redact_urls(url)} is not reached by https")
    headers = {"Accept": accept}
    netloc = parts.netloc
    if "@" in netloc:
        user, _, netloc = netloc.rpartition("@")
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user).encode()).decode()
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=netloc)), headers=headers)  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - scheme checked above
            return bytes(answer.read())
    except urllib.error.HTTPError as e:
        if e.code == 404:
            raise BadInput(f"the package index has no {redact_urls(url)}") from e
        raise InfrastructureError(f"the package index answered {e.code} for {redact_urls(url)}") from e
    except OSError as e:
        raise InfrastructureError(f"cannot reach the package index at {redact_urls(url)}: {e}") from e


def read_sdist(content: bytes, filename: str) -> dict[str, tuple[bytes, bool]]:
    """Path to content and executable bit of the files below the archive's top folder; links, metadata that packaging
    added and whatever would leave the folder are left out. Raises BadInput for a broken or huge archive."""
    files: dict[str, tuple[bytes, bool]] = {}
    total = 0
    try:
        for name, data, executable in _members(content, filename):
            path = safe_path(name)
            total += len(data)
            if total > _TOTAL_BYTES:
                raise BadInput(f"{filename} unpacks to more than {_TOTAL_BYTES >> 20} MiB")
            if path:
                files[path] = (data, executable)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as e:
        raise BadInput(f"{filename} is broken: {e}") from e
    return files


def safe_path(name: str) -> str | None:
    """A member's path below the archive's top folder, None when it is none of the project's files."""
    parts = PurePosixPath(name).parts[1:]
    if name.startswith("/") or not parts or any(part in ("..", ".git") or "\\" in part for part in parts):
        return None
    path = "/".join(parts)
    return None if _NOISE.search(path) or "\0" in path or "\n" in path else path


def _members(content: bytes, filename: str) -> Iterator[tuple[str, bytes, bool]]:
    if filename.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                link = (info.external_attr >> 16) & 0o170000 == 0o120000
                if not info.is_dir() and not link and info.file_size <= _FILE_BYTES:
                    yield info.filename, archive.read(info), bool((info.external_attr >> 16) & 0o111)
        return
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
        for member in members:
            stream = members.extractfile(member) if member.isreg() and member.size <= _FILE_BYTES else None
            if stream:
                yield member.name, stream.read(), bool(member.mode & 0o111)
