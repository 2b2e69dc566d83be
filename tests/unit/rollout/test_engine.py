"""The engine over fake sandboxes and models: what is attempted, kept, retried, reused and counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from repoexpert.agent.config import AgentConfig
from repoexpert.errors import BadInput, InfrastructureError, SandboxLost, StageFailed
from repoexpert.experience.tasks import Task
from repoexpert.models.chat import ChatModel
from repoexpert.models.pricing import Price
from repoexpert.rollout.engine import run_rollouts
from repoexpert.rollout.ledger import Summary
from repoexpert.rollout.records import AttemptResult
from repoexpert.sandbox.protocol import Result, StartTree
from tests.builders.tasks import make_task
from tests.fakes.completers import SUBMIT, FakeCompleter, turn
from tests.fakes.sandboxes import FakePool, FakeSandbox

PATCH = "diff --git a/lib.py b/lib.py\n"


def _shell(command: str) -> Result:
    if command == SUBMIT:
        return Result(f"COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n{PATCH}", 0)
    return Result(f"ran {command}\n", 0)


@dataclass(frozen=True)
class Verdict:
    verified: bool
    reason: str = "tests-failed"
    detail: str = ""


@dataclass
class FakeVerifier:
    """Says yes to every patch unless `answers` has something else for a task, one answer a call."""

    answers: dict[str, list[bool | Exception]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    async def verify(self, task: Task, patch: str) -> Verdict:
        self.calls.append((task.id, patch))
        answers = self.answers.get(task.id)
        answer = answers.pop(0) if answers else True
        if isinstance(answer, Exception):
            raise answer
        return Verdict(answer)


@dataclass
class Rig:
    """Arguments of the engine that tests change, and what it did."""

    out: Path
    verifier: FakeVerifier = field(default_factory=FakeVerifier)
    pool: FakePool = field(default_factory=lambda: FakePool(_shell))
    answers: Callable[[Task, int], Sequence[str | Exception]] = lambda _task, _number: [turn("ls"), turn(SUBMIT)]
    price: Price = field(default_factory=Price)
    models: list[tuple[str, int]] = field(default_factory=list)

    async def run(self, tasks: Sequence[Task], **options: Any) -> Summary:
        def make(task: Task, number: int) -> ChatModel:
            self.models.append((task.id, number))
            return ChatModel(FakeCompleter(self.answers(task, number)), name="fake", price=self.price)

        values: dict[str, Any] = {"agent_config": AgentConfig(step_limit=5), "key_of": lambda task: f"key-{task.id}"}
        return await run_rollouts(
            tasks,
            pool=self.pool,
            model_factory=make,
            verifier=self.verifier,
            start_of=lambda _: StartTree(Path("tree.tar")),
            out=self.out,
            **{**values, **options},
        )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "artifact")


def _outcomes(summary: Summary) -> list[tuple[str, int, str, str]]:
    return [(r.task[-1], r.attempt, r.outcome, r.reason) for r in summary.results]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def test_a_verified_attempt_is_a_folder_with_result_trajectory_and_patch(rig: Rig) -> None:
    summary = await rig.run([make_task(1)])
    folder = rig.out / "attempts/replay-000000000001/1"
    assert sorted(path.name for path in folder.iterdir()) == ["patch.diff", "result.json", "trajectory.traj.json"]
    assert AttemptResult.model_validate_json((folder / "result.json").read_text()) == AttemptResult(
        key="key-replay-000000000001",
        task="replay-000000000001",
        unit="evolutionaryReplay",
        attempt=1,
        outcome="verified",
        exit_status="Submitted",
        model="fake",
        scripted=False,
        patch=PATCH,
        steps=2,
        prompt_tokens=200,
        completion_tokens=20,
    )
    trajectory = json.loads((folder / "trajectory.traj.json").read_text())
    assert trajectory["trajectory_format"] == "mini-swe-agent-1.1"
    assert trajectory["info"]["exit_status"] == "Submitted"
    assert [message["role"] for message in trajectory["messages"]] == [
        "system", "user", "assistant", "user", "assistant", "exit",
    ]  # fmt: skip
    assert summary.figures()["units"] == {
        "evolutionaryReplay": {"tasks": 1, "tasks_attempted": 1, "attempts": 1, "verified": 1, "yield": 1.0}
    }
    assert len((rig.out / "ledger.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([turn("ls")], ("not-submitted", "limits-exceeded")),
        (["no block"], ("not-submitted", "repeated-format-error")),
        ([turn("ls"), "two", turn(SUBMIT)], ("verified", "")),
    ],
    ids=["runs into the step limit", "never keeps the format", "breaks the format once"],
)
async def test_how_an_attempt_ends_without_an_answer(rig: Rig, answers: list[str], expected: tuple[str, str]) -> None:
    rig.answers = lambda _task, _number: answers
    summary = await rig.run([make_task(1)])
    assert (summary.results[0].outcome, summary.results[0].reason) == expected


async def test_an_empty_patch_is_rejected_without_asking_the_verifier(rig: Rig) -> None:
    rig.pool = FakePool(lambda _: Result("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\n\n", 0))
    summary = await rig.run([make_task(1)])
    assert _outcomes(summary) == [("1", 1, "rejected", "empty-patch")]
    assert rig.verifier.calls == []


async def test_a_second_attempt_is_made_only_when_the_first_was_not_verified(rig: Rig) -> None:
    rig.verifier.answers = {make_task(2).id: [False]}
    summary = await rig.run([make_task(1), make_task(2)], attempts=3)
    assert _outcomes(summary) == [
        ("1", 1, "verified", ""),
        ("2", 1, "rejected", "tests-failed"),
        ("2", 2, "verified", ""),
    ]


async def test_all_attempts_runs_every_one(rig: Rig) -> None:
    summary = await rig.run([make_task(1)], attempts=3, all_attempts=True)
    assert [result.attempt for result in summary.results] == [1, 2, 3]


async def test_finished_attempts_are_not_run_again_and_the_artifact_is_the_same(rig: Rig) -> None:
    tasks = [make_task(number) for number in range(3)]
    await rig.run(tasks)
    before = _files(rig.out)
    again = Rig(rig.out)
    summary = await again.run(tasks)
    assert (again.models, summary.reused) == ([], 3)
    assert _files(rig.out) == before


async def test_partial_and_foreign_attempts_are_removed(rig: Rig) -> None:
    await rig.run([make_task(1), make_task(2)])
    expected = _files(rig.out)
    half = rig.out / "attempts/replay-000000000001"
    (half / "1").rename(half / ".1.partial")
    (half / ".1.partial/result.json").unlink()
    (rig.out / "attempts/replay-other/1").mkdir(parents=True)
    (rig.out / "attempts/replay-other/1/result.json").write_text("{")
    again = Rig(rig.out)
    await again.run([make_task(1), make_task(2)])
    assert again.models == [("replay-000000000001", 1)]
    assert _files(rig.out) == expected


async def test_an_attempt_with_another_key_is_made_anew(rig: Rig) -> None:
    await rig.run([make_task(1)])
    again = Rig(rig.out)
    await again.run([make_task(1)], key_of=lambda _: "changed")
    assert again.models == [("replay-000000000001", 1)]


async def test_an_earlier_artifacts_attempt_with_an_equal_key_is_taken_over(rig: Rig, tmp_path: Path) -> None:
    await rig.run([make_task(1), make_task(2)])
    later = Rig(tmp_path / "later")
    summary = await later.run([make_task(2), make_task(3)], reuse=[rig.out])
    assert (later.models, summary.reused) == ([("replay-000000000003", 1)], 1)
    fresh = Rig(tmp_path / "fresh")
    await fresh.run([make_task(2), make_task(3)])
    assert _files(tmp_path / "later") == _files(tmp_path / "fresh")


async def test_a_lost_sandbox_is_replaced_and_leaves_no_trace_in_the_artifact(rig: Rig, tmp_path: Path) -> None:
    await rig.run([make_task(1)])
    lost = iter([True, True])

    def unlucky(command: str) -> Result:
        if command == "ls" and next(lost, False):
            raise SandboxLost("gone")
        return _shell(command)

    second = Rig(tmp_path / "second", pool=FakePool(unlucky))
    summary = await second.run([make_task(1)])
    assert (summary.lost_sandboxes, summary.infrastructure_failures) == (2, 0)
    assert _files(tmp_path / "second") == _files(rig.out)


async def test_infrastructure_failures_leave_no_result_and_spare_the_others(rig: Rig) -> None:
    broken = make_task(2).id
    rig.answers = lambda task, _: (
        [InfrastructureError("no answer")] if task.id == broken else [turn("ls"), turn(SUBMIT)]
    )
    summary = await rig.run([make_task(number) for number in range(4)], attempts=2, concurrency=2)
    assert _outcomes(summary) == [(str(n), 1, "verified", "") for n in (0, 1, 3)]
    assert summary.infrastructure_failures == 1
    assert not (rig.out / "attempts" / broken / "1").exists()
    assert not list((rig.out / "attempts").glob("*/.*"))


async def test_a_sandbox_lost_in_grading_does_not_repeat_the_agent(rig: Rig) -> None:
    rig.verifier.answers = {make_task(1).id: [SandboxLost("gone"), True]}
    summary = await rig.run([make_task(1)])
    assert (summary.lost_sandboxes, len(rig.models), summary.results[0].outcome) == (1, 1, "verified")


async def test_when_no_attempt_could_be_made_the_first_cause_is_said(rig: Rig) -> None:
    rig.answers = lambda _task, _number: [InfrastructureError("the endpoint is down")]
    with pytest.raises(InfrastructureError, match="the endpoint is down"):
        await rig.run([make_task(1), make_task(2)])


async def test_a_service_that_never_answers_is_not_asked_for_every_task(rig: Rig) -> None:
    rig.answers = lambda _task, _number: [InfrastructureError("nobody there")]
    with pytest.raises(InfrastructureError, match="no attempt could be made; the first failure: nobody there"):
        await rig.run([make_task(number) for number in range(40)], concurrency=2)
    assert 8 <= len(rig.models) <= 10


async def test_a_wrong_key_ends_the_run_after_those_that_are_running(rig: Rig) -> None:
    wrong = make_task(0).id
    rig.answers = lambda task, _: [BadInput("wrong key")] if task.id == wrong else [turn("ls"), turn(SUBMIT)]
    with pytest.raises(BadInput, match="wrong key"):
        await rig.run([make_task(number) for number in range(9)], concurrency=2)
    assert len(list((rig.out / "attempts").glob("*/1/result.json"))) <= 2


async def test_a_start_tree_that_cannot_be_made_spares_the_others(rig: Rig) -> None:
    class Pool(FakePool):
        def claim(self, start: StartTree) -> Any:
            if start.patches:
                raise StageFailed("patch 0 does not apply")
            return super().claim(start)

    rig.pool = Pool(_shell)
    trees = {make_task(1).id: StartTree(Path("t"), patches=("x",)), make_task(2).id: StartTree(Path("t"))}
    summary = await run_rollouts(
        [make_task(1), make_task(2)],
        pool=rig.pool,
        model_factory=lambda _task, _number: ChatModel(FakeCompleter([turn(SUBMIT)]), name="fake"),
        agent_config=AgentConfig(),
        verifier=rig.verifier,
        start_of=lambda task: trees[task.id],
        key_of=lambda task: task.id,
        out=rig.out,
    )
    assert (_outcomes(summary), summary.infrastructure_failures) == ([("2", 1, "verified", "")], 1)


async def test_no_attempt_starts_once_the_budget_is_spent(rig: Rig) -> None:
    rig.price = Price(Decimal(1000), Decimal(0))
    summary = await rig.run([make_task(number) for number in range(5)], budget=Decimal("0.3"))
    assert [result.cost for result in summary.results] == ["0.2", "0.2"]
    assert summary.stopped_by_budget
    assert summary.figures()["cost"] == "0.4"


async def test_a_quota_stops_the_unit(rig: Rig) -> None:
    summary = await rig.run([make_task(n) for n in range(9)], quotas={"evolutionaryReplay": 3}, concurrency=4)
    assert [result.task[-1] for result in summary.results] == ["0", "1", "2"]


async def test_as_many_sandboxes_as_asked_are_used_at_once(rig: Rig) -> None:
    def answers(task: Task, number: int) -> Sequence[str]:
        return [turn("ls"), turn(SUBMIT)]

    rig.answers = answers
    await rig.run([make_task(n) for n in range(12)], concurrency=4)
    assert 2 <= rig.pool.most_held <= 4


async def test_the_artifact_does_not_depend_on_concurrency(rig: Rig, tmp_path: Path) -> None:
    verifier = {make_task(n).id: [n % 3 != 0] for n in range(9)}
    rig.verifier.answers = {name: list(answers) for name, answers in verifier.items()}
    await rig.run([make_task(n) for n in range(9)], attempts=2, concurrency=1)
    wide = Rig(tmp_path / "wide", FakeVerifier({name: list(answers) for name, answers in verifier.items()}))
    await wide.run([make_task(n) for n in range(9)], attempts=2, concurrency=7)
    assert _files(rig.out) == _files(tmp_path / "wide")


class _HangingPool(FakePool):
    """Its sandboxes never answer."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    def claim(self, start: StartTree) -> Any:
        return self._hanging()

    @contextlib.asynccontextmanager
    async def _hanging(self) -> AsyncIterator[FakeSandbox]:
        box = FakeSandbox(_shell)

        async def forever(*_: Any, **__: Any) -> Result:
            self.began.set()
            await asyncio.Event().wait()
            raise AssertionError

        box.run = forever  # type: ignore[method-assign]
        yield box


async def test_cancelling_ends_running_agents_and_keeps_what_is_finished(rig: Rig) -> None:
    await rig.run([make_task(1)])
    pool = _HangingPool()
    rig.pool = pool
    running = asyncio.create_task(rig.run([make_task(1), make_task(2)]))
    await asyncio.wait_for(pool.began.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)
    assert [str(path.relative_to(rig.out)) for path in rig.out.glob("attempts/*/*")] == [
        "attempts/replay-000000000001/1"
    ]
