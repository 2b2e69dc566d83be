from __future__ import annotations

import io
import json

from repoexpert.local.state import StageStatus
from repoexpert.local.views import JsonView, LineView


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rows() -> list[StageStatus]:
    return [StageStatus("environment", "a" * 64, state="up to date", message="tests 3"), StageStatus("tasks", "b" * 64)]


def lines(out: io.StringIO) -> list[str]:
    return [line.split(" ", 1)[1] for line in out.getvalue().splitlines()]


def test_without_a_terminal_each_change_is_a_line_and_progress_comes_now_and_then() -> None:
    out, clock = io.StringIO(), Clock()
    view, shown = LineView(out, clock=clock), rows()
    view.changed(shown)
    shown[1].begin(clock.now, 1)
    view.changed(shown)
    for second in range(40):
        clock.now += 1
        shown[1].report({"done": second, "total": 40, "message": "proving", "updated": clock.now})
        view.changed(shown)
    shown[1].end("done", clock.now, message="proven 40")
    view.changed(shown)
    assert lines(out) == [
        "environment  up to date: tests 3",
        "tasks        running",
        "tasks        running: 14/40 · 26s left · proving",
        "tasks        running: 29/40 · 11s left · proving",
        "tasks        done in 40s: proven 40",
    ]


def test_why_a_stage_failed_is_left_to_the_end_and_why_it_is_tried_again_is_one_line() -> None:
    out = io.StringIO()
    shown = [StageStatus("tasks", "f", state="retrying", message="in 5s: no net\nat all")]
    shown.append(StageStatus("rollout", "f", state="failed", message="no tests\nnone", started=990.0, finished=1000.0))
    LineView(out, clock=Clock()).changed(shown)
    assert lines(out) == ["tasks        retrying: in 5s: no net", "rollout      failed in 10s"]


def test_foreign_text_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    LineView(out, clock=Clock()).changed([StageStatus("tasks", "f", state="done", message="\x1b[2J\x1b]0;owned\x07")])
    assert "owned" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_json_says_each_change_once_and_every_line_parses() -> None:
    out, clock = io.StringIO(), Clock()
    view, shown = JsonView(out, clock=clock), rows()
    view.changed(shown)
    view.changed(shown)
    shown[1].begin(clock.now, 1)
    view.changed(shown)
    clock.now += 2
    view.changed(shown)
    view.say({"event": "result"})
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line.get("stage"), line.get("state")) for line in said] == [
        ("stage", "environment", "up to date"),
        ("stage", "tasks", "waiting"),
        ("stage", "tasks", "running"),
        ("result", None, None),
    ]


def test_the_table_has_a_row_a_stage() -> None:
    from rich.console import Console

    from repoexpert.local.table import draw

    shown = [*rows(), StageStatus("rollout", "c" * 64)]
    shown[1].begin(1000.0, 2)
    for second in range(3):
        shown[1].report({"done": second, "total": 40, "message": "proving", "updated": 1000.0 + second, "loss": 1.5})
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(draw("ledger", shown, 1065.0))
    text = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert text[0] == "ledger"
    assert text[1] == "✓ environment up to date tests 3"
    assert "tasks running (2. try) 1m05s" in text[2]
    assert "2/40 · 1/s · 38s left · proving · loss 1.5" in text[2]
    assert text[3] == "· rollout waiting"
