"""mini-SWE-agent's DefaultAgent with the paper's loop guard and a trajectory that is saved whole after every step.

Importing this imports mini-SWE-agent; only `attempt` does.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from repoexpert.models import mini

mini.prepare()

from minisweagent.agents.default import DefaultAgent  # noqa: E402 - after prepare, which keeps it quiet
from minisweagent.exceptions import FormatError, LimitsExceeded  # noqa: E402 - likewise

_WARN_AT, _END_AT = 3, 5
_WARNING = "You have sent this same response {count} times. Try something else."


class TrajectoryAgent(DefaultAgent):  # type: ignore[misc]
    """One attempt. What it stores holds no time, path or id of this machine."""

    def __init__(
        self, model: Any, env: Any, *, trajectory: Path | None, facts: dict[str, Any], loop_guard: bool, **limits: Any
    ) -> None:
        super().__init__(model, env, **limits)
        self._trajectory = trajectory
        self._facts = facts
        self._loop_guard = loop_guard
        self._answers: Counter[str] = Counter()
        self._encoded: list[str] = []

    def query(self) -> dict[str, Any]:
        """Ask the model; with the loop guard on, answer the third identical response with a warning."""
        message: dict[str, Any] = super().query()
        if not self._loop_guard:
            return message
        self._answers[message["content"]] += 1
        count = self._answers[message["content"]]
        if count >= _END_AT:
            raise LimitsExceeded(
                {"role": "exit", "content": "Looping", "extra": {"exit_status": "Looping", "submission": ""}}
            )
        if count >= _WARN_AT:
            warning = {"role": "user", "content": _WARNING.format(count=count), "extra": {"interrupt_type": "Loop"}}
            raise FormatError(warning)
        return message

    def run(self, task: str = "", **variables: Any) -> dict[str, Any]:
        """Run to the end; a message list of an earlier run is forgotten."""
        self._encoded = []
        self._answers.clear()
        result: dict[str, Any] = super().run(task, **variables)
        return result

    def save(self, path: Path | None, *extra_dicts: dict[str, Any]) -> dict[str, Any]:
        """Write the trajectory aside and rename it, so that a killed process leaves the last whole state.

        Messages never change once added: each is encoded once, not once a step.
        """
        self._encoded += [_encode(message) for message in self.messages[len(self._encoded) :]]
        data: dict[str, Any] = self.serialize({"info": self._facts}, *extra_dicts)
        del data["info"]["config"]["agent"]["output_path"]
        if self._trajectory is not None:
            head = _encode({name: value for name, value in data.items() if name != "messages"})
            text = head[:-1] + ', "messages": [\n' + ",\n".join(self._encoded) + "\n]}\n"
            aside = self._trajectory.with_name(f".{self._trajectory.name}")
            aside.write_text(text, encoding="ascii")
            aside.replace(self._trajectory)
        return data


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True)
