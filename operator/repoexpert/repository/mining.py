"""History without a forge: which changes a repository saw, as pull requests where merges or titles say so.

The first-parent walk of a branch is the list of what was merged into it. Two Git processes give messages and changed
files of the whole walk at once, a third streams the diffs of the changes worth undoing; no process a commit.
Called by the tasks stage and the evaluation's held-out suite. SWE-Spot appendix B.3 ("adapted PR Mirror") is the
source of the loose limits; that work asks the forge for pull requests, this one reads the history alone.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from repoexpert.errors import InfrastructureError
from repoexpert.repository.git import run_git
from repoexpert.repository.objects import open_git

Kind = Literal["source", "test", "other"]

_TEST_FOLDERS = {"tests", "test", "testsuite", "unittests"}
_OTHER_FOLDERS = {"docs", "doc", "examples", "example", "benchmarks", "benchmark", "scripts", "tools", "ci", ".github"}
_OTHER_FILES = {"setup.py", "noxfile.py", "tasks.py", "conf.py", "fabfile.py", "__main_docs__.py", "versioneer.py"}
_GITHUB = re.compile(r"Merge pull request #(\d+) from (\S+)")
_GITLAB = re.compile(r"^See merge request (?:\S*?)!(\d+)\s*$", re.MULTILINE)
_SQUASH = re.compile(r"\s*\((?:#|!|GH-)(\d+)\)\s*$")
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""
_BRANCH = re.compile(r"Merge (?:remote-tracking )?branch '([^']+)'")


@dataclass(frozen=True)
class Layout:
    """Where a repository keeps what: from the environment record, or empty for the usual places."""

    source_roots: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    test_paths: tuple[str, ...] = ()

    def kind(self, path: str) -> Kind:
        """Whether a Python file is source, test or something else (set-up, documentation, examples)."""
        pure = PurePosixPath(path)
        folders = pure.parts[:-1]
        if pure.suffix != ".py":
            return "other"
        if self._is_test(pure, folders):
            return "test"
        if pure.name in _OTHER_FILES and len(folders) < 2:
            return "other"
        if self.packages and self._in_package(path):
            return "source"
        return "other" if folders and folders[0] in _OTHER_FOLDERS else "source"

    def among_tests(self, path: str) -> bool:
        """Whether a file of any type is a test or lies where tests and their data do."""
        pure = PurePosixPath(path)
        return self._is_test(pure, pure.parts[:-1])

    def _is_test(self, pure: PurePosixPath, folders: tuple[str, ...]) -> bool:
        if pure.name == "conftest.py" or pure.name.startswith("test_") or pure.stem.endswith("_test"):
            return True
        if _TEST_FOLDERS & set(folders) or pure.name in ("tests.py", "test.py"):
            return True
        return any(t not in ("", ".") and pure.is_relative_to(t) and not self._holds_source(t) for t in self.test_paths)

    def _holds_source(self, test_path: str) -> bool:
        """A package named as a test path (tests beside the code) is not a folder of tests."""
        return any(PurePosixPath(test_path) == PurePosixPath(root, package) for root in self.source_roots or ("",)
                   for package in self.packages)  # fmt: skip

    def _in_package(self, path: str) -> bool:
        places = (PurePosixPath(root, package) for root in self.source_roots or ("",) for package in self.packages)
        return any(PurePosixPath(path).is_relative_to(place) or path == f"{place}.py" for place in places)


@dataclass(frozen=True)
class Limits:
    """Which changes are small enough to be one task. Loose, as in the paper's relaxed mirror."""

    files: int = 50
    lines: int = 2000


@dataclass(frozen=True)
class ChangedFile:
    """One Python file of a change."""

    path: str
    """After the change; before it when the change deleted the file."""
    old_path: str
    before: str | None
    """Blob id, None when the change added the file."""
    after: str | None
    kind: Kind
    today: str
    """Where later renames brought the file to."""


@dataclass(frozen=True)
class Change:
    """One step of the first-parent history: a merged pull request, a squashed one or a plain commit."""

    commit: str
    parent: str
    title: str
    body: str
    pull_request: str | None
    committed: datetime
    files: tuple[ChangedFile, ...]
    commits: tuple[str, ...]
    """All commits that it brought in, itself first."""

    @property
    def sources(self) -> tuple[ChangedFile, ...]:
        return tuple(file for file in self.files if file.kind == "source")


@dataclass(frozen=True)
class _Message:
    parents: tuple[str, ...]
    committed: datetime
    subject: str
    body: str


def list_changes(git_dir: Path, commit: str, *, after: str | None = None, layout: Layout = Layout()) -> list[Change]:
    """The changes of the first-parent history of `commit` that touch Python files, newest first.

    With `after`, only those that are not in that commit's history. The very first commit is no change.
    """
    span = [commit, *([f"^{after}"] if after else [])]
    messages = _messages(git_dir, span)
    spine = run_git(git_dir, ["rev-list", "--first-parent", *span]).decode().split()
    brought = _brought(spine, messages)
    files = dict(_changed_files(git_dir, span, layout))
    changes = []
    for name in spine:
        message = messages[name]
        if not message.parents or not files.get(name):
            continue
        title, body, number = describe(message.subject, message.body, [messages[c].subject for c in brought[name][1:]])
        changes.append(
            Change(name, message.parents[0], title, body, number, message.committed, files[name], brought[name])
        )
    return changes


def describe(subject: str, body: str, brought: Sequence[str] = ()) -> tuple[str, str, str | None]:
    """Title, text and number of the pull request behind a commit's message, as far as the message tells.

    `brought` are the subjects of the commits that a merge brought in: they speak where the merge says nothing.
    """
    if match := _GITHUB.match(subject):
        title, _, rest = body.strip().partition("\n")
        return title or _spoken(match[2].partition("/")[2], brought), rest.strip(), match[1]
    if match := _GITLAB.search(body):
        text = (body[: match.start()] + body[match.end() :]).strip()
        title, _, rest = text.partition("\n")
        branch = _BRANCH.match(subject)
        return title or _spoken(branch[1] if branch else "", brought), rest.strip(), match[1]
    if match := _SQUASH.search(subject):
        return subject[: match.start()], body.strip(), match[1]
    if match := _BRANCH.match(subject):
        title, _, rest = body.strip().partition("\n")
        return title or _spoken(match[1], brought), rest.strip(), None
    return subject, body.strip(), None


def _spoken(branch: str, brought: Sequence[str]) -> str:
    """What a merge without words is about: its oldest commit, whose subject names the purpose most often."""
    subjects = [subject for subject in reversed(brought) if not subject.startswith("Merge ")]
    telling = (subject for subject in subjects if len(subject.split()) > 1)
    return next(telling, re.sub(r"[-_/]+", " ", branch).strip() or next(iter(subjects), ""))


def _messages(git_dir: Path, span: Sequence[str]) -> dict[str, _Message]:
    raw = run_git(git_dir, ["log", "--format=%H%x00%P%x00%cI%x00%ct%x00%s%x00%b%x00", *span])
    fields = raw.decode("utf-8", "replace").split("\0")
    found = {}
    for at in range(0, len(fields) - 5, 6):
        name, parents, when, seconds, subject, body = fields[at : at + 6]
        found[name.strip()] = _Message(tuple(parents.split()), committed_at(when, seconds), subject, body)
    return found


def committed_at(when: str, seconds: str) -> datetime:
    """When a commit was made, from Git's `%cI` and `%ct`. Real histories have time zones of hundreds of hours, and years
    that no calendar has: the seconds alone count there, and the epoch where there are none."""
    try:
        return datetime.fromisoformat(when)
    except ValueError:
        return datetime.fromtimestamp(min(int(seconds), _LAST_SECOND) if seconds.isdigit() else 0, UTC)


def _brought(spine: Sequence[str], messages: Mapping[str, _Message]) -> dict[str, tuple[str, ...]]:
    """Each commit of the spine with the commits that reached the branch by it, newest first within a merge."""
    seen = set(spine)
    brought: dict[str, tuple[str, ...]] = {}
    for name in reversed(spine):
        found, queue = [name], list(messages[name].parents[1:])
        while queue:
            commit = queue.pop(0)
            if commit in seen or commit not in messages:
                continue
            seen.add(commit)
            found.append(commit)
            queue.extend(messages[commit].parents)
        brought[name] = tuple(found)
    return brought


def _changed_files(git_dir: Path, span: Sequence[str], layout: Layout) -> Iterator[tuple[str, tuple[ChangedFile, ...]]]:
    """Per commit its Python files, newest commit first, each with the path that later renames gave it."""
    arguments = ["log", "--first-parent", "-m", "-M", "--raw", "--no-abbrev", "--format=%x01%H", *span, "--", "*.py"]
    today: dict[str, str] = {}
    commit, rows = "", list[ChangedFile]()
    for line in run_git(git_dir, arguments).decode(errors="surrogateescape").split("\n"):
        if line.startswith("\x01"):
            if commit:
                yield commit, tuple(rows)
            commit, rows = line[1:], []
        elif line.startswith(":") and (row := _raw_row(line, layout, today)):
            rows.append(row)
    if commit:
        yield commit, tuple(rows)


def _raw_row(line: str, layout: Layout, today: dict[str, str]) -> ChangedFile | None:
    meta, _, names = line.partition("\t")
    old, _, new = names.partition("\t")
    new = new or old
    modes = meta.split()
    if any(mode.lstrip(":") not in ("100644", "100755", "000000") for mode in modes[:2]) or old.startswith('"'):
        return None
    before, after = (None if set(blob) == {"0"} else blob for blob in modes[2:4])
    row = ChangedFile(new, old, before, after, layout.kind(new), today.get(new, new))
    if new != old:
        today[old] = row.today
    return row


def worth_undoing(changes: Iterable[Change], tree: Mapping[str, str], limits: Limits = Limits()) -> Iterator[Change]:
    """Changes of a bounded number of files with at least one source file that lives on in `tree` or was deleted."""
    for change in changes:
        alive = any(f.today in tree or f.after is None for f in change.sources)
        if alive and len(change.files) <= limits.files:
            yield change


def stream_diffs(git_dir: Path, changes: Sequence[Change], context: int = 3) -> Iterator[tuple[Change, bytes]]:
    """Each change with its diff against its first parent, Python files only, in the order given."""
    by_name = {change.commit: change for change in changes}
    arguments = ["diff-tree", "--stdin", "-r", "-M", "-p", f"-U{context}", "--", "*.py"]
    with _feed("".join(f"{c.commit} {c.parent}\n" for c in changes).encode()) as pairs:
        process = open_git(git_dir, arguments, pairs)
    if process.stdout is None:
        raise InfrastructureError("git diff-tree started without a pipe")
    try:
        with process.stdout as stream:
            yield from _split(stream, by_name)
    finally:
        # A caller that stops early closed the pipe: git ends by itself and is collected here.
        process.wait()


def _split(stream: Iterable[bytes], by_name: Mapping[str, Change]) -> Iterator[tuple[Change, bytes]]:
    pending: list[bytes] = []
    current: Change | None = None
    for line in stream:
        # Lines of a diff's content always start with one of " +-\\"; a bare id starts the next commit.
        if len(line) in (41, 65) and line[:1] in b"0123456789abcdef" and (name := line[:-1].decode()) in by_name:
            if current is not None:
                yield current, b"".join(pending)
            current, pending = by_name[name], []
        else:
            pending.append(line)
    if current is not None:
        yield current, b"".join(pending)


def _feed(text: bytes) -> IO[bytes]:
    """A file to read `text` from, so that no thread has to write while the output is read."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(text)
    file.seek(0)
    return file
