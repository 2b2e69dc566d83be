"""What a task asks for, in words: the change's own text cleaned, and how the tree misbehaves. Pure. Called by making.

The text must be understandable on its own and must not give the answer away: leaks.py has the last word. It is kept
short, because small students read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from repoexpert.experience.leaks import Secrets, redact

MOST_WORDS = 120
_TEXT_WORDS = 55
_TRAILER = re.compile(
    r"^\s*(?:signed-off-by|co-authored-by|reviewed-by|acked-by|tested-by|reported-by|cc|change-id|suggested-by|"
    r"approved-by|merged-by|pull[- ]request|bug|issue|refs?|see|relates? to|backport\w*|cherry[- ]picked?)\b.*[:#].*$",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    r"\b(?:fix(?:e[sd])?|clos(?:e[sd]?|ing)|resolv(?:e[sd]?|ing)|see|refs?|addresses|part of)[:\s]+"
    r"(?:(?:gh-|#|!)\d+|[\w.-]+/[\w.-]+#\d+)(?:\s*(?:,|and|&)\s*#\d+)*\.?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\s*\(?\b(?:[\w.-]+/[\w.-]+)?(?:#|gh-|GH-)\d+\)?|\s*\(?#\d+\)?")
_URL = re.compile(r"<?\b(?:https?|git|ssh)://[^\s>)\]]+>?")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_HASH = re.compile(r"\b[0-9a-f]{7,40}\b(?=[^\w]|$)")
_EMPTY_TITLE = re.compile(
    r"^(?:v?\d+(?:\.\d+)+\S*"
    r"|(?:release|version|bump|prepare|back to|merge|revert|wip|typos?|lint\w*|black|ruff|isort|flake8|pep ?8|format\w*|"
    r"tidy|tests?|docs?|doc|changelog|news|review\w*|\[pre-commit|pre-commit|chore|ci)\b(?:\W+\S+){0,2}\W*"
    r"|(?:clean(?:ed)?[- ]?up|refactor\w*|updates?|changes|minor|misc|more)\b(?:\W+\S+){0,1}\W*"
    r"|fix(?:e[sd])?(?:\W+(?:tests?|ci|builds?|lint\w*|docs?|typos?|warnings?|bugs?|it|this|style))*\W*)$",
    re.IGNORECASE,
)
_SPEAKS_OF_CHORES = re.compile(
    r"\b(?:release|changelog|pre-commit|mypy|type hints?|annotations?|typing|coverage|docstrings?|typos?|travis|tox|"
    r"reformat|flake8|pylint|black|ruff)\b|^bump|^merge\b|\bversions? \d",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\s*\bat 0x[0-9a-fA-F]+|0x[0-9a-fA-F]{6,}")
_PLACE = re.compile(r"(?:/testbed|/tmp|/opt)[\w./-]*")


@dataclass(frozen=True)
class Failure:
    """How one test failed: exception class, message, phase."""

    error: str
    message: str
    collecting: bool = False


@dataclass(frozen=True)
class Missing:
    """A public function or class that the start tree lacks: its signature and the first sentence of its docstring."""

    signature: str
    purpose: str


def write_statement(
    *,
    title: str,
    body: str,
    names: Sequence[str],
    failures: Mapping[str, Failure],
    missing: Sequence[Missing],
    secrets: Secrets,
) -> str:
    """The statement of a task, at most 120 words, without anything that `secrets` names; empty when nothing is left
    that tells what is wanted.

    `names` are the public dotted names concerned; `failures` are those of the tests that notice, by test.
    """
    text = change_text(title, body)
    parts = [text] if text else []
    if missing:
        parts += [_missing(item) for item in missing[:2]]
    elif not text:
        parts.append(_headline(names))
    elif names:
        parts.append(f"Affected: {_listed(names[:3])}.")
    left = MOST_WORDS - sum(len(part.split()) for part in parts)
    seen = observed([] if missing and text else list(failures.values()), limit=max(left, 20))
    if seen:
        parts.append("What happens now:\n" + "\n".join(f"- {line}" for line in seen))
    kept = redact("\n\n".join(parts), secrets)
    hollow = (_headline(names), f"Affected: {_listed(names[:3])}.", "")
    return "" if kept in hollow or len(kept.split()) < 3 else kept


def change_text(title: str, body: str) -> str:
    """Title and first sentences of a change's own description, empty when it says nothing about behaviour."""
    title = _clean_line(title)
    if not title or _EMPTY_TITLE.match(title) or _SPEAKS_OF_CHORES.search(title) or len(title) < 8:
        return ""
    title = title.rstrip(".") + "."
    words = _TEXT_WORDS - len(title.split())
    described = _first_sentences(clean_body(body), words)
    return f"{title}\n\n{described}" if described else title


def clean_body(body: str) -> str:
    """A description without code blocks, templates, trailers, links and issue numbers."""
    body = _FENCE.sub("", _COMMENT.sub("", body.replace("\r", "")))
    paragraphs: list[str] = []
    for paragraph in re.split(r"\n\s*\n", body):
        lines = [_clean_line(line) for line in paragraph.split("\n") if not _skipped(line)]
        text = " ".join(line for line in lines if line)
        if len(text.split()) >= 4:
            paragraphs.append(text)
    return " ".join(paragraphs)


def _skipped(line: str) -> bool:
    bare = line.strip()
    return bool(
        _TRAILER.match(line)
        or bare.startswith(("#", "|", ">>>", "---", "===", "- [", "* [", "diff --git", "@@", "+++", "Traceback"))
        or line.startswith(("    ", "\t"))
    )


def _clean_line(line: str) -> str:
    line = _URL.sub("", _LINK.sub(r"\1", line))
    line = _CLOSES.sub("", line)
    line = _HASH.sub("", _NUMBER.sub("", line))
    line = re.sub(r"^(?:[\s*-]+|(?:issue|bug|pr|ticket)s?\s*\d+\s*[:,-]\s*)+", "", line, flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", line).strip(" \t-:;,")


def _first_sentences(text: str, words: int) -> str:
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        size = len(sentence.split())
        if size > words:
            break
        words -= size
        kept.append(sentence)
    return " ".join(kept)


def _headline(names: Sequence[str]) -> str:
    return f"{_listed(names[:3])} does not behave as it should." if names else "The library misbehaves."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _missing(item: Missing) -> str:
    purpose = item.purpose[:1].lower() + item.purpose[1:]
    return f"`{item.signature}` is missing and should be there." + (f" What it does: {purpose}" if purpose else "")


def observed(failures: Sequence[Failure], *, limit: int) -> list[str]:
    """Distinct descriptions of what happens, the most telling first, `limit` words in all, at most three."""
    lines = {_describe(failure): None for failure in failures}
    ordered = sorted((line for line in lines if line), key=lambda line: ("assert" in line, len(line), line))
    kept: list[str] = []
    for line in ordered:
        size = len(line.split())
        if size <= limit and len(kept) < 3:
            kept.append(line)
            limit -= size
    return kept


def _describe(failure: Failure) -> str:
    message = scrub(failure.message)
    kind = failure.error or "an error"
    if failure.collecting:
        return f"Importing fails with {_quoted(message or kind)}."
    first = message.partition("\n")[0].strip()
    if kind == "Failed" and (match := re.search(r"DID NOT RAISE (?:any of )?(.*)", first)):
        return f"No exception is raised where {_class_name(match[1])} is expected."
    if kind == "AssertionError":
        return _assertion(message)
    detail = first.removeprefix(f"{kind}:").strip() if kind in first else first
    detail = re.sub(rf"^[\w.]*{re.escape(kind)}:?\s*", "", detail)
    return (
        f"{_quoted(f'{kind}: {detail}' if detail else kind)} is raised."
        if len(detail) < 300
        else f"`{kind}` is raised."
    )


def _assertion(message: str) -> str:
    first = message.partition("\n")[0].removeprefix("AssertionError").strip(": ")
    where = [re.sub(r"^\+\s*(?:where|and)\s*", "", line.strip()) for line in message.split("\n")[1:] if
             re.match(r"\s*\+\s*(?:where|and)\b", line)]  # fmt: skip
    match = re.match(r"assert (.+?) (==|is|in|not in|<=|>=|<|>|is not) (.+)$", first)
    calls = f", where {'; '.join(_quoted(w) for w in where[:2])}" if where else ""
    if match and len(first) < 240 and "..." not in first:
        if match[2] == "==":
            return f"The result is {_quoted(match[1])} but {_quoted(match[3])} is expected{calls}."
        return f"{_quoted(first.removeprefix('assert '))} does not hold{calls}."
    if first.startswith("assert ") and len(first) < 240 and "..." not in first:
        return f"{_quoted(first.removeprefix('assert '))} does not hold{calls}."
    first = re.sub(r"^(?:\w+ differ|\w+ lists?): ", "", first)
    plain = re.match(r"(.{1,160}?) != (.{1,160}?)(?: : .*)?$", first)
    if plain:
        return f"The result is {_quoted(plain[1])} but {_quoted(plain[2])} is expected."
    return f"A check fails: {_quoted(first)}." if 3 < len(first) < 160 else "The result is wrong."


def scrub(message: str) -> str:
    """A failure message without what changes from run to run or belongs to this machine."""
    return _PLACE.sub("…", _ADDRESS.sub("", message)).strip()


def _quoted(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip().replace("`", "'")
    return f"`{text}`"


def _class_name(text: str) -> str:
    names = re.findall(r"[\w.]+(?=')|[A-Z]\w+", text)
    return " or ".join(f"`{name.rpartition('.')[2]}`" for name in dict.fromkeys(names)) or "one"
