"""What one attempt at one task left behind: `attempts/TASK/N/result.json` beside its trajectory and patch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RESULT = "result.json"
TRAJECTORY = "trajectory.traj.json"
"""mini-SWE-agent's own format, readable by its inspector."""
PATCH = "patch.diff"
"""What was submitted; absent when nothing was."""
ATTEMPTS = "attempts"
LEDGER = "ledger.jsonl"
"""Beside `attempts/`: every result without its patch, one a line, in the order of the tasks."""

Outcome = Literal["verified", "rejected", "not-submitted"]
"""`verified`: submitted and the unit's verifier says yes; `rejected`: submitted, verifier says no (see `reason`);
`not-submitted`: the agent ran into a limit. An infrastructure failure is none of these: it leaves no result."""


class AttemptResult(BaseModel):
    """One finished attempt. Unscored is never zero: an attempt without a result file was not finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    key: str = Field(description="Hash of task, environment, agent and teacher: equal keys need not be run twice.")
    task: str
    unit: str
    attempt: int
    outcome: Outcome
    reason: str = Field(
        default="", description="Why rejected or not submitted, a short constant such as `tests-failed`."
    )
    detail: str = Field(default="", description="For people: failing tests, the limit that was hit.")
    exit_status: str = Field(description="mini-SWE-agent's: Submitted, LimitsExceeded, RepeatedFormatError, ...")
    model: str
    scripted: bool = Field(description="True when no model wrote this: the scripted teacher did.")
    patch: str = ""
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: str = "0"
    seconds: float = Field(default=0.0, description="Always 0 in an artifact: equal work must have equal bytes.")
    format_errors: int = 0
    looping: bool = Field(default=False, description="The same action and output three times in a row.")
    suspicious: tuple[str, ...] = Field(default=(), description="Commands that look for the answer outside the tree.")
