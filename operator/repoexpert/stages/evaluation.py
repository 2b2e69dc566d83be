"""Stage `evaluation`: candidate, base and served model on tasks dated after the cutoff, and NLL on held-out trajectories.

Reads environment, tasks, dataset and training; writes `report.json` and every attempt below `runs/ROLE/SUITE/`. The
suites and the runs of each model are artifacts of their own (see evaluation/suites.py, evaluation/model_runs.py):
training anew makes no task anew, and the base never runs twice.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from repoexpert.api.evaluation import Suite
from repoexpert.api.expert import RepoExpert
from repoexpert.dataset.export import DESCRIPTION, HELDOUT, TRAIN
from repoexpert.errors import BadInput
from repoexpert.evaluation import gathering, likelihood, model_runs, overlaps, suites
from repoexpert.evaluation.model_runs import Endpoint, Model
from repoexpert.evaluation.overlaps import Overlaps, find_overlaps, trained_tasks
from repoexpert.evaluation.records import ModelResult, NllResult, Report, Role, SuiteScores
from repoexpert.evaluation.scoring import score_suite
from repoexpert.evaluation.viewer import attempts_of
from repoexpert.experience.making import discard_proofs, make_tasks
from repoexpert.experience.tasks import Task, read_tasks
from repoexpert.graph import canonical
from repoexpert.progress import Progress
from repoexpert.repository.mining import committed_at
from repoexpert.repository.mirror import Mirror, Mirrors
from repoexpert.serving import hardware, models
from repoexpert.serving.server import VllmServer
from repoexpert.stages import environment
from repoexpert.stages.context import StageContext
from repoexpert.stages.plan import make_plan
from repoexpert.stages.pools import open_pool
from repoexpert.stages.tools import tool_versions
from repoexpert.storage.records import ArtifactKey
from repoexpert.training.nll import NllReport, compute_nll
from repoexpert.training.students import digest, resolve_student

SEED = 2602
"""Of every bootstrap in the report."""
_CPU_CONCURRENCY = 16
_GPU_CONCURRENCY = 256


@dataclass(frozen=True)
class _Suite:
    """A suite that is ready to run."""

    name: str
    folder: Path
    fingerprint: str
    overlaps: Overlaps


def run(context: StageContext) -> dict[str, Any]:
    """Judge the candidate. Raises BadInput when there is nothing to judge it on."""
    expert = context.expert
    suites.check_available(expert)
    suites.check_history(expert, context.resolution.cutoff_commit, context.resolution.until_commit)
    trained = trained_tasks(context.inputs["dataset"] / TRAIN, read_tasks(context.inputs["tasks"] / suites.TASKS))
    ready = [_suite(context, suite, trained) for suite in expert.spec.evaluation.suites]
    current = models.read_current(context.store, expert.metadata.namespace, expert.metadata.name)
    judged = _models(context, current)
    results = tuple(_result(context, model, ready) for model in judged)
    report = gathering.make_report(
        gathering.subject_of(expert, context.resolution.cutoff_commit, context.resolution.until_commit),
        artifacts={name: key.fingerprint for name, key in make_plan(expert, context.resolution).items()
                   if name not in ("evaluation", "serving")},
        settings=model_runs.settings(expert),
        stages=_summaries(context),
        suites=[overlaps.describe(suites.read_info(suite.folder), suite.overlaps) for suite in ready],
        models=results,
        nll=_nll(context, judged),
        curve=gathering.training_curve(context.inputs["training"]),
        served=current.model if current else None,
        seed=SEED,
    )  # fmt: skip
    text = report.model_dump_json(by_alias=True, indent=1) + "\n"
    (context.work / gathering.REPORT).write_text(text, encoding="utf-8")
    return _figures(report)


def _figures(report: Report) -> dict[str, Any]:
    """What the manifest and the status show."""
    rates = {
        model.role: {suite.suite: suite.overall.pass_rate.value if suite.overall.pass_rate else None for suite in model.suites}
        for model in report.models
    }  # fmt: skip
    ratios = {row.over: round(row.ratio.value, 4) for row in report.nll.ratios} if report.nll else {}
    return {
        "tasks": {info.name: info.tasks for info in report.suites},
        "passRate": rates,
        "nllRatio": ratios,
        "served": report.served,
    }


def _summaries(context: StageContext) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for name, key in make_plan(context.expert, context.resolution).items():
        if name not in ("evaluation", "serving") and (manifest := context.store.manifest(key)) is not None:
            found[str(name)] = manifest.summary
    return found


def _key(expert: RepoExpert, stage: str, fingerprint: str) -> ArtifactKey:
    metadata = expert.metadata
    return ArtifactKey(namespace=metadata.namespace, name=metadata.name, stage=stage, fingerprint=fingerprint)


def _artifact(
    context: StageContext, key: ArtifactKey, make: Callable[[Path], dict[str, Any]], upstream: Mapping[str, str]
) -> Path:
    """The folder of an artifact of the evaluation's own, made when it is not there."""
    if context.store.manifest(key) is None:
        with context.store.draft(key) as draft:
            if not draft.done:
                summary = make(draft.path)
                draft.complete(summary=summary, upstream=upstream, tools=tool_versions(), now=context.now())
    return context.store.fetch(key)


def _suite(context: StageContext, suite: Suite, trained: Sequence[Task]) -> _Suite:
    expert, resolution = context.expert, context.resolution
    mirror = Mirrors(context.cache).ensure(resolution.url, resolution.until_commit)
    day = expert.spec.evaluation.until or _day_of(mirror, resolution.until_commit)
    fingerprint = suites.fingerprint(
        suite,
        url=resolution.url,
        cutoff_commit=resolution.cutoff_commit,
        until_commit=resolution.until_commit,
        day=str(day),
        environment=canonical.plain(expert.spec.environment),
    )

    def make(folder: Path) -> dict[str, Any]:
        return _make_suite(context, suite, mirror, day, folder)

    folder = _artifact(context, _key(expert, suites.STAGE, fingerprint), make, {})
    return _Suite(suite.name, folder, fingerprint, find_overlaps(suites.read_tasks(folder), trained))


def _make_suite(context: StageContext, suite: Suite, mirror: Mirror, day: date, folder: Path) -> dict[str, Any]:
    """The environment at the end of the later history, and tasks from the changes since the cutoff."""
    if (folder / suites.INFO).exists():
        discard_proofs(folder)
        return suites.read_info(folder).model_dump(mode="json", by_alias=True)
    resolution = context.resolution
    home = folder / suites.ENVIRONMENT
    home.mkdir(exist_ok=True)
    measured = environment.run(_at_the_end(context, day, home))
    made = asyncio.run(
        make_tasks(
            mirror=mirror,
            environment_dir=home,
            commit=resolution.until_commit,
            after_commit=resolution.cutoff_commit,
            units=suites.wanted_units(suite),
            work=folder,
            pool_factory=lambda: open_pool(home, context.cache),
            jobs=context.jobs,
            progress=_Labelled(context.progress, f"suite {suite.name}"),
        )
    )
    info = suites.write_suite(folder, suite.name, list(made.tasks), {**made.summary, "environment": measured})
    discard_proofs(folder)
    return info.model_dump(mode="json", by_alias=True)


def _at_the_end(context: StageContext, day: date, work: Path) -> StageContext:
    """The environment stage's context with the end of the later history in the cutoff's place."""
    spec = context.expert.spec
    repository = spec.repository.model_copy(update={"cutoff": day})
    expert = context.expert.model_copy(update={"spec": spec.model_copy(update={"repository": repository})})
    resolution = context.resolution.model_copy(update={"cutoff_commit": context.resolution.until_commit})
    return replace(context, expert=expert, resolution=resolution, inputs={}, work=work,
                   progress=_Labelled(context.progress, "suite environment"))  # fmt: skip


def _day_of(mirror: Mirror, commit: str) -> date:
    return committed_at("", mirror.git("show", "-s", "--format=%ct", commit).strip()).date()


def _models(context: StageContext, current: models.Current | None) -> list[Model]:
    """Base first: it is most likely to be there already. With nothing served yet, base stands in for the served model."""
    expert = context.expert
    compared = expert.spec.evaluation.compare_with
    found: list[Model] = []
    if "base" in compared or ("served" in compared and current is None):
        base = expert.spec.training.base_model
        student = resolve_student(base.source, context.cache, context.progress, revision=base.revision)
        found.append(Model("base", student.path, student.digest, base.source))
    weights = models.weights(context.inputs["training"])
    candidate = make_plan(expert, context.resolution)["training"]
    found.append(Model("candidate", weights, digest(weights), str(candidate)))
    if "served" in compared and current is not None:
        if context.store.manifest(current.key) is None:
            raise BadInput(
                f"the served model {current.key} is not in the store any more, so nothing can be compared with it: put it back, "
                "or take `served` out of spec.evaluation.compareWith"
            )
        served = models.weights(context.store.fetch(current.key))
        found.append(Model("served", served, digest(served), current.model))
    return found


def _result(context: StageContext, model: Model, ready: Sequence[_Suite]) -> ModelResult:
    """The model's scores; one server start for all suites that it has not run yet."""
    expert = context.expert
    keys = {suite.name: _key(expert, model_runs.STAGE, model_runs.fingerprint(expert, model.digest, suite.fingerprint))
            for suite in ready}  # fmt: skip
    missing = [suite for suite in ready if context.store.manifest(keys[suite.name]) is None]
    if missing:
        asyncio.run(_run_missing(context, model, missing, keys))
    scores: list[SuiteScores] = []
    for suite in ready:
        folder = context.store.fetch(keys[suite.name])
        _copy(folder, context.work / gathering.RUNS / model.role / suite.name)
        seen = suite.overlaps.same_change
        units = {task.id: task.unit for task in suites.read_tasks(suite.folder) if task.id not in seen}
        results = [result for result, _ in attempts_of(folder)]
        scores.append(score_suite(suite.name, units, results, expert.spec.evaluation.attempts, SEED))
    return ModelResult(role=model.role, digest=model.digest, source=model.source, suites=tuple(scores))


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("manifest.json"), copy_function=shutil.copyfile)


async def _run_missing(
    context: StageContext, model: Model, missing: Sequence[_Suite], keys: Mapping[str, ArtifactKey]
) -> None:
    expert = context.expert
    limit = _CPU_CONCURRENCY if hardware.device() == "cpu" else _GPU_CONCURRENCY
    concurrency = min(expert.spec.experience.rollout.concurrency, limit)
    metadata = expert.metadata
    log = context.cache / "logs" / "vllm" / f"{metadata.namespace}-{metadata.name}-{model.role}.log"
    context.progress.update(done=0, message=f"starting vLLM for {model.role}")
    # The candidate's and the base's trajectories differ in the model alone, so its name must not tell it.
    async with VllmServer(
        model.folder, "student", context_tokens=expert.spec.serving.context_tokens, log=log, concurrency=concurrency
    ) as server:
        endpoint = Endpoint(server.base_url, server.name, server.context_tokens)
        for suite in missing:
            key = keys[suite.name]
            with context.store.draft(key) as draft:
                if draft.done:
                    continue
                home = suite.folder / suites.ENVIRONMENT
                async with open_pool(home, context.cache) as pool:
                    attempts = model_runs.run_model(
                        expert,
                        endpoint,
                        suites.read_tasks(suite.folder),
                        home,
                        pool=pool,
                        out=draft.path,
                        concurrency=concurrency,
                        key=key.fingerprint,
                        progress=_Labelled(context.progress, f"{model.role} on {suite.name}"),
                    )
                    summary = await server.alive_during(attempts)
                draft.complete(
                    summary=gathering.steady(summary.figures()),
                    upstream={suites.STAGE: suite.fingerprint},
                    tools=tool_versions(),
                    now=context.now(),
                )


def _nll(context: StageContext, judged: Sequence[Model]) -> NllResult | None:
    heldout = context.inputs["dataset"] / HELDOUT
    if not heldout.is_file() or not heldout.read_bytes().strip():
        return None
    measured = {model.role: _nll_of(context, model, heldout) for model in judged}
    values: dict[Role, dict[str, likelihood.Measured]] = {
        role: {row.id: likelihood.Measured(row.tokens, row.nll) for row in report.rows}
        for role, report in measured.items()
    }
    return likelihood.combine(measured["candidate"].dataset, values, SEED)


def _nll_of(context: StageContext, model: Model, heldout: Path) -> NllReport:
    """One model's NLL, an artifact of its own: a base is measured once for a dataset."""
    template = json.loads((heldout.parent / DESCRIPTION).read_text(encoding="utf-8"))["template"]
    fingerprint = suites.digest_of(
        [likelihood.STAGE, likelihood.FORMAT, model.digest, likelihood.file_digest(heldout), template]
    )

    def make(folder: Path) -> dict[str, Any]:
        progress = _Labelled(context.progress, model.role)
        on_gpu = hardware.device() == "gpu"
        found = compute_nll(
            model.folder, heldout, folder / likelihood.FILE, template=template, progress=progress, on_gpu=on_gpu
        )
        return {"tokenWeighted": found.token_weighted, "trajectories": len(found.rows)}

    folder = _artifact(context, _key(context.expert, likelihood.STAGE, fingerprint), make, {})
    return NllReport.model_validate_json((folder / likelihood.FILE).read_bytes())


class _Labelled:
    """Progress of a part of this stage, told with the part's name."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def update(self, *, done: int, total: int | None = None, message: str = "", **facts: Any) -> None:
        self._progress.update(done=done, total=total, message=f"{self._label}: {message}".rstrip(": "), **facts)
