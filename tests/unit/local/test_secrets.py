"""Which child processes see secrets."""

from __future__ import annotations

import pytest

from repoexpert.api.experience import TEACHER_KEY_VARIABLE
from repoexpert.local import child
from repoexpert.repository import git
from repoexpert.repository.credentials import without_secrets

_SECRETS = {TEACHER_KEY_VARIABLE: "k", "REPOEXPERT_GIT_PASSWORD": "p", "REPOEXPERT_GIT_CREDENTIALS": "/run/git"}
_PLAIN = {"PATH": "/bin", "HF_TOKEN": "t", "AWS_PROFILE": "x"}


def test_a_child_that_talks_to_no_server_gets_no_secret() -> None:
    assert without_secrets({**_PLAIN, **_SECRETS, "AWS_SECRET_ACCESS_KEY": "s"}) == _PLAIN


def test_git_gets_only_the_secrets_it_is_handed() -> None:
    given = git.environment({"REPOEXPERT_GIT_PASSWORD": "handed"}, base={**_PLAIN, **_SECRETS})
    assert given["REPOEXPERT_GIT_PASSWORD"] == "handed"
    assert TEACHER_KEY_VARIABLE not in given


@pytest.mark.parametrize(
    ("stage", "seen"),
    [
        ("environment", {"REPOEXPERT_GIT_PASSWORD", "REPOEXPERT_GIT_CREDENTIALS"}),
        ("tasks", {"REPOEXPERT_GIT_PASSWORD", "REPOEXPERT_GIT_CREDENTIALS"}),
        ("rollout", {TEACHER_KEY_VARIABLE}),
        ("dataset", set()),
        ("training", set()),
        ("evaluation", {"REPOEXPERT_GIT_PASSWORD", "REPOEXPERT_GIT_CREDENTIALS"}),
        ("serving", set()),
    ],
)
def test_a_stage_gets_the_secrets_that_it_uses(stage: str, seen: set[str]) -> None:
    assert child.environment(stage, {**_PLAIN, **_SECRETS}).keys() == {*_PLAIN, *seen}
