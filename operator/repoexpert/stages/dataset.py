"""Stage `dataset`: verified attempts become filtered, masked, split ms-swift rows. Reads tasks and rollout."""

from __future__ import annotations

from typing import Any

from repoexpert.dataset.build import Options, build
from repoexpert.dataset.encoding import load_tokenizer, tokenizer_digest
from repoexpert.dataset.export import DESCRIPTION, losses_table, write_dataset
from repoexpert.dataset.trajectories import read_attempts
from repoexpert.errors import StageFailed
from repoexpert.experience.tasks import read_tasks
from repoexpert.stages.context import StageContext
from repoexpert.training.students import resolve_student


def run(context: StageContext) -> dict[str, Any]:
    """Write `train.jsonl`, `heldout.jsonl`, `data/UNIT/REPO.jsonl` and `dataset.json`; the summary is the latter, most wanted first."""
    spec = context.expert.spec
    base = spec.training.base_model
    student = resolve_student(base.source, context.cache, context.progress, revision=base.revision)
    tasks = read_tasks(context.inputs["tasks"] / "tasks.jsonl")
    attempts = list(read_attempts(context.inputs["rollout"]))
    options = Options(
        template=student.template,
        max_length=spec.training.max_length,
        quotas=_quotas(spec.experience.units),
    )

    def on_read(done: int) -> None:
        context.progress.update(done=done, total=len(attempts), message="filtering trajectories")

    built = build(attempts, tasks, load_tokenizer(student.path), options, on_read)
    digest = tokenizer_digest(student.path)
    description = write_dataset(
        context.work, built, options, repository=spec.repository.url, tokenizer=digest, student=base.source
    )
    if not built.train:
        raise StageFailed(
            f"no trajectory is left to train on, of {len(attempts)} attempts; what each filter cost:\n"
            f"{losses_table(description)}\nLonger training.maxLength, more attempts or a better teacher would help; "
            f"all counts: {context.work / DESCRIPTION}"
        )
    return {"rows": description["rows"]} | description


def _quotas(units: Any) -> dict[str, int]:
    """Unit name of the API to the wanted number; units that were left out want none."""
    return {name: int(count) for name, count in units.model_dump(by_alias=True).items() if count}
