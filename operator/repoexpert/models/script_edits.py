"""Turns a reference diff into the commands a careful engineer would type: text replacements, new files, `git apply`.

Pure. Called by `scripted`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from repoexpert.repository.diffs import FileDiff, Hunk, parse_diff

_MOST_EDITS = 6
"""A diff with more hunks is applied file by file, which is what people do as well."""
_MOST_LINES = 40
"""A longer hunk is applied as a patch: replacing it would print it twice."""
_ENOUGH_TEXT = 24
"""Characters other than white space that make a passage likely to be the only one of its kind."""
_PLAIN_PATH = re.compile(r"[\w./+-]+")


@dataclass(frozen=True)
class Edit:
    """One command that makes one change; `instead` makes the same change when `command` fails."""

    path: str
    kind: str
    """`replace`, `insert`, `remove`, `create` or `patch`."""
    command: str
    instead: str = ""
    line: int = 1


def edits(reference: str) -> list[Edit]:
    """Commands that together make `reference`, in its order."""
    sections = _sections(reference)
    parsed = [(text, files[0]) for text in sections if (files := parse_diff(text.encode("utf-8", "surrogateescape")))]
    many = sum(len(diff.hunks) for _, diff in parsed) > _MOST_EDITS
    found: list[Edit] = []
    for text, diff in parsed:
        found += [_patch(text, diff)] if many and diff.old_path is not None else _file_edits(text, diff)
    return found


def _sections(reference: str) -> list[str]:
    parts = re.split(r"(?m)^(?=diff --git )", reference)
    return [part if part.endswith("\n") else part + "\n" for part in parts if part.startswith("diff --git ")]


def _file_edits(text: str, diff: FileDiff) -> list[Edit]:
    path = diff.path
    plain = (
        path is not None
        and diff.old_path in (None, path)
        and not diff.binary
        and diff.hunks
        and _PLAIN_PATH.fullmatch(path)
        and "\nold mode " not in text
        and "\nnew file mode 100755" not in text
    )
    if not plain or path is None:
        return [_patch(text, diff)]
    if diff.old_path is None:
        return [_create(text, diff, path)]
    return [_replace(text, hunk, path) for hunk in diff.hunks]


def _create(text: str, diff: FileDiff, path: str) -> Edit:
    content = _text(diff.hunks[0].after)
    if content is None or len(diff.hunks) != 1:
        return _patch(text, diff)
    folder = path.rpartition("/")[0]
    make = f"mkdir -p {folder} && " if folder else ""
    end = _delimiter(content)
    return Edit(path, "create", f"{make}cat > {path} <<'{end}'\n{content}{end}", heredoc_patch(text))


def _replace(text: str, hunk: Hunk, path: str) -> Edit:
    patch = heredoc_patch(_header(text) + _hunk_text(hunk))
    line = hunk.before_start
    before, after = (_text(part) for part in _trim(hunk))
    quoted = [_quote(part) for part in (before, after) if part is not None]
    if not before or after is None or None in quoted or len(hunk.body) > _MOST_LINES:
        return Edit(path, "patch", patch, line=line)
    script = (
        f'from pathlib import Path\n\npath = Path("{path}")\ntext = path.read_text()\n'
        f"old = {quoted[0]}\nnew = {quoted[1]}\n"
        "assert text.count(old) == 1, text.count(old)\npath.write_text(text.replace(old, new))\n"
    )
    removed = any(part[:1] == b"-" for part in hunk.body)
    added = any(part[:1] == b"+" for part in hunk.body)
    kind = "replace" if removed and added else "remove" if removed else "insert"
    end = _delimiter(script)
    return Edit(path, kind, f"python - <<'{end}'\n{script}{end}", patch, line)


def _trim(hunk: Hunk) -> tuple[bytes, bytes]:
    """What the hunk replaces and what it leaves, with only as much context as makes the passage likely unique."""
    body = hunk.body
    changed = [index for index, line in enumerate(body) if line[:1] != b" "]
    first, last = changed[0], changed[-1] + 1
    start, end = first, last
    while _thin(body[start:end]) and (start > 0 or end < len(body)):
        start, end = max(0, start - 1), min(len(body), end + 1)
    passage = Hunk(hunk.before_start, hunk.after_start, body[start:end])
    return passage.before, passage.after


def _thin(lines: tuple[bytes, ...]) -> bool:
    kept = b"".join(line[1:] for line in lines if line[:1] != b"+")
    return len(b"".join(kept.split())) < _ENOUGH_TEXT


def _text(content: bytes) -> str | None:
    """The content as text that survives a heredoc and the agent's own block, or None."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    awkward = not text.endswith("\n") or "\r" in text or "\0" in text or re.search(r"(?m)^```", text)
    return None if awkward and text else text


def _quote(text: str) -> str | None:
    """A Python string literal over several lines, or None when the text holds both kinds of triple quotes."""
    prefix = "r" if "\\" in text else ""
    for mark in ('"""', "'''"):
        if mark not in text and not text.startswith(mark[0]):
            return f"{prefix}{mark}{text}{mark}"
    return None


def _delimiter(content: str) -> str:
    """A heredoc's end mark that is no line of the content."""
    lines = set(content.split("\n"))
    if "EOF" not in lines:
        return "EOF"
    return "EOF_" + hashlib.sha256(content.encode()).hexdigest()[:8].upper()


def _patch(text: str, diff: FileDiff) -> Edit:
    line = diff.hunks[0].before_start if diff.hunks else 1
    return Edit(diff.path or diff.old_path or "", "patch", heredoc_patch(text), line=line)


def heredoc_patch(patch: str) -> str:
    """`git apply` reading the patch from a heredoc."""
    end = _delimiter(patch)
    return f"git apply --whitespace=nowarn - <<'{end}'\n{patch}{end}"


def _header(section: str) -> str:
    return section.split("\n@@ ", 1)[0] + "\n"


def _hunk_text(hunk: Hunk) -> str:
    olds = sum(line[:1] != b"+" for line in hunk.body)
    news = sum(line[:1] != b"-" for line in hunk.body)
    lines = [f"@@ -{hunk.before_start},{olds} +{hunk.after_start},{news} @@\n"]
    for line in hunk.body:
        text = line.decode("utf-8", "surrogateescape")
        lines.append(text if text.endswith("\n") else f"{text}\n\\ No newline at end of file\n")
    return "".join(lines)
