"""What can be seen to be missing before anything starts, so that nobody learns of it after hours of work.

Called by the local runner. The stages check the same things again: they also run where there is no runner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repoexpert.api.expert import RepoExpert
from repoexpert.errors import BadInput
from repoexpert.graph.definitions import STAGES, StageName
from repoexpert.rollout.teachers import require_key
from repoexpert.stages.context import Resolution
from repoexpert.training.students import require_folder

_READ_THE_BASE_MODEL = frozenset({"dataset", "training", "evaluation"})


def require_later_history(expert: RepoExpert, resolved: Resolution, until: StageName) -> None:
    """Raises BadInput when the run goes as far as evaluation and nothing follows the cutoff."""
    if resolved.cutoff_commit != resolved.until_commit or STAGES.index(until) < STAGES.index("evaluation"):
        return
    spec = expert.spec
    if spec.evaluation.until is None:
        where, remedy = f"after {spec.repository.cutoff}", "Move the cutoff back"
    else:
        where = f"after {spec.repository.cutoff} and up to spec.evaluation.until ({spec.evaluation.until})"
        remedy = "Move the cutoff back or `until` forward"
    raise BadInput(
        f"spec.repository.cutoff: {resolved.url} has no commit {where} to evaluate on. {remedy}, look again with "
        "--refresh if the repository has grown, or make only a model with --until training"
    )


def require_inputs(expert: RepoExpert, missing: Sequence[StageName], environ: Mapping[str, str]) -> None:
    """Raises BadInput when the expert is suspended with work to do, or when a stage that is about to run lacks the
    teacher's key or the folder of the base model."""
    if missing and expert.spec.suspend:
        raise BadInput(
            "spec.suspend is true, so nothing runs: set it to false, or leave it out, to run the missing stages"
        )
    if "rollout" in missing:
        require_key(expert.spec.experience.teacher, environ)
    if _READ_THE_BASE_MODEL & set(missing):
        require_folder(expert.spec.training.base_model.source)
