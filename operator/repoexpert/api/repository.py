"""`spec.repository` and `spec.environment`: which code the expert knows, and how its tests run."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import Field

from repoexpert.api.base import ApiModel, Rule, TransitionRule
from repoexpert.api.references import SecretRef
from repoexpert.api.scalars import ATOMIC, Command, Count, Day, Text

URL_HINT = "is not a repository URL: write https://HOST/PATH, ssh://git@HOST/PATH (not git@HOST:PATH) or file:///PATH"


class Repository(ApiModel):
    """The Git repository and the day its knowledge ends."""

    url: Annotated[str, Text(2048, r"^(https://|ssh://|file:///)[^\s]+$", URL_HINT)] = Field(
        description="Git URL: https://, ssh:// or file:// (an absolute path). Immutable: another repository is another expert. "
        "Must not contain a password or token; see credentialsSecretRef."
    )
    ref: Annotated[str, Text(255, r"^[A-Za-z0-9_][A-Za-z0-9._/+@#-]*$", "is not a branch, tag or commit")] = Field(
        default="HEAD", description="Branch, tag or commit whose history is read. HEAD means the default branch."
    )
    cutoff: Day = Field(
        description="Knowledge boundary as YYYY-MM-DD, inclusive, UTC: nothing after this day is seen in training, "
        "everything after it may be used to evaluate. Moving it makes a new revision, judged against the served one."
    )
    credentials_secret_ref: SecretRef | None = Field(
        default=None,
        description="Secret with username and password, token, or ssh-privatekey and known_hosts. Absent: public.",
    )

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!self.url.matches('^https://[^/]*@') && !self.url.matches('^ssh://[^/@]*:[^/@]*@')",
            message="must not contain credentials: put them into a Secret and name it in credentialsSecretRef",
            holds=lambda it: not re.match(r"^https://[^/]*@|^ssh://[^/@]*:[^/@]*@", it.url),
            field="url",
        ),
    )
    transitions: ClassVar[tuple[TransitionRule, ...]] = (
        TransitionRule(
            cel="self.url == oldSelf.url",
            message="is immutable: another repository is another RepoExpert",
            holds=lambda new, old: new.url == old.url,
            field="url",
        ),
    )


class TestRun(ApiModel):
    """How the repository's own tests are run."""

    __test__ = False  # pytest takes classes named Test* for test classes

    command: Annotated[tuple[Command, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default=(), description='Test command and its arguments, for example ["pytest"]. Absent or empty: detected.'
    )
    timeout_seconds: Annotated[Count, Field(ge=1, le=86400)] = Field(
        default=600,
        description="Seconds one run of the chosen tests may take before it is stopped and counts as failed.",
    )
    paths: Annotated[tuple[Command, ...], Field(max_length=256, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Files and folders that hold tests, relative to the root. Absent or empty: detected."
    )


class Environment(ApiModel):
    """The environment the repository's code runs in. What is absent is detected from the repository at the cutoff."""

    python: (
        Annotated[str, Text(8, r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?$", 'is not a Python version such as "3.9"')] | None
    ) = Field(default=None, description='Python version in quotes, for example "3.9". Absent: detected.')
    install: Annotated[tuple[Command, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default=(),
        description="Shell commands that install the repository, run in its root. Packages are resolved as of the cutoff. "
        "Absent or empty: detected.",
    )
    test: TestRun = Field(default_factory=TestRun, description="How the repository's own tests are run.")
    system_packages: Annotated[
        tuple[Annotated[str, Text(128, r"^[a-z0-9][a-z0-9+.:~=_-]*$", "is not the name of a Debian package")], ...],
        Field(max_length=128, json_schema_extra=ATOMIC),
    ] = Field(default=(), description="Debian packages needed to build or test, for example libxml2-dev.")
