"""`repoexpert stage`, as a runner or a Kubernetes Job starts it: exit code, termination message, progress, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.builders.histories import Library, make_library
from tests.integration.test_run_faults import Bench, eventually


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return make_library(tmp_path_factory.mktemp("library") / "ledger")


@pytest.fixture
def bench(tmp_path: Path, library: Library) -> Bench:
    return Bench(tmp_path, library)


def start(bench: Bench, stage: str, *options: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "tests.fakes.commands", "stage", stage, "-f", str(bench.spec)),
        *("--store", str(bench.store), "--cache", str(bench.folder / "cache")),
        *("--termination-message", str(bench.folder / "ended"), "--progress-file", str(bench.folder / "progress")),
    ]
    return subprocess.Popen([*command, *options], env=bench.environment, stderr=subprocess.PIPE, text=True)


def run(bench: Bench, stage: str, *options: str) -> tuple[int, dict[str, Any]]:
    process = start(bench, stage, *options)
    process.communicate(timeout=60)
    return process.returncode, json.loads((bench.folder / "ended").read_text())


def test_a_stage_that_is_done_says_so_and_is_not_done_again(bench: Bench) -> None:
    for _ in range(2):
        code, ended = run(bench, "environment")
        assert (code, ended["kind"], ended["summary"]) == (0, "complete", {"items": 3, "readsOf": 0})
    assert bench.calls() == ["environment"]
    assert json.loads((bench.folder / "progress").read_text())["done"] == 3


ENDS = {
    "fail": (42, "failed"),
    "bad-input": (42, "bad-input"),
    "infrastructure": (75, "infrastructure"),
    "bug": (1, "bug"),
    "link": (42, "failed"),
}


@pytest.mark.parametrize("do", ENDS)
def test_how_a_stage_ended_is_an_exit_code_and_a_word(bench: Bench, do: str) -> None:
    bench.tell({"environment": {"do": do}})
    code, ended = run(bench, "environment")
    assert (code, ended["kind"]) == ENDS[do]
    assert ended["message"]
    assert ("ZeroDivisionError" in ended.get("log", "")) is (do == "bug")


def test_a_stage_whose_input_is_missing_says_what_to_run(bench: Bench) -> None:
    code, ended = run(bench, "rollout")
    assert (code, ended["kind"]) == (42, "bad-input")
    assert "stage rollout reads environment, tasks" in ended["message"]
    assert "repoexpert run --until tasks" in ended["message"]


def test_a_wrong_manifest_reaches_the_termination_message(bench: Bench) -> None:
    bench.spec.write_text("kind: RepoExpert\n")
    code, ended = run(bench, "environment")
    assert (code, ended["kind"]) == (42, "bad-input")


def test_sigterm_ends_a_stage_for_another_try(bench: Bench) -> None:
    bench.tell({"environment": {"items": 600, "seconds": 0.1}})
    process = start(bench, "environment")
    eventually(lambda: any(bench.store.rglob("1.txt")))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert json.loads((bench.folder / "ended").read_text())["kind"] == "interrupted"


def test_a_stage_whose_parent_is_gone_does_not_start(bench: Bench) -> None:
    process = start(bench, "environment", "--parent", "1")
    process.communicate(timeout=30)
    assert (process.returncode, bench.calls()) == (75, [])


def test_two_stages_at_once_make_one_artifact_and_the_second_says_whom_it_waits_for(bench: Bench) -> None:
    bench.tell({"environment": {"items": 40, "seconds": 0.1}})
    first = start(bench, "environment")
    eventually(lambda: any(bench.store.rglob("1.txt")))
    second = start(bench, "environment")
    _, said = second.communicate(timeout=60)
    first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert f"waiting for process {first.pid}" in said
    assert bench.calls() == ["environment"]


def test_the_command_knows_the_real_stages() -> None:
    import importlib

    from repoexpert.graph.definitions import STAGES as ORDER
    from repoexpert.stages.registry import STAGES

    assert tuple(STAGES) == ORDER
    for place in STAGES.values():
        module, _, function = place.partition(":")
        assert importlib.util.find_spec(module) is not None, place
        assert function == "run"


def test_work_of_a_stage_survives_kill_9(bench: Bench) -> None:
    bench.tell({"environment": {"items": 30, "seconds": 0.05}})
    process = start(bench, "environment")
    eventually(lambda: any(bench.store.rglob("5.txt")))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in bench.store.rglob("*.txt")}
    time.sleep(0.05)
    assert run(bench, "environment")[0] == 0
    assert before.items() <= {path: path.stat().st_mtime_ns for path in bench.store.rglob("*.txt")}.items()
