"""What is refused before anything starts."""

from __future__ import annotations

import pytest

from repoexpert.api.expert import RepoExpert
from repoexpert.errors import BadInput
from repoexpert.graph.definitions import StageName
from repoexpert.local.preflight import require_inputs


def expert(**spec: object) -> RepoExpert:
    manifest = {
        "apiVersion": "repoexpert.dev/v1alpha1",
        "kind": "RepoExpert",
        "metadata": {"name": "ledger"},
        "spec": {
            "repository": {"url": "https://example.org/ledger", "cutoff": "2024-03-31"},
            "experience": {"teacher": {"provider": "scripted"}},
            **spec,
        },
    }
    return RepoExpert.model_validate(manifest)


@pytest.mark.parametrize("missing", [("environment",), ("serving",)])
def test_a_suspended_expert_with_work_to_do_is_refused_by_name(missing: tuple[StageName, ...]) -> None:
    with pytest.raises(BadInput, match=r"spec\.suspend is true"):
        require_inputs(expert(suspend=True), missing, {})


def test_a_suspended_expert_that_is_up_to_date_is_fine() -> None:
    require_inputs(expert(suspend=True), (), {})


def test_an_expert_that_is_not_suspended_runs() -> None:
    require_inputs(expert(), ("environment", "rollout"), {})
