"""The `RepoExpert` resource: a repository, a cutoff, and what to make of them (design.md, section 3).

Every other package reads a spec through these types; `repoexpert crd` makes the CRD from them.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from repoexpert.api.base import ApiModel, OpenModel, Rule
from repoexpert.api.evaluation import Evaluation
from repoexpert.api.experience import Experience
from repoexpert.api.repository import Environment, Repository
from repoexpert.api.scalars import Flag, ObjectName, Text
from repoexpert.api.serving import Serving
from repoexpert.api.status import RepoExpertStatus
from repoexpert.api.training import Training

GROUP = "repoexpert.dev"
VERSION = "v1alpha1"
API_VERSION: Literal["repoexpert.dev/v1alpha1"] = "repoexpert.dev/v1alpha1"

MAX_NAME_LENGTH = 40
"""The longest child is `NAME-environment-FP8`: 40 + 1 + 11 + 1 + 8 = 61 of the 63 that a label and a host name allow."""

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label that begins with a letter, as the names of Services have to (RFC 1035)."""


class Metadata(OpenModel):
    """The part of Kubernetes' ObjectMeta that RepoExpert reads."""

    name: ObjectName
    namespace: Annotated[
        str, Text(63, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "is not a namespace: lower-case letters, digits and '-'")
    ] = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    generation: int | None = None
    uid: str | None = None


class Deletion(ApiModel):
    """What goes with the resource when it is deleted."""

    artifacts: Literal["Retain", "Delete"] = Field(
        default="Retain", description="Retain: artifacts stay in the store. Delete: they are removed."
    )


class RepoExpertSpec(ApiModel):
    """What is wanted."""

    class_name: ObjectName | None = Field(
        default=None, description="The RepoExpertClass to use. Absent: the one marked as default."
    )
    repository: Repository = Field(description="The Git repository and the day its knowledge ends.")
    environment: Environment = Field(
        default_factory=Environment, description="The environment the repository's code runs in; detected when absent."
    )
    experience: Experience = Field(
        default_factory=Experience, description="What is practised, by which teacher, within which limits."
    )
    training: Training = Field(default_factory=Training, description="The student and the recipe.")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="On what the candidate is judged, and what it has to reach."
    )
    serving: Serving = Field(default_factory=Serving, description="How the model that passed the gate is offered.")
    suspend: Flag = Field(
        default=False, description="true stops running stages and keeps artifacts and the served model."
    )
    deletion: Deletion = Field(default_factory=Deletion, description="What goes with the resource when it is deleted.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.evaluation.until) || self.evaluation.until > self.repository.cutoff",
            message="must be after repository.cutoff: evaluation uses the history between the two",
            holds=lambda it: it.evaluation.until is None or it.evaluation.until > it.repository.cutoff,
            field="evaluation.until",
        ),
    )


class RepoExpert(ApiModel):
    """A repository turned into a coding model that knows it."""

    model_config = ConfigDict(title="RepoExpert")

    api_version: Literal["repoexpert.dev/v1alpha1"] = API_VERSION
    kind: Literal["RepoExpert"] = "RepoExpert"
    metadata: Metadata
    spec: RepoExpertSpec = Field(description="What is wanted.")
    status: RepoExpertStatus | None = Field(default=None, description="What is; written by the operator alone.")

    validations: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && self.metadata.name.matches('{NAME_PATTERN}')",
            message=f"must be at most {MAX_NAME_LENGTH} lower-case letters, digits and '-', begin with a letter and not "
            "end in '-': services, jobs and pods are named after it",
            holds=lambda it: (
                len(it.metadata.name) <= MAX_NAME_LENGTH and re.fullmatch(NAME_PATTERN, it.metadata.name) is not None
            ),
            field="metadata.name",
        ),
    )
