"""The scripted teacher: no model. It explores, applies the reference by ordinary edits, runs tests and submits.

It proves pipelines without a model and without cost; whatever it writes is labelled as scripted. Its commands print
nothing that differs between two runs (no times, no unsorted listings), so equal tasks give equal trajectories.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from repoexpert.models.chat import Completion
from repoexpert.models.script_edits import Edit, edits

VERSION = 1
"""Part of an attempt's key: raised when the teacher's words or commands change."""
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git add -A && git diff --cached"
_CHARACTERS_PER_TOKEN = 4
_SHOWN_FILES = 2
_SHOWN_LINES = 24
_STRIP_TIME = "tail -n 1 | sed -E 's/ in [0-9.]+s.*//'"


@dataclass(frozen=True)
class ScriptedTask:
    """What the script needs of a task. Taken from the task's record by `repoexpert.rollout.teachers`."""

    id: str
    reference: str
    """Unified diff that solves it."""
    symbols: tuple[str, ...] = ()
    """`path::Qualified.name` of what it is about."""
    test_files: tuple[str, ...] = ()
    """Test files of the start tree that cover it."""
    tests_only: bool = False
    """The answer is a test that reproduces a problem."""


@dataclass(frozen=True)
class Step:
    """A turn; `instead` is the turn that follows when its command fails."""

    thought: str
    command: str
    instead: Step | None = None

    @property
    def text(self) -> str:
        return f"THOUGHT: {self.thought}\n\n```bash\n{self.command}\n```"


class ScriptedCompleter:
    """Plays the script of one task; looks at the last observation only to see whether a command failed."""

    def __init__(self, task: ScriptedTask, *, test_command: Sequence[str] = ("python", "-m", "pytest")) -> None:
        self._queue = deque(script(task, test_command))
        self._instead: Step | None = None

    @property
    def description(self) -> dict[str, Any]:
        return {"provider": "scripted", "model": "scripted", "script_version": VERSION}

    def complete(self, messages: Sequence[dict[str, str]]) -> Completion:
        """The next turn; after the last one it submits again."""
        if self._instead is not None and "<returncode>0</returncode>" not in messages[-1]["content"][:200]:
            step = self._instead
        else:
            step = self._queue.popleft() if self._queue else Step("I submit what I have.", SUBMIT)
        self._instead = step.instead
        prompt = sum(len(message["content"]) for message in messages)
        return Completion(step.text, prompt // _CHARACTERS_PER_TOKEN, len(step.text) // _CHARACTERS_PER_TOKEN)


def script(task: ScriptedTask, test_command: Sequence[str]) -> list[Step]:
    """The turns for a task, submission included. Pure: a function of the task alone."""
    voice = _Voice(task.id)
    changes = edits(task.reference)
    tests_only = task.tests_only
    steps = [_find(task, voice), *_read(changes, voice, tests_only)]
    for number, edit in enumerate(changes):
        steps.append(_edit(edit, number, len(changes), voice, tests_only))
    steps += _run_tests(task, changes, test_command, voice, tests_only)
    steps.append(Step(voice.say(_DONE_TESTS if tests_only else _DONE), SUBMIT))
    return steps


class _Voice:
    """Chooses among phrases by the task's id, so that tasks differ and one task never does."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._said = 0

    def say(self, phrases: Sequence[str], **values: str) -> str:
        self._said += 1
        digest = hashlib.sha256(f"{self._seed}:{self._said}".encode()).digest()
        return phrases[digest[0] % len(phrases)].format(**values)


_FIND = (
    "The report is about `{name}`. I look for where it is defined.",
    "I start with `{name}`, which the description points to: where does it live?",
    "First I need to find `{name}` in the sources.",
    "`{name}` seems to be the place. Let me locate it.",
)
_LIST = ("I look at how the repository is laid out.", "First an overview of the files here.")
_READ = (
    "I read the code around line {line} of `{path}`.",
    "Now the implementation in `{path}`.",
    "`{path}` is the file to understand; I read the part that matters.",
)
_READ_TESTS = (
    "Before writing a test I look at how `{path}` is written.",
    "I follow the style of the tests in `{path}`, so I read some of it.",
)
_EDIT = {
    "replace": (
        "I change this part of `{path}`.",
        "The logic here in `{path}` is wrong; I rewrite it.",
        "This passage of `{path}` has to behave differently.",
    ),
    "insert": ("Something is missing in `{path}`; I add it.", "I add the missing code to `{path}`."),
    "remove": ("This part of `{path}` should not be there; I remove it.", "I take these lines out of `{path}`."),
    "create": ("This belongs in a new file, `{path}`.", "I create `{path}`."),
    "patch": ("I apply the change to `{path}` as a patch.", "A patch is the clearest way to edit `{path}`."),
}
_EDIT_TESTS = ("I add a test that shows the problem to `{path}`.", "I write the reproduction into `{path}`.")
_AGAIN = ("That replacement did not go through, so I apply the change as a patch.",)
_TEST = ("I run the tests that belong to this code.", "Let me check the change with the related tests.")
_TEST_TESTS = (
    "I run it: the new test should fail now, because the bug is still there.",
    "The test has to fail on the present code. I check that it does.",
)
_DONE = ("The change is complete. I submit it.", "The tests agree with the change, so I submit.", "Done; I submit.")
_DONE_TESTS = ("The test reproduces the problem. I submit it.", "It fails for the right reason, so I submit it.")


def _find(task: ScriptedTask, voice: _Voice) -> Step:
    names = [symbol.rpartition("::")[2].rpartition(".")[2] for symbol in task.symbols]
    name = next((name for name in names if name.isidentifier()), "")
    if not name:
        return Step(voice.say(_LIST), "git ls-files | grep -v -E '^(docs?|\\.github)/' | sort | head -n 20")
    command = f"grep -rnE --include='*.py' '(def|class) {name}\\b' . | sort | head -n 8"
    return Step(voice.say(_FIND, name=name), command)


def _read(changes: Sequence[Edit], voice: _Voice, tests_only: bool) -> list[Step]:
    places: dict[str, int] = {}
    for edit in changes:
        if edit.kind != "create":
            places.setdefault(edit.path, edit.line)
    phrases = _READ_TESTS if tests_only else _READ
    steps = []
    for path, line in list(places.items())[:_SHOWN_FILES]:
        start = max(1, line - 2)
        command = f"sed -n '{start},{start + _SHOWN_LINES}p' {shlex.quote(path)}"
        steps.append(Step(voice.say(phrases, path=path, line=str(line)), command))
    if not steps:
        folder = changes[0].path.rpartition("/")[0] if changes else ""
        steps.append(Step(voice.say(_LIST), f"ls {shlex.quote(folder or '.')} 2>/dev/null | sort | head -n 20"))
    return steps


def _edit(edit: Edit, number: int, total: int, voice: _Voice, tests_only: bool) -> Step:
    thought = voice.say(_EDIT_TESTS if tests_only else _EDIT[edit.kind], path=edit.path)
    if number and total > 1:
        thought += f" ({number + 1} of {total})"
    again = Step(voice.say(_AGAIN), edit.instead) if edit.instead else None
    return Step(thought, edit.command, again)


def _run_tests(
    task: ScriptedTask, changes: Sequence[Edit], test_command: Sequence[str], voice: _Voice, tests_only: bool
) -> list[Step]:
    """The test files that matter: of the answer itself, or those that the task's surviving tests live in."""
    paths = [edit.path for edit in changes if edit.path.endswith(".py")] if tests_only else task.test_files
    files = [path for path in dict.fromkeys(sorted(paths)) if re.fullmatch(r"[\w./+-]+", path)][:_SHOWN_FILES]
    if not files:
        return []
    command = " ".join([*map(shlex.quote, test_command), "-q", "--tb=no", *files])
    return [Step(voice.say(_TEST_TESTS if tests_only else _TEST), f"{command} 2>&1 | {_STRIP_TIME}")]
