"""Whatever the reference, running the scripted edits gives the reference's tree."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoexpert.models.script_edits import edits
from repoexpert.models.text_protocol import find_actions

_LINES = st.sampled_from(
    [
        "x = 1",
        "",
        "    return x",
        "def f(x):",
        "EOF",
        '"""doc"""',
        "'''other'''",
        "```",
        "a\\nb",
        "$HOME `id`",
        "é",
        "x = 1",
    ]
)
_FILE = st.lists(_LINES, max_size=30).map(lambda lines: "".join(f"{line}\n" for line in lines))


def _apply(before: dict[str, str], after: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Run the scripted edits for the change in a folder; gives the files after it, and the edits' kinds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in before.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode())
        reference = _diff(before, after)
        found = edits(reference)
        for edit in found:
            (command,) = find_actions(f"THOUGHT: x\n\n```bash\n{edit.command}\n```")
            if subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True).returncode != 0:
                (again,) = find_actions(f"```bash\n{edit.instead}\n```")
                subprocess.run(["bash", "-c", again], cwd=folder, check=True, capture_output=True)
        kept = {str(p.relative_to(folder)): p.read_bytes().decode() for p in folder.rglob("*") if p.is_file()}
        return kept, [edit.kind for edit in found]


def _diff(before: dict[str, str], after: dict[str, str]) -> str:
    """What `git diff` says, with full contents written by Git itself."""
    with tempfile.TemporaryDirectory() as name:
        for side, files in (("a", before), ("b", after)):
            for path, text in files.items():
                target = Path(name) / side / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text.encode())
            (Path(name) / side).mkdir(exist_ok=True)
        command = ["git", "-C", name, "diff", "--no-index", "--no-color", "--no-prefix", "--no-renames", "a", "b"]
        return subprocess.run(command, capture_output=True, check=False).stdout.decode()


@given(_FILE.filter(bool), _FILE.filter(bool))
@settings(max_examples=25, deadline=None)
def test_any_change_of_a_file_is_made(old: str, new: str) -> None:
    assert _apply({"pkg/mod.py": old}, {"pkg/mod.py": new})[0] == {"pkg/mod.py": new}


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({"a.py": "x = 1\ny = 2\n"}, {"a.py": "x = 3\ny = 2\n"}, ["replace"]),
        ({"a.py": "import os\nimport sys\n"}, {"a.py": "import os\nimport re\nimport sys\n"}, ["insert"]),
        ({"a.py": "import os\nimport re\nimport sys\n"}, {"a.py": "import os\nimport sys\n"}, ["remove"]),
        ({"a.py": "x\n"}, {"a.py": "x\n", "n/b.py": "y = '''\n'''\n"}, ["create"]),
        ({"a.py": "x\n", "b.py": "y\n"}, {"a.py": "x\n"}, ["patch"]),
        ({"a.py": "x = 1\n"}, {"a.py": "x = 2"}, ["patch"]),
        ({"a.py": "x = 1\r\n"}, {"a.py": "x = 2\r\n"}, ["patch"]),
        ({"a.py": "x\n"}, {"a.py": "x\n", "n/e.txt": ""}, ["patch"]),
        ({"with space.py": "x = 1\n"}, {"with space.py": "x = 2\n"}, ["patch"]),
        ({"a.md": "text\n"}, {"a.md": "```bash\nls\n```\n"}, ["patch"]),
    ],
    ids=["change", "addition", "removal", "new file", "deletion", "no final newline", "carriage returns", "empty new file",
         "odd name", "a code block of its own"],
)  # fmt: skip
def test_the_kind_of_edit_fits_the_change(before: dict[str, str], after: dict[str, str], kinds: list[str]) -> None:
    assert _apply(before, after) == (after, kinds)


def test_a_passage_that_occurs_twice_is_changed_in_the_right_place() -> None:
    block = "def f():\n    value = compute_the_value_of_things()\n    return value\n\n\n"
    before = block * 3
    after = block + block.replace("return value", "return value + 1") + block
    assert _apply({"a.py": before}, {"a.py": after})[0] == {"a.py": after}


def test_many_hunks_of_a_file_become_one_patch() -> None:
    before = "".join(f"line number {n}\n" for n in range(200))
    after = "".join(f"line number {n}{' changed' if n % 20 == 0 else ''}\n" for n in range(200))
    assert _apply({"a.py": before}, {"a.py": after}) == ({"a.py": after}, ["patch"])
