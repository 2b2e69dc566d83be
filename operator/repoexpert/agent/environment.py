"""mini-SWE-agent's Environment over one of our sandboxes: the agent's thread asks, the event loop runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any

from repoexpert.errors import Interrupted
from repoexpert.models import mini
from repoexpert.sandbox.protocol import TESTBED, Result, Sandbox

SUBMIT_MARK = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
SUBMISSION_TOO_LONG = "SubmissionTooLong"


class Interruption:
    """Ends an agent from the event loop's side: stops the command that runs and refuses the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._current: Future[Result] | None = None

    def trigger(self) -> None:
        """Called on the loop; the agent's thread gets Interrupted."""
        with self._lock:
            self._stopped = True
            current = self._current
        if current is not None:
            current.cancel()

    def run(self, work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> Result:
        """Called in the agent's thread: run `work` on the loop and wait for it."""
        with self._lock:
            if self._stopped:
                work.close()
                raise Interrupted("stopped while an agent was running")
            self._current = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return self._current.result()
        except CancelledError as error:
            raise Interrupted("stopped while an agent was running") from error


class SandboxEnvironment:
    """Runs the agent's commands. Called from a thread that is not the loop's. SandboxLost passes through."""

    def __init__(
        self,
        box: Sandbox,
        loop: asyncio.AbstractEventLoop,
        *,
        timeout: float,
        step_limit: int,
        interruption: Interruption | None = None,
    ) -> None:
        self._interruption = interruption or Interruption()
        self.config = {"cwd": TESTBED, "timeout": int(timeout), "step_limit": step_limit}
        self._box = box
        self._loop = loop
        self._timeout = timeout

    def execute(self, action: dict[str, Any], cwd: str = "") -> dict[str, Any]:
        """Run one action; raises mini-SWE-agent's Submitted when it is the submission."""
        run = self._box.run(action["command"], timeout=self._timeout, cwd=cwd or TESTBED)
        result = self._interruption.run(run, self._loop)
        if result.exit_code == 0:
            first, _, rest = result.output.lstrip().partition("\n")
            if first.strip() == SUBMIT_MARK:
                raise _submitted(rest, truncated=result.truncated)
        problem = f"The command was stopped after {self._timeout:.0f} seconds." if result.timed_out else ""
        return {"output": result.output, "returncode": result.exit_code, "exception_info": problem}

    def get_template_vars(self, **_: Any) -> dict[str, Any]:
        """What a prompt may mention: never anything of this machine."""
        return dict(self.config)

    def serialize(self) -> dict[str, Any]:
        """The environment's part of a trajectory file."""
        kind = f"{type(self).__module__}.{type(self).__name__}"
        return {"info": {"config": {"environment": dict(self.config), "environment_type": kind}}}


def _submitted(submission: str, *, truncated: bool) -> Exception:
    status, kept = (SUBMISSION_TOO_LONG, "") if truncated else ("Submitted", submission)
    error: Exception = mini.exceptions().Submitted(
        {"role": "exit", "content": kept, "extra": {"exit_status": status, "submission": kept}}
    )
    return error
