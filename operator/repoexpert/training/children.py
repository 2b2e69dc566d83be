"""Child processes that neither outlive this one nor leave anything running. Called by the launcher and the NLL."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess

_SET_PDEATHSIG = 1
_GRACE_SECONDS = 8.0


def die_with_parent() -> None:
    """For `preexec_fn`: a stage killed with SIGKILL must not leave a trainer behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PDEATHSIG, signal.SIGKILL)


def end(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole process group (it must lead one): SIGTERM, then SIGKILL after some seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    child.wait()
