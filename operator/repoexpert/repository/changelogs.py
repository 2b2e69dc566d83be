"""Finds what a release's changelog says about it: the text of the commit that stands for the release. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version

_NAME = re.compile(
    r"(?:^|/)(?:changelog|changes|history|news|releases?|release[-_]?notes|versions)(?:\.(?:md|rst|txt|markdown))?$",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"^(?:#+\s*|=+\s*)?(?:version\s+|release\s+)?[\[(`*]*v?(\d+(?:\.\d+)+(?:[.\w]*\d)?)\b", re.IGNORECASE
)
_UNDERLINE = re.compile(r"^([=\-~^*+#\"'`])\1{2,}\s*$")
_LIMIT = 6000


def changelog_paths(paths: Iterable[str]) -> list[str]:
    """Files that may be a changelog, the likeliest first."""
    found = [path for path in paths if _NAME.search(path) and path.count("/") <= 2]
    return sorted(found, key=lambda path: (path.count("/"), "change" not in path.lower(), path))


def release_section(text: str, version: str) -> str:
    """The section of `version`, without its heading; empty when there is none."""
    wanted = _version(version)
    lines = text.splitlines()
    start = None
    for index in range(len(lines)):
        found = _heading(lines, index)
        if found is None:
            continue
        if start is not None:
            return _trim(lines[start:index])
        if found == wanted:
            start = index + 1
            if start < len(lines) and _UNDERLINE.match(lines[start]):
                start += 1
    return _trim(lines[start:]) if start is not None else ""


def _heading(lines: list[str], index: int) -> Version | None:
    line = lines[index]
    match = _HEADING.match(line)
    if not match or len(line) > 120:
        return None
    marked = line.startswith(("#", "=")) or (index + 1 < len(lines) and _UNDERLINE.match(lines[index + 1]))
    return _version(match[1]) if marked else None


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _trim(lines: list[str]) -> str:
    # The line that is underlined as the next section's overline belongs to that section.
    while lines and (not lines[-1].strip() or _UNDERLINE.match(lines[-1]) or lines[-1].startswith(".. _")):
        lines = lines[:-1]
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return text if len(text) <= _LIMIT else text[:_LIMIT].rsplit("\n", 1)[0] + "\n..."
