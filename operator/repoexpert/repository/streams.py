"""Reads the event stream of the pytest probe. Pure; used by testing.py."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from repoexpert.repository.records import TestOutcome, TestResult

_SEVERITY: tuple[TestOutcome, ...] = ("passed", "xfailed", "skipped", "error", "failed", "timeout")
Phase = Literal["setup", "call", "teardown"]


@dataclass
class Stream:
    """What one pytest process told."""

    results: dict[str, TestResult] = field(default_factory=dict)
    collected: tuple[str, ...] | None = None
    running: str | None = None
    """The test that had started and not finished."""
    status: int | None = None
    """pytest's own exit status, when the session came to its end."""
    broken: str = ""


def worse(a: TestResult, b: TestResult) -> TestResult:
    """Of two results of one test the one that counts; the first when equal."""
    return b if _SEVERITY.index(b.outcome) > _SEVERITY.index(a.outcome) else a


def parse_stream(content: bytes) -> Stream:
    """The events in order. A half-written last line is normal: the process was killed."""
    stream = Stream()
    reports: dict[str, list[dict[str, Any]]] = {}
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            event = json.loads(line)
            _apply(stream, reports, event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            if number < len(lines):
                stream.broken = f"line {number} of the result stream is damaged: {e}"
    return stream


def _apply(stream: Stream, reports: dict[str, list[dict[str, Any]]], event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "collected":
        stream.collected = tuple(event["ids"])
    elif kind == "collect":
        stream.results[event["id"]] = _collect_result(event)
    elif kind == "start":
        stream.running = event["id"]
        reports[event["id"]] = []
    elif kind == "report":
        reports[event["id"]].append(event)
    elif kind == "finish":
        stream.running = None
        stream.results[event["id"]] = combine(event["id"], reports.pop(event["id"]))
    elif kind == "end":
        stream.status = int(event["status"])


def _collect_result(event: dict[str, Any]) -> TestResult:
    skipped = event["outcome"] == "skipped"
    outcome: TestOutcome = "skipped" if skipped else "timeout" if event["type"] == "Timeout" else "error"
    return TestResult(
        id=event["id"], outcome=outcome, error_type=event["type"], message=event["message"], phase="collect"
    )


def combine(test: str, reports: Iterable[dict[str, Any]]) -> TestResult:
    """One result of the reports of a test's phases."""
    seconds = 0.0
    result = TestResult(id=test, outcome="passed")
    for report in reports:
        seconds += float(report["seconds"])
        phase: Phase = report["phase"]
        outcome: TestOutcome = report["outcome"]
        if outcome == "failed":
            outcome = "timeout" if report["type"] == "Timeout" else "failed" if phase == "call" else "error"
        found = TestResult(
            id=test,
            outcome=outcome,
            error_type=report.get("type", ""),
            message=report.get("message", ""),
            phase=phase,
        )
        result = worse(result, found)
    return result.model_copy(update={"seconds": round(seconds, 6)})
