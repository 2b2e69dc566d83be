"""Conditions of a RepoExpert and their reasons: the vocabulary of `status.conditions`.

Types follow kstatus (`Ready`, `Reconciling`, `Stalled`), so that `kubectl wait`, Flux and Helm understand them. A reason
is a constant; its text says when it is set. Unknown stays Unknown: what cannot be read is never reported as False.
"""

from __future__ import annotations

from enum import StrEnum

from repoexpert.api.status import ConditionType

STAGE_CONDITIONS: dict[str, ConditionType] = {
    "environment": "EnvironmentReady",
    "tasks": "TasksReady",
    "rollout": "ExperienceCollected",
    "dataset": "DatasetReady",
    "training": "TrainingComplete",
    "evaluation": "EvaluationPassed",
    "serving": "Serving",
}
"""The condition that tells of each stage."""


class ReadyReason(StrEnum):
    """Ready: True while what the current spec asks for is done, or a served model answers."""

    SERVED = "Served"
    """True: the model of the current spec passed the gate and is served."""
    COMPLETE = "Complete"
    """True: everything is done and serving is not enabled."""
    GATE_NOT_PASSED = "GateNotPassed"
    """True when an earlier model is still served, else False: the candidate was judged and did not pass."""
    IN_PROGRESS = "InProgress"
    """False: stages are still to run; the message names the current one."""
    STAGE_FAILED = "StageFailed"
    """False: a stage cannot succeed; the message names it and says why."""
    SUSPENDED = "Suspended"
    """False: suspended before anything was served."""
    NOT_YET_OBSERVED = "NotYetObserved"
    """Unknown: the operator has not looked at this generation."""


class ReconcilingReason(StrEnum):
    """Reconciling: True while the operator works towards the spec; absent otherwise."""

    STAGE_RUNNING = "StageRunning"
    """True: a stage's Job runs."""
    STAGE_QUEUED = "StageQueued"
    """True: a stage's Job waits for quota, or was preempted and waits again."""
    STAGE_RETRYING = "StageRetrying"
    """True: a stage failed for a reason that another try may cure."""
    ROLLING_OUT = "RollingOut"
    """True: a new model starts beside the served one."""


class StalledReason(StrEnum):
    """Stalled: True when nothing will happen until somebody acts; absent otherwise."""

    INVALID_SPEC = "InvalidSpec"
    """True: the spec cannot be run, for example a unit that is not available yet."""
    CLASS_NOT_FOUND = "ClassNotFound"
    """True: className names no class, or there is no default class."""
    CLASS_FORBIDS = "ClassForbids"
    """True: the spec asks for more than its class allows."""
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    """True: a Secret or key that the spec names does not exist."""
    NO_LATER_HISTORY = "NoLaterHistory"
    """True: there is no history after the cutoff to evaluate on; move the cutoff back."""
    STAGE_FAILED = "StageFailed"
    """True: a stage failed for good (exit code 42) or too often."""


class SuspendedReason(StrEnum):
    """Suspended: True while spec.suspend is true; False otherwise."""

    SUSPENDED = "Suspended"
    """True: no stage runs; artifacts and the served model stay."""
    NOT_SUSPENDED = "NotSuspended"
    """False."""


class StageReason(StrEnum):
    """The stage conditions: True when the stage's artifact for the current spec is complete."""

    COMPLETE = "Complete"
    """True: the artifact is complete (EvaluationPassed: and every rule of the gate holds)."""
    WAITING = "Waiting"
    """False: a stage before it is not complete."""
    QUEUED = "Queued"
    """False: its Job waits for quota or a node."""
    RUNNING = "Running"
    """False: its Job runs; the message tells the progress."""
    GATE_NOT_PASSED = "GateNotPassed"
    """False (EvaluationPassed): judged, and a rule of the gate does not hold; the message names it."""
    DISABLED = "Disabled"
    """False (Serving): spec.serving.enabled is false."""
    IMAGE_PULL = "ImagePull"
    """False: an image cannot be pulled."""
    OUT_OF_MEMORY = "OutOfMemory"
    """False: a container was killed for using more memory than its limit."""
    UNSCHEDULABLE = "Unschedulable"
    """False: no node fits."""
    EVICTED = "Evicted"
    """False: a node took the pod away; it is tried again."""
    BAD_INPUT = "BadInput"
    """False: the stage says that the spec or the repository must change (exit code 42)."""
    FAILED = "Failed"
    """False: anything else; the message holds the stage's own words."""
    UNREADABLE = "Unreadable"
    """Unknown: the artifact store or a pod cannot be read at the moment."""


REASONS: dict[ConditionType, type[StrEnum]] = {
    "Ready": ReadyReason,
    "Reconciling": ReconcilingReason,
    "Stalled": StalledReason,
    "Suspended": SuspendedReason,
    **dict.fromkeys(STAGE_CONDITIONS.values(), StageReason),
}
"""Every reason that a condition may carry."""
