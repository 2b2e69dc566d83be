"""Tasks from a real Git history, proven in real sandboxes, and the grading of answers to them, honest and not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repoexpert.errors import BadInput, StageFailed
from repoexpert.experience.grounds import load_ground
from repoexpert.experience.leaks import leaks, secrets_of
from repoexpert.experience.making import TaskSet, make_tasks, require_tasks
from repoexpert.experience.tasks import Task
from repoexpert.experience.verifying import Verdict, Verifier
from repoexpert.progress import NoProgress
from repoexpert.repository.diffs import make_patch
from repoexpert.repository.mirror import Mirror
from tests.builders.grounds import commit_at, make_ground, pools
from tests.builders.histories import Library, make_library

_TEST = "tests/test_amounts.py"


@dataclass(frozen=True)
class _World:
    library: Library
    environment: Path
    work: Path
    scratch: Path
    commit: str
    made: TaskSet

    def make(self, **changes: Any) -> TaskSet:
        arguments: dict[str, Any] = {
            "mirror": Mirror(self.library.url, self.library.path / ".git"),
            "environment_dir": self.environment,
            "commit": self.commit,
            "after_commit": None,
            "units": {"evolutionaryReplay": 9, "semanticRuntimeAlignment": 9},
            "work": self.work,
            "pool_factory": pools(self.scratch),
            "jobs": 2,
            "progress": NoProgress(),
        }
        return asyncio.run(make_tasks(**arguments | changes))

    def verify(self, task: Task, patch: str) -> Verdict:
        async def grade() -> Verdict:
            async with pools(self.scratch)() as pool:
                return await Verifier(self.environment, pool).verify(task, patch)

        return asyncio.run(grade())

    def task(self, unit: str, symbol: str) -> Task:
        return next(
            t for t in self.made.tasks if t.unit == unit and f"ledger/amounts.py::{symbol}" in t.provenance.symbols
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> _World:
    folder = tmp_path_factory.mktemp("tasks")
    library = make_library(folder / "ledger")
    git_dir, scratch = library.path / ".git", folder / "scratch"
    commit = commit_at(git_dir, library.cutoff)
    ground: Callable[[], Coroutine[Any, Any, Path]] = lambda: make_ground(folder / "env", git_dir, commit, scratch)  # noqa: E731
    environment = asyncio.run(ground())
    empty = _World(library, environment, folder / "work", scratch, commit, TaskSet((), ()))
    return _World(library, environment, folder / "work", scratch, commit, empty.make())


def test_every_fix_before_the_cutoff_becomes_a_task_of_each_unit(world: _World) -> None:
    units = [task.unit for task in world.made.tasks]
    fixes = world.library.fixes_before_cutoff
    assert (units.count("evolutionaryReplay"), units.count("semanticRuntimeAlignment")) == (fixes, fixes)
    assert {task.provenance.pull_request for task in world.made.tasks} >= {"10", "11", "12"}


def test_tasks_are_proven_and_describe_themselves_without_leaks(world: _World) -> None:
    for task in world.made.tasks:
        assert task.verification.fail_to_pass
        assert set(task.proof.failures) == set(task.verification.fail_to_pass)
        secrets = secrets_of((task.reference, task.verification.fix_patch), task.verification.fail_to_pass)
        assert leaks(task.statement, secrets) == []
        assert 5 <= len(task.statement.split()) <= 120
    replay = world.task("evolutionaryReplay", "total")
    assert replay.statement.startswith("Count the first entry as well when adding up a ledger.")


def test_the_start_tree_lacks_the_failing_tests_and_the_fix(world: _World) -> None:
    task = world.task("evolutionaryReplay", "mean")
    assert "-def test_mean_of_nothing_is_zero" in task.start_patch
    assert "-    if not entries:" in task.start_patch
    assert "+    if not entries:" in task.reference
    assert "tests/" not in task.reference


def test_references_verify_and_empty_answers_do_not(world: _World) -> None:
    for unit in ("evolutionaryReplay", "semanticRuntimeAlignment"):
        task = world.task(unit, "mean")
        assert world.verify(task, task.reference) == Verdict(True)
        assert world.verify(task, "") == Verdict(False, "empty-patch", "")


def test_a_resumed_run_ends_with_the_same_tasks(world: _World) -> None:
    proofs = sorted((world.work / "proofs").glob("*.json"))
    for proof in proofs[::3]:
        proof.unlink()
    proofs[1].write_text("{half")
    again = world.make(jobs=1)
    assert [task.model_dump_json() for task in again.tasks] == [task.model_dump_json() for task in world.made.tasks]
    assert again.rejected == world.made.rejected
    assert again.summary == world.made.summary


def test_held_out_tasks_come_from_later_changes_alone(world: _World, tmp_path: Path) -> None:
    head = commit_at(world.library.path / ".git", "2030-01-01")
    environment = asyncio.run(make_ground(tmp_path / "env", world.library.path / ".git", head, world.scratch))
    made = world.make(
        environment_dir=environment, commit=head, after_commit=world.commit, work=tmp_path / "work", units={"evolutionaryReplay": 2}
    )  # fmt: skip
    assert [task.unit for task in made.tasks] == ["evolutionaryReplay"] * 2
    assert all(task.provenance.committed.isoformat() > "2024-04-01" for task in made.tasks)


def _replace(world: _World, task: Task, path: str, old: str, new: str) -> str:
    """A patch on the start tree that replaces a text in one file."""
    tree = load_ground(world.environment).files[path].decode()
    if path == "ledger/amounts.py":
        tree = tree.replace("    if not entries:\n        return 0.0\n", "", 1)
    else:
        before, _, _ = tree.partition("def test_mean_of_nothing_is_zero")
        tree = before + tree.partition("== 0.0\n")[2].lstrip()
    assert old in tree
    return make_patch({path: (tree.encode(), tree.replace(old, new, 1).encode())})


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        pytest.param("ledger/amounts.py", "def mean(entries):", "def mean(entries, extra=0):", "tests-failed", id="no fix"),
        pytest.param("ledger/amounts.py", "def mean(entries):", "import sys; sys.exit(0)\ndef mean(entries):", "tests-failed",
                     id="leaving when imported"),
        pytest.param("ledger/amounts.py", "def mean(entries):", "import os; os._exit(0)\ndef mean(entries):", "tampering",
                     id="killing the process"),
        pytest.param("ledger/amounts.py", "def mean(entries):", "import _pytest\ndef mean(entries):", "tampering",
                     id="reaching for the framework"),
        pytest.param("ledger/amounts.py", "def mean", "def average", "tests-failed", id="a function that is gone"),
    ],
)  # fmt: skip
def test_wrong_and_dishonest_repairs_are_refused(world: _World, path: str, old: str, new: str, reason: str) -> None:
    task = world.task("evolutionaryReplay", "mean")
    assert world.verify(task, _replace(world, task, path, old, new)).reason == reason


def test_configuration_of_the_answer_is_not_used(world: _World) -> None:
    task = world.task("evolutionaryReplay", "mean")
    hook = b"import pytest\n\n@pytest.hookimpl\ndef pytest_collection_modifyitems(items):\n    items.clear()\n"
    assert world.verify(task, make_patch({"conftest.py": (None, hook)})).reason == "tampering"
    plain = make_patch({"conftest.py": (None, b"collect_ignore = ['tests']\n")})
    assert world.verify(task, task.reference + plain) == Verdict(True)
    assert world.verify(task, plain).reason == "tests-failed"


def test_a_repair_made_in_the_tests_is_not_used(world: _World) -> None:
    task = world.task("evolutionaryReplay", "mean")
    cheat = b"from ledger import amounts\n\namounts.mean = lambda entries: sum(entries) / (len(entries) or 1)\n"
    assert world.verify(task, make_patch({"tests/__init__.py": (None, cheat)})).reason == "tests-failed"


_NEW = "from ledger import amounts\n\n\ndef test_it():\n    {}\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("assert amounts.mean([]) == 0", "", id="a test that shows the bug"),
        pytest.param("assert amounts.mean([2]) == 2", "does-not-fail", id="a test that passes either way"),
        pytest.param("assert False", "fails-on-the-fix", id="a test that always fails"),
        pytest.param("import nowhere", "fails-for-another-reason", id="a test that cannot import"),
        pytest.param("pytest.skip('no')", "fails-on-the-fix", id="a test that uses an unknown name"),
        pytest.param("raise SystemExit", "fails-on-the-fix", id="a test that leaves"),
    ],
)
def test_reproduction_tests_must_fail_with_the_bug_and_pass_without(world: _World, body: str, reason: str) -> None:
    task = world.task("semanticRuntimeAlignment", "mean")
    patch = make_patch({"tests/test_new.py": (None, _NEW.format(body).encode())})
    assert world.verify(task, patch).reason == reason


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"ledger/extra.py": (None, b"x = 1\n")}, "not-only-tests"),
        ({"tests/conftest.py": (None, b"x = 1\n")}, "not-only-tests"),
        ({"tests/data.txt": (None, b"x\n")}, "not-only-tests"),
        ({"tests/test_new.py": (None, b"x = 1\n")}, "no-tests-written"),
        ({"tests/test_new.py": (None, b"def test_x(:\n")}, "no-tests-written"),
        ({"tests/helper.py": (None, b"def test_x():\n    assert 0\n")}, "fails-on-the-fix"),
    ],
)
def test_answers_that_are_no_tests_are_refused(
    world: _World, files: dict[str, tuple[bytes | None, bytes]], reason: str
) -> None:
    assert world.verify(world.task("semanticRuntimeAlignment", "mean"), make_patch(dict(files))).reason == reason


def test_units_that_cannot_be_made_are_refused(world: _World) -> None:
    with pytest.raises(BadInput, match=r"softwareDesign: not available yet"):
        world.make(units={"softwareDesign": 3})


def test_nothing_proven_is_a_failure_with_counts_and_advice(world: _World, tmp_path: Path) -> None:
    made = world.make(after_commit=world.commit, work=tmp_path)
    with pytest.raises(StageFailed, match=r"0 changes in the history.*move repository\.cutoff"):
        require_tasks(made)
