"""Loops and looks at forbidden places are seen in a trajectory."""

from __future__ import annotations

import pytest

from repoexpert.agent.behaviour import is_looping, suspicious_commands, turns_of


@pytest.mark.parametrize(
    ("turns", "looping"),
    [
        ([], False),
        ([("a", "x")] * 2, False),
        ([("a", "x")] * 3, True),
        ([("a", "x"), ("a", "y"), ("a", "x")], False),
        ([("b", "x"), *[("a", "x")] * 3, ("c", "z")], True),
        ([("a", "x"), ("b", "x")] * 5, False),
    ],
)
def test_a_loop_is_the_same_command_with_the_same_output_three_times_in_a_row(
    turns: list[tuple[str, str]], looping: bool
) -> None:
    assert is_looping(turns) is looping


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("git log --all --oneline", "git-history"),
        ("cd /testbed && git reflog", "git-history"),
        ("git cat-file --batch-all-objects --batch-check", "git-objects"),
        ("ls .git/objects", "git-objects"),
        ("git fetch origin", "git-remote"),
        ("pip download lib==9", "package-download"),
        ("uv pip install lib", "package-download"),
        ("curl https://example.org", "network"),
        ("python -c 'import urllib.request; urllib.request.urlopen(x)'", "network"),
        ("cat /opt/repoexpert/env/lib/python3.11/site-packages/lib/core.py", "installed-packages"),
        ("find . -name '*.pyc'", "bytecode"),
    ],
)
def test_looking_for_the_answer_outside_the_tree_is_recorded(command: str, kind: str) -> None:
    assert suspicious_commands([command]) == (f"{kind}: {command}",)


@pytest.mark.parametrize(
    "command",
    [
        "git log --oneline | head",
        "git diff --cached",
        "git status",
        "grep -rn curl_handle src",
        "python -m pytest -q",
        "ls",
    ],
)
def test_ordinary_work_is_not(command: str) -> None:
    assert suspicious_commands([command]) == ()


def test_turns_pair_commands_with_what_they_printed() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a", "extra": {"actions": [{"command": "ls"}]}},
        {"role": "user", "content": "seen"},
        {"role": "assistant", "content": "no action", "extra": {"actions": []}},
        {"role": "user", "content": "format error"},
    ]
    assert turns_of(messages) == [("ls", "seen")]
