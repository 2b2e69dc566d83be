"""What a person does after `make demo` (run it first; `make e2e` does): runs it again, opens the report, asks the model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from repoexpert.api.validation import load_expert
from repoexpert.evaluation import gate
from repoexpert.evaluation.page import SECTIONS
from repoexpert.evaluation.records import Report
from tests.builders.browser import chromium

ROOT = Path(__file__).parents[2]
DEMO = ROOT / ".demo"
SPEC = DEMO / "boltons.yaml"
STORE = DEMO / "store"
WITH_STORE = ("-f", str(SPEC), "--store", str(STORE))

pytestmark = pytest.mark.timeout(600)


def repoexpert(*arguments: str) -> str:
    command = [str(ROOT / ".venv/bin/repoexpert"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def objects(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in repoexpert(*arguments, *WITH_STORE, "--json").splitlines()]


def artifact(stage: str) -> Path:
    return max(
        (STORE / "default/boltons" / stage).glob("*/manifest.json"), key=lambda path: path.stat().st_mtime
    ).parent


def test_a_second_demo_ends_within_15_seconds_as_up_to_date() -> None:
    started = time.monotonic()
    again = subprocess.run(["make", "demo"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    assert time.monotonic() - started < 15
    assert "up to date" in again.stdout


def test_at_least_forty_trajectories_of_both_units_are_verified() -> None:
    verified = [row for row in objects("trajectories", "ls") if row["outcome"] == "verified"]
    assert len(verified) >= 40
    assert {row["unit"] for row in verified} == {"evolutionaryReplay", "semanticRuntimeAlignment"}


def test_every_listed_task_is_proven_and_says_where_it_comes_from() -> None:
    tasks = objects("tasks", "ls")
    assert tasks
    assert all(task["proven"] is True and task["commit"] and task["unit"] and task["id"] for task in tasks)


def test_the_candidate_is_surely_better_than_the_base_on_held_out_trajectories() -> None:
    decision = json.loads((artifact("serving") / "decision.json").read_text())
    (rule,) = [rule for rule in decision["rules"] if rule["metric"] == "heldout.nll"]
    assert rule["value"] < 1
    assert rule["high"] < 1


def test_the_gates_decision_follows_from_the_report() -> None:
    report = Report.model_validate_json((artifact("evaluation") / "report.json").read_text())
    rules = load_expert(SPEC).spec.evaluation.gate
    written = json.loads((artifact("serving") / "decision.json").read_text())
    assert json.loads(gate.decide(report, rules).model_dump_json(by_alias=True)) == written


def test_the_report_shows_every_section_without_an_error(tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as tab:
        tab.open(DEMO / "report.html")
        tab.until("document.querySelector('#turns pre') !== null")
        shown = "[...document.querySelectorAll('main section')].filter(s => s.innerText.length > 20).map(s => s.id)"
        assert tab.value(shown) == [identity for identity, _ in SECTIONS]
        assert "no model wrote" in tab.value("document.body.innerText").lower()
        assert tab.problems == []


def test_the_served_model_answers_and_the_printed_configuration_names_it(tmp_path: Path) -> None:
    configuration = tmp_path / "mini.yaml"
    server = subprocess.Popen(
        [str(ROOT / ".venv/bin/repoexpert"), "serve", *WITH_STORE, "--configuration", str(configuration)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert server.stdout is not None
    try:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/v1", line):
                break
        else:
            pytest.fail("no endpoint was printed:\n" + "".join(lines))
        name = httpx.get(f"{found[0]}/models", timeout=30, trust_env=False).json()["data"][0]["id"]
        question = {"model": name, "max_tokens": 32, "messages": [{"role": "user", "content": "Say hello."}]}
        answer = httpx.post(f"{found[0]}/chat/completions", json=question, timeout=120, trust_env=False).json()
        assert answer["choices"][0]["message"]["content"].strip()
        deadline = time.monotonic() + 30
        while not configuration.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert name in yaml.safe_dump(yaml.safe_load(configuration.read_text()))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        server.stdout.close()
