"""One stage as a child process. Called by the runner.

The child leads a session of its own, so that a Ctrl-C at the terminal reaches the runner alone, which passes it on in
order; it asks the kernel for a SIGTERM when the runner dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repoexpert.stages import processes
from repoexpert.stages.termination import Termination, decode

STOP_SECONDS = 30.0
"""Between SIGTERM and SIGKILL."""
TAIL_LINES = 15
_HEADING = "\n==== repoexpert "

_SECRETS = {
    "REPOEXPERT_TEACHER_": ("rollout",),
    "REPOEXPERT_GIT_": ("environment", "tasks", "evaluation"),
}
"""Beginning of a variable's name to the stages that get it: those that ask a teacher, those that may have to fetch."""


def environment(stage: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """A stage's variables: ours but for secrets that are other stages' business."""
    denied = tuple(start for start, stages in _SECRETS.items() if stage not in stages)
    return {name: value for name, value in inherited.items() if not name.startswith(denied)}


@dataclass(frozen=True)
class ChildFiles:
    """Where a child writes what the runner reads."""

    log: Path
    progress: Path
    termination: Path

    def clear(self) -> None:
        """Forget what an earlier child wrote; the log is kept and added to."""
        for path in (self.progress, self.termination):
            path.unlink(missing_ok=True)


class Child:
    """A running stage."""

    def __init__(self, stage: str, command: Sequence[str], files: ChildFiles) -> None:
        self._stage = stage
        self._files = files
        files.clear()
        files.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            *command,
            *("--progress-file", str(files.progress), "--termination-message", str(files.termination)),
            *("--parent", str(os.getpid())),
        ]
        with files.log.open("ab") as log:
            log.write(f"{_HEADING}{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(arguments)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(stage, os.environ),
            )

    @property
    def pid(self) -> int:
        """Also the process group's and the session's id."""
        return self._process.pid

    def wait(self, seconds: float) -> bool:
        """Whether the child ended within `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def progress(self) -> dict[str, Any] | None:
        """The newest report, or None."""
        try:
            value = json.loads(self._files.progress.read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def ended(self) -> tuple[int, Termination]:
        """Exit code and termination; one is made up for a child that could not write its own."""
        code = self._process.wait()
        processes.end_descendants(grace=2.0)
        written: Termination | None = None
        with contextlib.suppress(OSError):
            written = decode(self._files.termination.read_bytes())
        if written is not None:
            return code, written
        if code == 0:
            return code, Termination(kind="complete", stage=self._stage)
        if code < 0:
            why = f"it was killed by {signal.Signals(-code).name}"
            hint = "; if nobody did that, the machine ran out of memory" if code == -signal.SIGKILL else ""
            return 75, Termination(kind="infrastructure", stage=self._stage, message=why + hint)
        return code, Termination(
            kind="bug", stage=self._stage, message=f"it ended with exit code {code} and said nothing"
        )

    def stop(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """SIGTERM, then SIGKILL for whatever is left of it after STOP_SECONDS, or at a second Ctrl-C."""
        processes.send([self.pid], signal.SIGTERM)
        limit = clock() + STOP_SECONDS
        try:
            while clock() < limit and not self.wait(0.1):
                pass
        except KeyboardInterrupt:
            pass
        if self._process.poll() is None:
            processes.send([*processes.descendants(self.pid), self.pid], signal.SIGKILL)
            self._process.wait()
        processes.end_descendants(grace=0.0)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, without the runner's own and without empty ones."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - (64 << 10)))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    own = text.rpartition(_HEADING)
    body = own[2].partition("\n")[2] if own[1] else text
    return "\n".join([line for line in body.splitlines() if line.strip()][-lines:])
