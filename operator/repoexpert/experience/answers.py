"""Reading an agent's patch: does it apply, what does it change, does it try to fool the grader. Called by verifying.

The patch is applied by `git apply` to copies of the touched files alone; everything after that is decided on contents.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from repoexpert.errors import InfrastructureError
from repoexpert.repository.diffs import parse_diff
from repoexpert.repository.git import environment
from repoexpert.repository.mining import Layout

CONFIGURATION = {"conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml"}
"""Files that steer pytest: an answer's version of them is never used for grading."""
_STARTUP = {"sitecustomize.py", "usercustomize.py"}
_FRAMEWORK = {"pytest", "_pytest", "pluggy", "unittest", "repoexpert_probe", "coverage", "iniconfig"}
_TAMPERING = re.compile(
    rb"\b_pytest\b|\bpytest_(?:runtest|collection|session|configure|make|pyfunc|fixture_|cmdline|load_initial|report|plugin_)\w*|\brepoexpert|\bjunit\.xml\b|"
    rb"\bos\._exit\b|\bPYTEST_CURRENT_TEST\b|sys\.modules\[\s*['\"](?:pytest|_pytest|unittest)|\bpluggy\b"
)
_MOST_BYTES = 4 << 20


class BadAnswer(Exception):
    """An answer that cannot count. `reason` is a short constant."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Answer:
    """What the patch makes of the files it touches; None where it deletes one."""

    files: Mapping[str, bytes | None]


def read_answer(patch: str, tree: Mapping[str, bytes]) -> Answer:
    """Apply `patch` to the start tree's files. Raises BadAnswer: empty-patch, unsafe-path, patch-does-not-apply."""
    if not patch.strip():
        raise BadAnswer("empty-patch")
    raw = patch.encode("utf-8", "surrogateescape")
    if len(raw) > _MOST_BYTES:
        raise BadAnswer("patch-too-large", f"{len(raw)} bytes")
    paths = _paths(raw)
    if not paths:
        raise BadAnswer("patch-does-not-apply", "no file section")
    with tempfile.TemporaryDirectory(prefix="repoexpert-answer-") as folder:
        home = Path(folder)
        for path in paths:
            if (content := tree.get(path)) is not None:
                target = home / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        _git_apply(raw if raw.endswith(b"\n") else raw + b"\n", home)
        files = {path: _read(home, path) for path in paths}
    changed = {path: content for path, content in files.items() if content != tree.get(path)}
    if not changed:
        raise BadAnswer("empty-patch", "it changes nothing")
    return Answer(changed)


def _paths(raw: bytes) -> list[str]:
    found: dict[str, None] = {}
    for diff in parse_diff(raw):
        for path in (diff.old_path, diff.path):
            if path is not None:
                found[path] = None
    for path in found:
        parts = PurePosixPath(path).parts
        unsafe = not parts or path.startswith(("/", "~")) or ".." in parts or any(p.lower() == ".git" for p in parts)
        if unsafe or any(ord(c) < 32 for c in path):
            raise BadAnswer("unsafe-path", path)
    if re.search(rb"(?m)^(?:new file mode|new mode|old mode) (?:120000|160000)", raw):
        raise BadAnswer("unsafe-path", "a symbolic link or a submodule")
    return list(found)


def _git_apply(raw: bytes, home: Path) -> None:
    try:
        done = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", "-"],
            input=raw,
            cwd=home,
            capture_output=True,
            timeout=60,
            env=environment({"GIT_CEILING_DIRECTORIES": str(home.parent), "GIT_DIR": str(home / ".no-git")}),
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as e:
        raise InfrastructureError(f"git apply cannot be run: {e}") from e
    if done.returncode:
        raise BadAnswer("patch-does-not-apply", done.stderr.decode(errors="replace").strip()[:300])


def _read(home: Path, path: str) -> bytes | None:
    target = home / path
    if target.is_symlink() or not target.resolve().is_relative_to(home.resolve()):
        raise BadAnswer("unsafe-path", path)
    return target.read_bytes() if target.is_file() else None


def sources_only(answer: Answer, layout: Layout) -> Answer:
    """The answer without files that steer the test run, without tests, their helpers and their data: a repair is graded
    by the repository's own."""
    kept = {
        path: new
        for path, new in answer.files.items()
        if PurePosixPath(path).name not in CONFIGURATION and not layout.among_tests(path)
    }
    return Answer(kept)


def check_tampering(answer: Answer, tree: Mapping[str, bytes], source_roots: tuple[str, ...]) -> None:
    """Raise BadAnswer `tampering` for code that takes over the interpreter's start, the framework or its report."""
    roots = {PurePosixPath(root) for root in ("", *source_roots)}
    for path, content in answer.files.items():
        pure = PurePosixPath(path)
        top = {pure.relative_to(root).parts[0] for root in roots if pure.is_relative_to(root)}
        shadows = {PurePosixPath(part).stem for part in top} & _FRAMEWORK and path not in tree
        # Distribution metadata in the tree could name a pytest plugin as an entry point.
        metadata = any(part.endswith((".egg-info", ".dist-info")) for part in pure.parts)
        if pure.name in _STARTUP or pure.suffix == ".pth" or metadata or shadows:
            raise BadAnswer("tampering", path)
        if content is not None:
            known = set(_TAMPERING.findall(tree.get(path, b"")))
            new = [word for word in _TAMPERING.findall(content) if word not in known]
            if new:
                raise BadAnswer("tampering", f"{path}: {new[0].decode()}")


def require_tests_only(answer: Answer, layout: Layout) -> None:
    """Raise BadAnswer `not-only-tests` unless every file is a test file that steers no run of others."""
    for path in answer.files:
        if PurePosixPath(path).name in CONFIGURATION or layout.kind(path) != "test":
            raise BadAnswer("not-only-tests", path)
