"""Stage `training`: the student learns the dataset. Writes `model/`, `logging.jsonl` and `recipe.json`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from repoexpert.dataset.export import DESCRIPTION, TRAIN
from repoexpert.errors import BadInput, StageFailed
from repoexpert.stages.context import StageContext
from repoexpert.training.checkpoints import collect_model
from repoexpert.training.launcher import Expected, Outcome, train
from repoexpert.training.machine import device_for, require_rank, trainer_environment
from repoexpert.training.merging import merge_adapter
from repoexpert.training.recipe import (
    Device,
    Recipe,
    Run,
    command,
    steps_between_checkpoints,
    total_steps,
)
from repoexpert.training.students import Student, resolve_student
from repoexpert.training.versions import parameter_count, trainer_versions

_RUN = "run"
_RECORD = "recipe.json"
_LOG = "logging.jsonl"


def run(context: StageContext) -> dict[str, Any]:
    """Train to the last step, or go on from the newest checkpoint in `context.work`; the summary has loss and speed."""
    spec = context.expert.spec.training
    base = spec.base_model
    student = resolve_student(base.source, context.cache, context.progress, revision=base.revision)
    recipe = Recipe.of(spec)
    device = device_for(recipe, spec.gpus, spec.nodes)
    require_rank(device.nodes, os.environ)
    dataset = context.inputs["dataset"]
    description = json.loads((dataset / DESCRIPTION).read_text(encoding="utf-8"))
    if description["template"] != student.template:
        raise BadInput(
            f"the dataset was made for the chat template {description['template']}, the student speaks {student.template}"
        )
    expected = _expected(recipe, description, device)
    output = context.work / _RUN
    record = context.work / _RECORD
    if not record.exists():
        save = steps_between_checkpoints(recipe, expected.steps, parameter_count(student.path), expected.tokens, device)

        def build(resume: Path | None) -> list[str]:
            asked = Run(dataset=dataset / TRAIN, output=output, save_steps=save, resume_from=resume)
            return command(recipe, student, asked, device, python=sys.executable)

        environment = trainer_environment(device, output / "cache")
        outcome = train(build, output, expected, environment, context.progress)
        _finish(context, recipe, student, outcome, build(None), description, environment)
    shutil.rmtree(output, ignore_errors=True)
    return dict(json.loads(record.read_text(encoding="utf-8"))["summary"])


def _expected(recipe: Recipe, description: dict[str, Any], device: Device) -> Expected:
    rows = description["rows"]["train"]
    steps = total_steps(recipe, rows, device)
    if not steps:
        raise StageFailed(
            f"{rows} training rows make no whole step of training.globalBatchSize {recipe.global_batch_size}: "
            "lower it, or collect more experience"
        )
    return Expected(rows=rows, steps=steps, tokens=description["tokens"]["train"]["total"] * recipe.epochs)


def _finish(
    context: StageContext,
    recipe: Recipe,
    student: Student,
    outcome: Outcome,
    arguments: list[str],
    description: dict[str, Any],
    environment: dict[str, str],
) -> None:
    """Model first, record last: a kill in between repeats this, nothing else."""
    source = outcome.checkpoint
    if recipe.method == "lora":
        source = merge_adapter(source, student, context.work / _RUN / "merged", environment)
    collect_model(source, student.path, context.work / "model")
    shutil.copyfile(context.work / _RUN / _LOG, context.work / _LOG)
    tokens = description["tokens"]["train"]
    summary = {
        "steps": outcome.steps,
        "rows": description["rows"]["train"],
        "tokens": tokens["total"] * recipe.epochs,
        "trainedTokens": tokens["trained"] * recipe.epochs,
        "firstLoss": outcome.first_loss,
        "lastLoss": outcome.last_loss,
        "seconds": round(outcome.seconds, 1),
        "tokensPerSecond": _speed(outcome, tokens["total"] * recipe.epochs),
        "resumedAt": outcome.resumed_at,
        "modelType": student.model_type,
        "template": student.template,
    }
    content = {
        "format": 1,
        "command": [_portable(part, context, student) for part in arguments],
        "student": {"source": student.source, "digest": student.digest},
        "dataset": description["files"],
        "versions": trainer_versions(),
        "summary": summary,
    }
    aside = context.work / ".recipe.aside"
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    aside.replace(context.work / _RECORD)


def _speed(outcome: Outcome, tokens: int) -> float:
    """Tokens per second of this start, loading included; 0 when an earlier start had done every step."""
    done = tokens * (outcome.steps - outcome.resumed_at) / outcome.steps
    return round(done / outcome.seconds, 1)


def _portable(argument: str, context: StageContext, student: Student) -> str:
    """The command as anybody could repeat it: no path of this machine."""
    for place, name in (
        (str(context.work), "$WORK"),
        (str(context.inputs["dataset"]), "$DATASET"),
        (str(student.path), "$STUDENT"),
        (sys.executable, "python"),
    ):
        argument = argument.replace(place, name)
    return argument
