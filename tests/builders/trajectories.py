"""Realistic attempts and tasks for tests: mini-SWE-agent 1.1 trajectories of any shape, written as a rollout leaves them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from repoexpert.experience.tasks import Proof, Provenance, Task, Unit, Verification, task_id
from repoexpert.rollout.records import AttemptResult

_NAMES = [
    "parser", "cursor", "bucket", "window", "matrix", "reader", "header", "signal", "offset", "vertex", "ledger",
    "filter", "packet", "schema", "kernel", "branch", "column", "domain", "engine", "folder",
]  # fmt: skip
_VERBS = ["merge", "split", "trim", "round", "pad", "sort", "group", "flip", "cache", "chain"]


def task(number: int = 0, unit: Unit = "evolutionaryReplay", *, day: int | None = None, part: str = "") -> Task:
    """Task `number`, its change committed on day `day` (default: its number); two units of one number share the bug."""
    rng = random.Random(number)
    symbol = f"{rng.choice(_VERBS)}_{rng.choice(_NAMES)}_{number}"
    broken = f"--- a/pkg/m{number}.py\n+++ b/pkg/m{number}.py\n@@ -1,2 +1,2 @@\n def {symbol}(x):\n-    return x + {number}\n+    return x\n"
    fix = f"--- a/pkg/m{number}.py\n+++ b/pkg/m{number}.py\n@@ -1,2 +1,2 @@\n def {symbol}(x):\n-    return x\n+    return x + {number}\n"
    alignment = unit == "semanticRuntimeAlignment"
    statement = f"{symbol} gives a wrong result in module m{number}, see case {rng.randrange(10**6)}."
    verification = Verification(
        fail_to_pass=(f"tests/test_m{number}.py::test_{symbol}",), fix_patch=fix if alignment else ""
    )
    return Task(
        id=task_id(unit, "c" * 40, broken, statement, verification),
        unit=unit,
        repository="https://example.org/team/pkg.git",
        commit="c" * 40,
        start_patch=broken,
        statement=statement,
        verification=verification,
        reference=f"--- /dev/null\n+++ b/tests/test_new{number}.py\n+def test(): ..." if alignment else fix,
        provenance=Provenance(
            commits=(f"{number:040x}",),
            committed=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number if day is None else day),
            tier="exact",
            files=(f"pkg/m{number}.py",),
            symbols=(f"pkg/m{number}.py::{symbol}",),
            part=part,
        ),
        proof=Proof(reference_runs=2, start_runs=2),
    )


def reply(command: str, thought: str = "I look further.") -> dict[str, Any]:
    """An assistant message with one bash block."""
    return {
        "role": "assistant",
        "content": f"{thought}\n\n```bash\n{command}\n```",
        "extra": {"actions": [{"command": command}]},
    }


def observation(output: str, code: int = 0) -> dict[str, Any]:
    """What the sandbox answered."""
    text = f"<returncode>{code}</returncode>\n<output>\n{output}\n</output>"
    return {"role": "user", "content": text, "extra": {"raw_output": output, "returncode": code}}


def format_error(response: str) -> dict[str, Any]:
    """mini-SWE-agent's complaint about a reply without exactly one block; the reply itself is only in `extra`."""
    return {
        "role": "user",
        "content": "Please provide EXACTLY ONE action in triple backticks, found 0 actions.",
        "extra": {"interrupt_type": "FormatError", "n_actions": 0, "model_response": response},
    }


def opening(statement: str) -> list[dict[str, Any]]:
    """System and task message."""
    return [
        {"role": "system", "content": "You are an engineer who works in a shell. One thought, one bash block."},
        {
            "role": "user",
            "content": f"<task>\n{statement}\n</task>\nSubmit with `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT`.",
        },
    ]


def ending() -> list[dict[str, Any]]:
    """The submission and the final `exit` message."""
    return [
        reply("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "All tests pass now; I submit."),
        {"role": "exit", "content": "diff", "extra": {"exit_status": "Submitted", "submission": "diff"}},
    ]


def steps(seed: int, count: int = 5, words: int = 40) -> list[dict[str, Any]]:
    """`count` exploring turns with seeded, code-like text of about `words` words on each side."""
    rng = random.Random(seed)

    def lines() -> str:
        made = []
        for _ in range(max(1, words // 8)):
            name, other = rng.choice(_NAMES), rng.choice(_NAMES)
            made.append(f"    {name}_{rng.randrange(1000)} = {rng.choice(_VERBS)}({other}, {rng.randrange(1000)})")
        return "\n".join(made)

    found = []
    for step in range(count):
        file = f"pkg/{rng.choice(_NAMES)}_{rng.randrange(100)}.py"
        found.append(
            reply(f"cat > {file} <<'EOF'\n{lines()}\nEOF", f"Step {step}: {file} needs {rng.choice(_VERBS)} first.")
        )
        found.append(observation(lines()))
    return found


def trajectory(seed: int, *, count: int = 5, words: int = 40, statement: str | None = None) -> list[dict[str, Any]]:
    """A whole, ordinary trajectory."""
    return [*opening(statement or f"Repair case {seed}."), *steps(seed, count, words), *ending()]


def result(of: Task, attempt: int = 0, **changes: Any) -> AttemptResult:
    """A verified attempt's record."""
    values: dict[str, Any] = {
        "key": "k", "task": of.id, "unit": of.unit, "attempt": attempt, "outcome": "verified",
        "exit_status": "Submitted", "model": "scripted", "scripted": True, "patch": of.reference, "steps": 6,
    }  # fmt: skip
    return AttemptResult(**{**values, **changes})


def write_attempt(folder: Path, verdict: AttemptResult, messages: list[dict[str, Any]]) -> Path:
    """Lay one attempt down as the rollout does; returns its folder."""
    target = folder / "attempts" / verdict.task / str(verdict.attempt)
    target.mkdir(parents=True)
    data = {"info": {}, "messages": messages, "trajectory_format": "mini-swe-agent-1.1"}
    (target / "trajectory.traj.json").write_text(json.dumps(data), encoding="utf-8")
    (target / "result.json").write_text(verdict.model_dump_json(), encoding="utf-8")
    return target


def write_rollout(folder: Path, tasks: list[Task], *, attempts: int = 1, count: int = 5, words: int = 40) -> Path:
    """A rollout in which every attempt at every task was verified, each trajectory different."""
    for index, one in enumerate(tasks):
        for attempt in range(attempts):
            messages = trajectory(index * 1000 + attempt, count=count, words=words, statement=one.statement)
            write_attempt(folder, result(one, attempt), messages)
    return folder
