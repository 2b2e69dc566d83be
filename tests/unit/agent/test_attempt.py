"""One attempt: what the agent is told, what it may do, when it ends, what is on disk after every step."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from repoexpert.agent.attempt import AttemptOutcome, run_attempt
from repoexpert.agent.config import AgentConfig
from repoexpert.agent.prompting import prompts_of
from repoexpert.errors import BadInput, SandboxLost
from repoexpert.models.chat import ChatModel
from repoexpert.sandbox.protocol import Result
from tests.fakes.completers import SUBMIT, FakeCompleter, turn
from tests.fakes.sandboxes import FakeSandbox


async def _attempt(
    completer: FakeCompleter, answer: Any, *, trajectory: Path | None = None, **limits: Any
) -> AttemptOutcome:
    model = ChatModel(completer, name="m", context_tokens=int(limits.get("context_tokens", 0)))
    return await asyncio.to_thread(
        run_attempt,
        model,
        FakeSandbox(answer),
        asyncio.get_running_loop(),
        statement="It breaks with {{ braces }} and <tags>.",
        unit=limits.pop("unit", "evolutionaryReplay"),
        config=AgentConfig(**limits),
        trajectory=trajectory,
    )


def _shell(command: str) -> Result:
    if command == SUBMIT:
        return Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\nthe patch\n", 0)
    return Result("output\n", 0)


async def test_the_statement_reaches_the_agent_as_it_is_with_the_limits() -> None:
    completer = FakeCompleter([turn(SUBMIT)])
    outcome = await _attempt(completer, _shell, command_timeout_seconds=17, step_limit=9)
    system, instance = (message["content"] for message in completer.seen[0])
    assert "exactly ONE bash code block" in system
    assert "It breaks with {{ braces }} and <tags>." in instance
    assert "17 seconds" in instance
    assert "9 turns" in instance
    assert SUBMIT in instance
    assert outcome == AttemptOutcome("Submitted", "the patch\n", 1, False, ())


@pytest.mark.parametrize("unit", ["evolutionaryReplay", "semanticRuntimeAlignment"])
def test_prompts_are_short_and_have_a_digest(unit: str) -> None:
    prompts = prompts_of(unit)
    assert len(prompts.system + prompts.instance) / 4 < 420
    assert len(prompts.digest) == 16


def test_a_unit_without_prompt_is_not_available() -> None:
    with pytest.raises(BadInput, match="softwareDesign"):
        prompts_of("softwareDesign")


@pytest.mark.parametrize(
    ("answers", "limits", "status", "steps"),
    [
        ([turn("ls")], {"step_limit": 4}, "LimitsExceeded", 4),
        (["no block"], {}, "RepeatedFormatError", 3),
        (["no block", turn("ls")] * 9 + [turn(SUBMIT)], {}, "Submitted", 19),
        ([turn("ls")], {"context_tokens": 825}, "ContextExceeded", 2),
        ([turn("ls")], {"loop_guard": True}, "Looping", 5),
        ([turn(f"false || {SUBMIT}")], {"step_limit": 2}, "LimitsExceeded", 2),
    ],
    ids=["step limit", "format errors in a row", "format errors apart", "context", "loop guard", "other command"],
)
async def test_how_attempts_end(answers: list[str], limits: dict[str, Any], status: str, steps: int | None) -> None:
    outcome = await _attempt(FakeCompleter(answers, tokens=(800, 20)), _shell, **limits)
    assert outcome.exit_status == status
    assert steps is None or outcome.steps == steps


@pytest.mark.parametrize(
    ("result", "submission"),
    [
        (Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\na\nb\n", 0), "a\nb\n"),
        (Result("\n COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT \nx", 0), "x"),
        (Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n", 0), ""),
        (Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\nx", 1), None),
        (Result("first\nCOMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\nx", 0), None),
    ],
    ids=["patch", "white space around", "nothing", "failed command", "not the first line"],
)
async def test_a_submission_is_the_mark_on_the_first_line_of_a_successful_command(
    result: Result, submission: str | None
) -> None:
    outcome = await _attempt(FakeCompleter([turn("x")]), lambda _: result, step_limit=1)
    expected = ("LimitsExceeded", "") if submission is None else ("Submitted", submission)
    assert (outcome.exit_status, outcome.submission) == expected


async def test_a_submission_cut_by_the_output_cap_is_not_taken_for_a_patch() -> None:
    cut = Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\nhalf a patch", 0, truncated=True)
    outcome = await _attempt(FakeCompleter([turn("x")]), lambda _: cut)
    assert (outcome.exit_status, outcome.submission) == ("SubmissionTooLong", "")


async def test_a_timed_out_command_is_told_to_the_agent() -> None:
    completer = FakeCompleter([turn("sleep"), turn(SUBMIT)])
    results = iter([Result("partial\n", 124, timed_out=True), _shell(SUBMIT)])
    await _attempt(completer, lambda _: next(results), command_timeout_seconds=5)
    assert completer.seen[1][-1]["content"].startswith(
        "<exception>The command was stopped after 5 seconds.</exception>"
    )


async def test_the_trajectory_on_disk_is_whole_at_every_step(tmp_path: Path) -> None:
    path = tmp_path / "t.traj.json"
    completer = FakeCompleter([turn("ls"), "no block", turn("ls"), turn(SUBMIT)])
    lengths: list[int] = []
    completer.on_call = lambda: lengths.append(len(json.loads(path.read_text())["messages"]) if path.exists() else 0)
    await _attempt(completer, _shell, trajectory=path)
    assert lengths == [0, 4, 6, 8]
    stored = json.loads(path.read_text())
    assert len(stored["messages"]) == 10
    assert stored["messages"][5]["extra"]["interrupt_type"] == "FormatError"
    assert stored["info"]["repoexpert"]["prompts"] == prompts_of("evolutionaryReplay").digest
    assert not path.with_name(f".{path.name}").exists()


async def test_equal_attempts_store_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        await _attempt(FakeCompleter([turn("ls"), turn(SUBMIT)]), _shell, trajectory=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


async def test_a_lost_sandbox_passes_through() -> None:
    def lost(_: str) -> Result:
        raise SandboxLost("gone")

    with pytest.raises(SandboxLost, match="gone"):
        await _attempt(FakeCompleter([turn("ls")]), lost)


async def test_loops_and_forbidden_looks_are_part_of_the_outcome() -> None:
    outcome = await _attempt(FakeCompleter([turn("git log --all")]), _shell, step_limit=4)
    assert outcome.looping
    assert outcome.suspicious == ("git-history: git log --all",) * 4
