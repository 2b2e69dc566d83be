"""Conditions and reasons form one closed vocabulary that Kubernetes accepts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import get_args

from repoexpert.api.conditions import REASONS, STAGE_CONDITIONS
from repoexpert.api.status import ConditionType, RepoExpertStatus


def test_every_condition_has_its_reasons() -> None:
    assert set(REASONS) == set(get_args(ConditionType))


def test_every_stage_has_a_condition() -> None:
    assert list(STAGE_CONDITIONS) == [
        "environment",
        "tasks",
        "rollout",
        "dataset",
        "training",
        "evaluation",
        "serving",
    ]


def test_a_reason_is_a_word_that_kubernetes_accepts() -> None:
    for reasons in REASONS.values():
        for reason in reasons:
            assert re.fullmatch(r"[A-Z][A-Za-z]{0,127}", reason)


def test_a_status_survives_json() -> None:
    status = RepoExpertStatus.model_validate(
        {
            "observedGeneration": 2,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "InProgress",
                    "lastTransitionTime": "2026-01-02T03:04:05Z",
                }
            ],
            "stages": [{"name": "training", "state": "Running", "progress": {"done": 3, "total": 9, "rate": "0.5"}}],
            "evaluation": {"suites": [{"name": "heldout", "passRate": "0.25", "interval": ["0.2", "0.3"], "n": 40}]},
            "gate": {"passed": False, "rules": [{"metric": "heldout.nll", "passed": False, "reason": "0.95 > 0.9"}]},
        }
    )
    assert status.conditions[0].last_transition_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert status.evaluation is not None
    assert status.evaluation.suites[0].interval == (Decimal("0.2"), Decimal("0.3"))
    assert RepoExpertStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
