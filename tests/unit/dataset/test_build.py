"""Which attempts become rows, and that every loss is counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repoexpert.dataset.build import Built, Options, build
from repoexpert.dataset.export import describe, losses_table, repository_file, write_dataset
from repoexpert.dataset.shingles import Reserved
from repoexpert.dataset.trajectories import read_attempts
from repoexpert.errors import StageFailed
from repoexpert.experience.tasks import Task
from tests.builders.trajectories import (
    ending,
    observation,
    opening,
    reply,
    result,
    task,
    trajectory,
    write_attempt,
    write_rollout,
)


def words(texts: Sequence[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


def _build(folder: Path, tasks: list[Task], **options: Any) -> Built:
    settings_ = Options(**{"template": "chatml", "max_length": 10_000, "quotas": {}, **options})
    return build(read_attempts(folder), tasks, words, settings_)


def _loss(folder: Path, messages: list[dict[str, Any]] | None = None, options: Any = None, **changes: Any) -> Any:
    """What one attempt at one task, beside ten ordinary ones, is lost to."""
    others = [task(number) for number in range(1, 11)]
    write_rollout(folder, others)
    write_attempt(folder, result(task(0), **changes), messages or trajectory(77_000))
    built = _build(folder, [task(0), *others], **(options or {}))
    assert len(built.train) + len(built.heldout) + sum(built.lost["evolutionaryReplay"].values()) == 11
    return built.lost["evolutionaryReplay"]


def test_an_ordinary_verified_attempt_is_kept(tmp_path: Path) -> None:
    assert _loss(tmp_path) == {}


@pytest.mark.parametrize("name", ["result.json", "trajectory.traj.json"])
def test_a_damaged_attempt_names_its_file(name: str, tmp_path: Path) -> None:
    damaged = write_attempt(tmp_path, result(task(0)), trajectory(0)) / name
    damaged.write_text("xxxx", encoding="utf-8")
    with pytest.raises(StageFailed, match=str(damaged)):
        _build(tmp_path, [task(0)])


def test_attempts_at_tasks_that_are_not_there_are_refused(tmp_path: Path) -> None:
    write_rollout(tmp_path, [task(0)])
    with pytest.raises(StageFailed, match="1 attempted tasks are not among the tasks given"):
        _build(tmp_path, [task(1)])


def test_a_rejected_attempt_is_left_out(tmp_path: Path) -> None:
    assert _loss(tmp_path, outcome="rejected", reason="tests-failed") == {"notVerified": 1}


def test_an_attempt_that_ran_into_a_limit_is_left_out(tmp_path: Path) -> None:
    assert _loss(tmp_path, outcome="not-submitted", exit_status="LimitsExceeded") == {"notSubmitted": 1}


def test_an_attempt_that_looked_for_the_answer_is_left_out(tmp_path: Path) -> None:
    assert _loss(tmp_path, suspicious=("pip download pkg",)) == {"suspicious": 1}


def test_a_trajectory_that_is_too_long_is_left_out_and_never_cut(tmp_path: Path) -> None:
    assert _loss(tmp_path, trajectory(1, words=2000), {"max_length": 1000}) == {"tooLong": 1}


def test_a_trajectory_that_mostly_loops_is_left_out(tmp_path: Path) -> None:
    assert _loss(tmp_path, [*opening("x"), *[reply("ls"), observation("same")] * 9, *ending()]) == {"looping": 1}


def test_a_trajectory_without_a_reply_is_left_out(tmp_path: Path) -> None:
    assert _loss(tmp_path, opening("x")) == {"nothingToTrain": 1}


def test_of_near_duplicates_one_stays(tmp_path: Path) -> None:
    assert _loss(tmp_path, trajectory(0, statement="another task, the same work")) == {"nearDuplicate": 1}


def test_a_contaminated_task_is_left_out(tmp_path: Path) -> None:
    assert _loss(tmp_path, None, {"reserved": Reserved(ids=[task(0).id])}) == {"contaminated": 1}


def test_a_task_gives_at_most_two_trajectories(tmp_path: Path) -> None:
    tasks = [task(number) for number in range(6)]
    write_rollout(tmp_path, tasks, attempts=5)
    built = _build(tmp_path, tasks)
    assert built.lost == {"evolutionaryReplay": {"overTaskLimit": 18}}
    assert len(built.train) + len(built.heldout) == 12


def test_a_quota_takes_every_task_once_before_any_twice(tmp_path: Path) -> None:
    tasks = [task(number) for number in range(8)]
    write_rollout(tmp_path, tasks, attempts=2)
    built = _build(tmp_path, tasks, quotas={"evolutionaryReplay": 8})
    assert {row.attempt.task for row in (*built.train, *built.heldout)} == {one.id for one in tasks}
    assert built.lost == {"evolutionaryReplay": {"overQuota": 8}}


def test_the_artifact_is_byte_for_byte_the_same_and_its_rows_are_ms_swifts(tmp_path: Path) -> None:
    tasks = [task(n, u) for n in range(8) for u in ("evolutionaryReplay", "semanticRuntimeAlignment")]
    write_rollout(tmp_path / "rollout", tasks)
    for name in ("first", "second"):
        built = _build(tmp_path / "rollout", list(reversed(tasks)) if name == "second" else tasks)
        options = Options(template="chatml", max_length=10_000, quotas={"evolutionaryReplay": 100})
        write_dataset(
            tmp_path / name, built, options, repository="git@host:team/my pkg.git", tokenizer="t", student="s"
        )
    files = sorted(file.relative_to(tmp_path / "first") for file in (tmp_path / "first").rglob("*") if file.is_file())
    assert [str(file) for file in files] == [
        "data/evo_replay/my-pkg.jsonl", "data/rt_alignment/my-pkg.jsonl", "dataset.json", "heldout.jsonl", "train.jsonl",
    ]  # fmt: skip
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "first/train.jsonl").read_text(encoding="utf-8").splitlines()]
    held = [json.loads(line) for line in (tmp_path / "first/heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["id"] for row in rows}.isdisjoint(row["id"] for row in held)
    assert len(rows) + len(held) == 16
    assert set(rows[0]) == {"messages", "id", "unit"}
    per_unit = [(tmp_path / "first" / file).read_text(encoding="utf-8").splitlines() for file in files[:2]]
    assert sorted(line for lines in per_unit for line in lines) == sorted(json.dumps(row) for row in rows)


def test_the_losses_read_as_a_table(tmp_path: Path) -> None:
    tasks = [task(number) for number in range(6)]
    write_rollout(tmp_path, tasks, attempts=3)
    built = _build(tmp_path, tasks)
    table = losses_table(describe(built, Options(template="chatml", max_length=1, quotas={})))
    header, line = (row.split() for row in table.splitlines())
    figures = dict(zip(header, line, strict=True))
    assert (figures["unit"], figures["attempts"], figures["overTaskLimit"]) == ("evolutionaryReplay", "18", "6")


def test_the_repository_names_its_file() -> None:
    assert repository_file("https://example.org/team/django.git") == "django.jsonl"
    assert repository_file("file:///data/pkg/") == "pkg.jsonl"
    assert repository_file("git@host:lib.git") == "lib.jsonl"


_CHANGES = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from(["verified", "rejected", "not-submitted"]),
        "suspicious": st.sampled_from([(), ("curl",)]),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(drawn=st.lists(st.tuples(st.integers(0, 6), _CHANGES, st.integers(0, 3)), max_size=15))
def test_attempts_are_rows_or_counted_losses(
    tmp_path_factory: Any, drawn: list[tuple[int, dict[str, Any], int]]
) -> None:
    folder = tmp_path_factory.mktemp("rollout")
    for attempt, (number, changes, seed) in enumerate(drawn):
        write_attempt(folder, result(task(number), attempt, **changes), trajectory(seed, count=2))
    built = _build(folder, [task(number) for number in range(7)])
    lost = sum(sum(losses.values()) for losses in built.lost.values())
    assert len(built.train) + len(built.heldout) + lost == len(drawn)
