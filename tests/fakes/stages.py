"""Stages that do what a test tells them, for tests of whoever runs stages.

`FAKE_STAGES` names a JSON file: stage to a behaviour. Each call adds a line to `calls` beside that file.

    {"tasks": {"do": "fail"}, "serving": {"promoted": false}}
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from repoexpert.errors import BadInput, InfrastructureError, StageFailed
from repoexpert.graph.definitions import STAGES
from repoexpert.stages.context import StageContext
from repoexpert.stages.plan import make_plan


def _behaviour(stage: str) -> dict[str, Any]:
    path = Path(os.environ["FAKE_STAGES"])
    with (path.parent / "calls").open("a") as calls:
        calls.write(f"{stage} {os.getpid()}\n")
    every = json.loads(path.read_text())
    return dict(every.get(stage, {}))


def _times(stage: str) -> int:
    calls = (Path(os.environ["FAKE_STAGES"]).parent / "calls").read_text().splitlines()
    return sum(line.split()[0] == stage for line in calls)


def _run(stage: str, context: StageContext) -> dict[str, Any]:
    told = _behaviour(stage)
    for number in range(int(told.get("items", 3))):
        item = context.work / "items" / f"{number}.txt"
        if not item.exists():
            item.parent.mkdir(exist_ok=True)
            item.write_text(f"{stage} {number} {sorted(context.inputs)}\n")
            with (context.work / "items" / "made").open("a") as made:
                made.write(f"{number}\n")
            time.sleep(float(told.get("seconds", 0)))
        context.progress.update(done=number + 1, total=int(told.get("items", 3)), message=f"item {number}", pace=1.5)
        _misbehave(stage, told, number, context)
    if stage == "serving":
        return _serve(context, told)
    return {"items": int(told.get("items", 3)), "readsOf": len(context.inputs)}


def _serve(context: StageContext, told: dict[str, Any]) -> dict[str, Any]:
    """Promote as the real stage does."""
    model = str(make_plan(context.expert, context.resolution)["training"])
    promoted = bool(told.get("promoted", True))
    if promoted:
        metadata = context.expert.metadata
        context.store.write_record(
            metadata.namespace, metadata.name, "current", {"model": model, "since": "then", "revision": 1}
        )
    return {"promoted": promoted, "gate": told.get("gate", []), "model": model if promoted else None}


def _misbehave(stage: str, told: dict[str, Any], number: int, context: StageContext) -> None:
    if number != int(told.get("at", 1)) or _times(stage) > int(told.get("tries", 10**6)):
        return
    match told.get("do"):
        case "fail":
            raise StageFailed("no tests were found in tests/: set spec.environment.test.paths")
        case "bad-input":
            raise BadInput("spec.training.baseModel.source: there is no model hf://nobody/nothing")
        case "infrastructure":
            raise InfrastructureError("the registry did not answer")
        case "bug":
            raise ZeroDivisionError("division by zero")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "child":
            _start_children()
            (context.work / "ready").write_text("")
            time.sleep(600)
        case "stubborn":
            _start_children()
            (context.work / "ready").write_text("")
            _ignore_signals_and_compute()
        case "fill":
            with (context.work / "big").open("wb") as file:
                while True:
                    file.write(b"x" * (1 << 20))
        case "link":
            (context.work / "link").symlink_to("/etc/passwd")


def _start_children() -> None:
    """One in a session of its own that ignores SIGTERM, and one that was orphaned by its parent."""
    ignore = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", ignore], start_new_session=True)
    orphan = f"import subprocess,sys; subprocess.Popen([sys.executable, '-c', {ignore!r}], start_new_session=True)"
    subprocess.run([sys.executable, "-c", orphan], check=True)


def _ignore_signals_and_compute() -> None:
    """A main thread that never gets to its signal handlers, as inside a numeric library."""
    lock = threading.Lock()
    lock.acquire()
    while True:
        try:
            lock.acquire(timeout=600)
        except KeyboardInterrupt:
            continue


def _make(stage: str) -> Any:
    return lambda context: _run(stage, context)


for _name in STAGES:
    globals()[_name] = _make(_name)

REGISTRY = {name: f"tests.fakes.stages:{name}" for name in STAGES}
