"""The command as a person meets it: help, bad options, listings of artifacts that are written here by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repoexpert.api.validation import load_expert
from repoexpert.cli.main import MODULES, build
from repoexpert.errors import BadInput
from repoexpert.graph.definitions import STAGES
from repoexpert.stages.context import Resolution
from repoexpert.stages.plan import make_plan
from repoexpert.stages.resolution import record_name
from repoexpert.storage.store import open_store

SPEC = """\
apiVersion: repoexpert.dev/v1alpha1
kind: RepoExpert
metadata: {name: ledger}
spec:
  repository: {url: "file:///srv/ledger", cutoff: "2024-03-31"}
  experience: {units: {evolutionaryReplay: 4}, teacher: {provider: scripted}}
"""
TASKS = [
    {
        "id": f"replay-{number}{'0' * 11}",
        "unit": "evolutionaryReplay",
        "commit": "c" * 40,
        "statement": "Adding up \x1b[31mfails",
        "start_patch": "diff --git a/x b/x",
        "reference": "diff --git a/y b/y",
        "verification": {"fail_to_pass": ["tests/test_a.py::test_b"], "pass_to_pass": ["t"] * 12},
        "provenance": {"commits": ["d" * 40], "committed": "2024-01-02T00:00:00Z", "tier": "exact", "title": "Fix it"},
        "proof": {"reference_runs": 2},
    }
    for number in (1, 2)
]
REJECTED = [{"commit": "e" * 40, "part": "1", "tier": "hunks", "reason": "no-validation-test", "detail": ""}]
RESULT = {
    "task": TASKS[0]["id"], "unit": "evolutionaryReplay", "attempt": 0, "outcome": "verified", "steps": 4,
    "prompt_tokens": 100, "completion_tokens": 20, "seconds": 1.234, "model": "scripted", "scripted": True,
    "exit_status": "Submitted", "patch": "diff --git a/z b/z",
}  # fmt: skip
TRAJECTORY = {"messages": [{"role": "user", "content": "Mend it"}, {"role": "assistant", "content": [{"text": "ls"}]}]}


class Shell:
    def __init__(self, folder: Path) -> None:
        self.spec = folder / "ledger.yaml"
        self.spec.write_text(SPEC)
        self.store = folder / "store"
        self._expert = load_expert(self.spec)
        self._opened = open_store(str(self.store))
        resolution = Resolution(url="file:///srv/ledger", cutoff_commit="c" * 40, until_commit="d" * 40)
        self._keys = make_plan(self._expert, resolution)
        self._opened.write_record("default", "ledger", record_name(self._expert), resolution.model_dump())

    def fill(self, stage: str, content: dict[str, str], **summary: Any) -> None:
        key = next(key for name, key in self._keys.items() if name == stage)
        with self._opened.draft(key) as draft:
            for path, text in content.items():
                (draft.path / path).parent.mkdir(parents=True, exist_ok=True)
                (draft.path / path).write_text(text)
            draft.complete(summary=summary, upstream={}, tools={}, now=datetime(2024, 5, 1, tzinfo=UTC))

    def __call__(self, *arguments: str) -> str:
        full = [*arguments, "-f", str(self.spec), "--store", str(self.store)]
        done = CliRunner().invoke(build(full), full, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*arguments, "--json").splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    rows = "".join(json.dumps(task) + "\n" for task in TASKS)
    shell.fill("tasks", {"tasks.jsonl": rows, "rejected.jsonl": json.dumps(REJECTED[0]) + "\n"}, proven=2)
    shell.fill(
        "rollout",
        {
            f"attempts/{RESULT['task']}/0/result.json": json.dumps(RESULT),
            f"attempts/{RESULT['task']}/0/trajectory.traj.json": json.dumps(TRAJECTORY),
        },
        verified=1,
    )
    return shell


def test_tasks_are_listed_as_objects_for_programs(shell: Shell) -> None:
    listed = shell.json("tasks", "ls")
    assert [{key: row[key] for key in ("id", "unit", "commit", "proven")} for row in listed] == [
        {"id": task["id"], "unit": "evolutionaryReplay", "commit": "d" * 40, "proven": True} for task in TASKS
    ]


def test_rejected_candidates_come_with_their_reason_when_asked_for(shell: Shell) -> None:
    assert [(row["proven"], row.get("reason")) for row in shell.json("tasks", "ls", "--all")] == [
        (True, None),
        (True, None),
        (False, "no-validation-test"),
    ]
    assert "no-validation-test" in shell("tasks", "ls", "--all")


def test_a_task_is_shown_by_the_beginning_of_its_id_without_control_characters(shell: Shell) -> None:
    page = shell("tasks", "show", "replay-1")
    for text in ("Adding up", "tests/test_a.py::test_b", "... and 2 more", "diff --git a/y b/y", "Fix it"):
        assert text in page
    assert "\x1b" not in page
    assert shell.json("tasks", "show", "replay-2") == [TASKS[1]]


@pytest.mark.parametrize(("name", "said"), [("replay", "names 2 tasks"), ("nothing", "names no task")])
def test_a_task_that_is_not_one_is_bad_input(shell: Shell, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        shell("tasks", "show", name)


def test_trajectories_are_listed_and_shown(shell: Shell) -> None:
    row = shell.json("trajectories", "ls")[0]
    assert (row["task"], row["outcome"], row["tokens"], row["seconds"]) == (RESULT["task"], "verified", 120, 1.2)
    assert "patch" not in row
    assert shell.json("trajectories", "ls", "--outcome", "rejected") == []
    page = shell("trajectories", "show", f"{RESULT['task']}/0")
    for text in (
        "verified",
        "scripted: no model wrote this",
        "0 user",
        "Mend it",
        "1 assistant",
        "ls",
        "diff --git a/z",
    ):
        assert text in page


def test_a_listing_of_a_stage_that_has_not_run_says_how_to_run_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"stage tasks has not run.*repoexpert run -f .* --until tasks"):
        Shell(tmp_path)("tasks", "ls")


def test_status_shows_states_figures_and_the_served_model(shell: Shell) -> None:
    states = {row["stage"]: row["state"] for row in shell.json("status")[:-1]}
    assert states == {
        "environment": "Missing", "tasks": "UpToDate", "rollout": "UpToDate", "dataset": "Missing",
        "training": "Blocked", "evaluation": "Blocked", "serving": "Blocked",
    }  # fmt: skip
    assert shell.json("status")[-1] == {"served": None}
    assert "proven 2" in shell("status")
    open_store(str(shell.store)).write_record("default", "ledger", "current", {"model": "default/ledger/training/x"})
    assert "served: model default/ledger/training/x" in shell("status")


def test_artifacts_are_listed_verified_and_removed(shell: Shell) -> None:
    listed = shell.json("artifacts", "ls")
    assert [row["state"] for row in listed] == ["complete", "complete"]
    assert [row["whole"] for row in shell.json("artifacts", "verify")] == [True, True]
    name = listed[0]["artifact"]
    assert shell("artifacts", "rm", name[:-40]) == f"removed {name}\n"
    assert len(shell.json("artifacts", "ls")) == 1


def test_damage_makes_verify_fail(shell: Shell) -> None:
    path = next(shell.store.glob("default/ledger/tasks/*/tasks.jsonl"))
    path.chmod(0o644)
    path.write_text("{}")
    full = ["artifacts", "verify", "--store", str(shell.store), "--json"]
    done = CliRunner().invoke(build(full), full, catch_exceptions=False)
    assert done.exit_code == 1
    damaged = [json.loads(line) for line in done.stdout.splitlines() if not json.loads(line)["whole"]]
    assert damaged[0]["problems"][0].startswith("tasks.jsonl has 2 bytes instead of")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "repoexpert.cli.main", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from repoexpert.cli.main import build; build([]);"
        "heavy = {'torch', 'transformers', 'swift', 'vllm', 'rich', 'fsspec', 'openai', 'minisweagent'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    page = command("--help").stdout
    assert all(name in page for names in MODULES.values() for name in names)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status"], "Missing option '--file'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["run", "-f", "/nowhere.yaml"], "/nowhere.yaml"),
        (["stage", "nonsense", "-f", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_bad_usage_is_one_message_and_no_trace(arguments: list[str], said: str) -> None:
    done = command(*arguments)
    assert done.returncode in (2, 42)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_stage_is_bad_input_before_anything_runs(shell: Shell) -> None:
    done = command("run", "-f", str(shell.spec), "--store", str(shell.store), "--until", "nonsense")
    assert (done.returncode, done.stderr) == (
        2,
        "repoexpert: there is no stage 'nonsense'; stages are " + ", ".join(STAGES) + "\n",
    )
