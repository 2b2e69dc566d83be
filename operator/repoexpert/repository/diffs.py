"""Unified diffs as values: parsing what Git prints, undoing hunks in a newer file, writing patches for `git apply`.

Pure. Contents are bytes and lines end at `\\n` alone, so that CRLF, form feeds, a missing final newline and any
encoding survive. Called by mining (tiers), reversal (bugs) and experience (task patches).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from repoexpert.repository.matching import Matcher

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_UNSAFE = re.compile(r'[\x00-\x1f"\\\x7f]')
_ESCAPES = {"\t": "\\t", "\n": "\\n", '"': '\\"', "\\": "\\\\"}
_NO_NEWLINE = "\\ No newline at end of file\n"


def split_lines(content: bytes) -> list[bytes]:
    """Lines with their ends; only `\\n` ends a line, as in Git."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


@dataclass(frozen=True)
class Hunk:
    """One hunk: its first lines (1-based, as printed) and its body, each line led by ` `, `-` or `+`."""

    before_start: int
    after_start: int
    body: tuple[bytes, ...]

    @property
    def before(self) -> bytes:
        """The text that the hunk replaces, with its context."""
        return b"".join(line[1:] for line in self.body if line[:1] != b"+")

    @property
    def after(self) -> bytes:
        """The text that the hunk leaves, with its context."""
        return b"".join(line[1:] for line in self.body if line[:1] != b"-")

    @property
    def changed(self) -> int:
        """Number of lines removed and added."""
        return sum(line[:1] != b" " for line in self.body)


@dataclass(frozen=True)
class FileDiff:
    """The hunks of one file. A path is None on the side where the file does not exist."""

    old_path: str | None
    path: str | None
    hunks: tuple[Hunk, ...]
    binary: bool = False


def parse_diff(text: bytes) -> list[FileDiff]:
    """The files of a diff as Git prints it; anything outside file sections is skipped."""
    return list(_files(text.split(b"\n")))


def _files(lines: Sequence[bytes]) -> Iterator[FileDiff]:
    at, end = 0, len(lines)
    while at < end:
        if not lines[at].startswith(b"diff --git "):
            at += 1
            continue
        diff, at = _file(lines, at)
        yield diff


def _file(lines: Sequence[bytes], at: int) -> tuple[FileDiff, int]:
    old, new = _paths_of_header(lines[at])
    binary, hunks = False, []
    at += 1
    while at < len(lines) and not lines[at].startswith(b"diff --git "):
        line = lines[at]
        if line.startswith(b"@@ -") and (match := _HUNK.match(line)):
            hunk, at = _hunk(match, lines, at + 1)
            hunks.append(hunk)
            continue
        if line.startswith((b"new file", b"--- /dev/null")):
            old = None
        elif line.startswith((b"deleted file", b"+++ /dev/null")):
            new = None
        elif line.startswith((b"rename from ", b"copy from ")):
            old = _unquote(line.split(b" from ", 1)[1])
        elif line.startswith((b"rename to ", b"copy to ")):
            new = _unquote(line.split(b" to ", 1)[1])
        elif line.startswith(b"--- "):
            old = _unquote(line[4:].rstrip(b"\t\r"))[2:]
        elif line.startswith(b"+++ "):
            new = _unquote(line[4:].rstrip(b"\t\r"))[2:]
        elif line.startswith((b"Binary files ", b"GIT binary patch")):
            binary = True
        at += 1
    return FileDiff(old, new, tuple(hunks), binary), at


def _paths_of_header(line: bytes) -> tuple[str | None, str | None]:
    rest = line[len(b"diff --git ") :]
    half = len(rest) // 2
    if rest[:2] == b"a/" and rest[half : half + 1] == b" " and rest[2:half] == rest[half + 3 :]:
        path = rest[2:half].decode(errors="surrogateescape")
        return path, path
    return "", ""


def _unquote(raw: bytes) -> str:
    if raw[:1] != b'"':
        return raw.decode(errors="surrogateescape")
    body = raw[1:].rpartition(b'"')[0]
    plain = re.sub(
        rb"\\([0-7]{3}|.)",
        lambda m: (
            bytes([int(m[1], 8) & 255]) if len(m[1]) == 3 else {b"t": b"\t", b"n": b"\n", b"r": b"\r"}.get(m[1], m[1])
        ),
        body,
    )
    return plain.decode(errors="surrogateescape")


def _hunk(match: re.Match[bytes], lines: Sequence[bytes], at: int) -> tuple[Hunk, int]:
    """The hunk whose header matched; its length comes from the header, so that content cannot end it early."""
    olds = int(match[2]) if match[2] is not None else 1
    news = int(match[4]) if match[4] is not None else 1
    body: list[bytes] = []
    while at < len(lines) and (olds > 0 or news > 0 or lines[at].startswith(b"\\")):
        line = lines[at]
        tag = line[:1]
        if tag == b"\\":
            if body:
                body[-1] = body[-1][:-1]
        elif tag in (b" ", b"-", b"+", b""):
            body.append((line or b" ") + b"\n")
            olds -= tag != b"+"
            news -= tag != b"-"
        else:
            break
        at += 1
    return Hunk(int(match[1]), int(match[3]), tuple(body)), at


def locate(content: bytes, text: bytes, near_line: int, start: int = 0) -> int | None:
    """Offset of `text` as whole lines in `content` at or after `start`, nearest to 1-based `near_line`."""
    best: tuple[int, int] | None = None
    at = content.find(text, start)
    while at >= 0:
        end = at + len(text)
        whole = text.endswith(b"\n") or end == len(content)
        if whole and (at == 0 or content[at - 1 : at] == b"\n"):
            distance = abs(content.count(b"\n", 0, at) + 1 - near_line)
            if best is None or distance < best[0]:
                best = (distance, at)
        at = content.find(text, at + 1)
    return None if best is None else best[1]


def undo_hunks(content: bytes, hunks: Iterable[Hunk]) -> tuple[bytes, tuple[int, ...]]:
    """`content` with every hunk undone whose after-image is found in it, and the indices of those hunks.

    Hunks keep their order in the file; a hunk that would match before an earlier one is not undone.
    """
    undone: list[int] = []
    start, shift = 0, 0
    for index, hunk in enumerate(hunks):
        after, before = hunk.after, hunk.before
        if not after:
            continue
        at = locate(content, after, hunk.after_start + shift, start)
        if at is None:
            continue
        shift += content.count(b"\n", 0, at) + 1 - (hunk.after_start + shift)
        shift += before.count(b"\n") - after.count(b"\n")
        content = content[:at] + before + content[at + len(after) :]
        # The last context lines may open the next hunk's context.
        start = at + len(before) - _trailing_context(hunk)
        undone.append(index)
    return content, tuple(undone)


def _trailing_context(hunk: Hunk) -> int:
    size = 0
    for line in reversed(hunk.body):
        if line[:1] != b" ":
            break
        size += len(line) - 1
    return size


def changed_ranges(before: Sequence[bytes], after: Sequence[bytes]) -> list[tuple[str, int, int, int, int]]:
    """As difflib's opcodes other than `equal`: (tag, first, last before, first, last after)."""
    ranges: list[tuple[str, int, int, int, int]] = []
    at_before, at_after = 0, 0
    for first, second, size in Matcher(None, before, after).get_matching_blocks():
        if first > at_before or second > at_after:
            tag = "insert" if first == at_before else "delete" if second == at_after else "replace"
            ranges.append((tag, at_before, first, at_after, second))
        at_before, at_after = first + size, second + size
    return ranges


def make_patch(files: Mapping[str, tuple[bytes | None, bytes | None]]) -> str:
    """A patch for `git apply` from path to (before, after); None where the file does not exist.

    Paths come sorted, so equal changes give equal patches. Raises UnicodeDecodeError for content that is not UTF-8.
    """
    return "".join(_file_patch(path, *files[path]) for path in sorted(files))


def _file_patch(path: str, before: bytes | None, after: bytes | None) -> str:
    if before == after:
        return ""
    old, new = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    tab = "\t" if " " in path else ""
    head = [f"diff --git {old} {new}\n"]
    if before is None:
        head.append("new file mode 100644\n")
    if after is None:
        head.append("deleted file mode 100644\n")
    body = list(_hunk_lines(split_lines(before or b""), split_lines(after or b"")))
    if body:
        head.append("--- /dev/null\n" if before is None else f"--- {old}{tab}\n")
        head.append("+++ /dev/null\n" if after is None else f"+++ {new}{tab}\n")
    return "".join(head + body)


def _quoted(path: str) -> str:
    if not _UNSAFE.search(path):
        return path
    return '"' + _UNSAFE.sub(lambda m: _ESCAPES.get(m[0], f"\\{ord(m[0]):03o}"), path) + '"'


def _hunk_lines(before: list[bytes], after: list[bytes], context: int = 3) -> Iterator[str]:
    for group in _groups(changed_ranges(before, after), context):
        first, last = max(0, group[0][1] - context), min(len(before), group[-1][2] + context)
        new_first = group[0][3] - (group[0][1] - first)
        new_last = group[-1][4] + (last - group[-1][2])
        yield f"@@ -{_span(first, last)} +{_span(new_first, new_last)} @@\n"
        at = first
        for _, a, b, c, d in group:
            yield from _tagged(" ", before[at:a])
            yield from _tagged("-", before[a:b])
            yield from _tagged("+", after[c:d])
            at = b
        yield from _tagged(" ", before[at:last])


_Range = tuple[str, int, int, int, int]


def _groups(ranges: list[_Range], context: int) -> Iterator[list[_Range]]:
    group: list[_Range] = []
    for item in ranges:
        if group and item[1] - group[-1][2] > 2 * context:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _span(first: int, last: int) -> str:
    return f"{first + 1 if last > first else first},{last - first}"


def _tagged(tag: str, lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        text = line.decode("utf-8")
        yield f"{tag}{text}" if text.endswith("\n") else f"{tag}{text}\n{_NO_NEWLINE}"
