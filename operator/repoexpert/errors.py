"""The errors that cross a package's border, and what each means to whoever runs a stage.

    RepoExpertError            something a person has to read
    ├── BadInput               the user's input is wrong: editing it helps, trying again does not
    ├── StageFailed            the stage cannot succeed with this input (no tests, nothing proven, ...)
    ├── InfrastructureError    the machine or a service failed: trying again may help; never a result
    │   └── SandboxLost        a sandbox died under a command
    └── Interrupted            stopped from outside; a second run goes on from there

A message says what is wrong, where, and what to do.
"""

from __future__ import annotations


class RepoExpertError(Exception):
    """Base of every error with a message for a person."""

    exit_code = 1
    """Exit code of the `repoexpert` command for a person at a terminal."""
    stage_exit_code = 1
    """Exit code of `repoexpert stage`: 42 is permanent, 75 is worth another try (sysexits EX_TEMPFAIL)."""


class BadInput(RepoExpertError):
    """The input is wrong; nothing was started."""

    exit_code = 2
    stage_exit_code = 42


class StageFailed(RepoExpertError):
    """The stage ran and cannot succeed with this input."""

    stage_exit_code = 42


class InfrastructureError(RepoExpertError):
    """Disk, network, process or service failure. Says nothing about a task or a model."""

    stage_exit_code = 75


class SandboxLost(InfrastructureError):
    """The sandbox is gone: the task may be tried in another one."""


class Interrupted(RepoExpertError):
    """Stopped by a signal; finished work is kept."""

    exit_code = 130
    stage_exit_code = 75
