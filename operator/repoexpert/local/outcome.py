"""What a finished run amounts to: the exit code and the sentence. Pure; called by the runner and by `status`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from repoexpert.errors import RepoExpertError
from repoexpert.stages.termination import Termination

GATE_NOT_PASSED = 3
_PROGRESS = re.compile(r"\S+ \S+ INFO\s+repoexpert\.progress: ")
"""How a stage logs its progress (`logging` as cli/stage.py sets it up)."""

Verdict = Literal["served", "passed", "gate-not-passed", "complete"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended that did not fail."""

    verdict: Verdict
    message: str
    up_to_date: bool
    """Nothing had to be run."""
    details: tuple[str, ...] = ()
    """One sentence a gate rule, where there are any."""

    @property
    def exit_code(self) -> int:
        return GATE_NOT_PASSED if self.verdict == "gate-not-passed" else 0


class StageRunFailed(RepoExpertError):
    """A stage of a local run failed. The message names stage, cause and log, and the log's last lines where they say
    more: bad input is said in full, and so is a cause of several lines, which quotes what it is about."""

    def __init__(self, termination: Termination, log: str, tail: str) -> None:
        lines = [f"stage {termination.stage} failed: {termination.message}", f"  log: {log}"]
        more = [] if _says_all(termination) else _news(tail, termination.message)
        if more:
            lines += ["  its last lines:", *(f"    {line}" for line in more)]
        super().__init__("\n".join(lines))
        self.exit_code = 2 if termination.kind == "bad-input" else 1
        self.termination = termination
        self.log = log


def _says_all(termination: Termination) -> bool:
    return termination.kind == "bad-input" or (termination.kind == "failed" and "\n" in termination.message)


def _news(tail: str, message: str) -> list[str]:
    """Lines that are neither the message again, as the stage's own log ends with it, nor progress that was shown."""
    said = {line.strip() for line in message.splitlines()}
    first = message.partition("\n")[0]
    lines = [line for line in tail.splitlines() if line.strip() not in said and first not in line]
    return [line for line in lines if not _PROGRESS.match(line)]


def judge(name: str, until: str, summary: Mapping[str, Any], *, ran: int) -> Outcome:
    """Read the last stage's summary; `ran` is how many stages had to be run."""
    fresh = ran == 0
    state = f"{name} is up to date" if fresh else name
    if until != "serving":
        said = f"{state}: everything up to {until} is complete"
        return Outcome("complete", said, fresh)
    details = tuple(gate_lines(summary.get("gate")))
    if summary.get("promoted"):
        joint = "and served" if fresh else "passed the gate and is served"
        return Outcome("served", f"{state} {joint}", fresh, details)
    if summary.get("passed") or summary.get("gatePassed"):
        joint = "; it passed the gate" if fresh else " passed the gate"
        return Outcome("passed", f"{state}{joint}; serving is not enabled", fresh, details)
    reason = str(summary.get("reason") or "")
    joint = "; its gate was not passed" if fresh else " did not pass the gate"
    kept = "the served model stays as it is" + (f" ({reason})" if reason and not details else "")
    return Outcome("gate-not-passed", f"{state}{joint}: {kept}", fresh, details)


def gate_lines(gate: Any) -> list[str]:
    """One line a rule, whatever keys the rule has; understood are `passed`, `reason` or `message`, `metric`."""
    rules = gate.get("rules", []) if isinstance(gate, Mapping) else gate
    lines = []
    for rule in rules if isinstance(rules, list) else []:
        if not isinstance(rule, Mapping):
            continue
        held = rule.get("passed", rule.get("holds"))
        text = str(rule.get("reason") or rule.get("message") or rule.get("metric") or "rule")
        metric = str(rule.get("metric") or "")
        lines.append(f"{'✓' if held else '✗'} {text if metric in text else f'{metric}: {text}'}")
    return lines
