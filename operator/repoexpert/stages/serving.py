"""Stage `serving`: the gate decides on the report; a model that passes answers a chat request and becomes current.

Reads training and evaluation; writes `decision.json`, `report.html` and `MODEL_CARD.md`. Rules that were edited are
judged on the report that is there: nothing is evaluated again.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from repoexpert.api.expert import RepoExpert
from repoexpert.evaluation import gate, viewer
from repoexpert.evaluation.card import render_card
from repoexpert.evaluation.gathering import REPORT, RUNS
from repoexpert.evaluation.page import render_page
from repoexpert.evaluation.records import Report
from repoexpert.serving import models
from repoexpert.serving.server import VllmServer
from repoexpert.serving.smoke import smoke_test
from repoexpert.stages.context import StageContext
from repoexpert.stages.plan import make_plan
from repoexpert.storage.records import ArtifactKey

DECISION = "decision.json"
PAGE = "report.html"
CARD = "MODEL_CARD.md"


def run(context: StageContext) -> dict[str, Any]:
    """Judge, try and promote. A candidate that fails the gate is a result; a server that fails is an error."""
    expert = context.expert
    report = Report.model_validate_json((context.inputs["evaluation"] / REPORT).read_bytes())
    decision = gate.decide(report, expert.spec.evaluation.gate)
    key = make_plan(expert, context.resolution)["training"]
    promoted = decision.passed and expert.spec.serving.enabled
    reason = _reason(expert, decision)
    (context.work / DECISION).write_text(decision.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    context.progress.update(done=1, total=3, message="writing the report")
    outcome = "It is served now." if promoted else reason
    packed = viewer.pack(_trajectories(context))
    (context.work / PAGE).write_text(render_page(report, decision, packed, outcome), encoding="utf-8")
    (context.work / CARD).write_text(render_card(report, decision), encoding="utf-8")
    shutil.copyfile(context.inputs["evaluation"] / REPORT, context.work / REPORT)
    if promoted:
        context.progress.update(done=2, total=3, message="smoke test")
        asyncio.run(_smoke(context))
        promote(context, key)
    context.progress.update(done=3, total=3, message=reason)
    return {
        "passed": decision.passed,
        "promoted": promoted,
        "gate": [rule.model_dump(mode="json", by_alias=True) for rule in decision.rules],
        "model": str(key) if promoted else None,
        "reason": reason,
    }


def _reason(expert: RepoExpert, decision: gate.GateDecision) -> str:
    if not decision.passed:
        broken = [f"{rule.metric}: {rule.reason}" for rule in decision.rules if not rule.passed]
        return "gate not passed: " + "; ".join(broken)
    return "gate passed" if expert.spec.serving.enabled else "gate passed, but spec.serving.enabled is false"


def _trajectories(context: StageContext) -> list[viewer.Shown]:
    shown: list[viewer.Shown] = []
    runs = context.inputs["evaluation"] / RUNS
    for folder in sorted(runs.glob("*/*")) if runs.is_dir() else []:
        shown += viewer.load(folder, source=folder.parent.name, suite=folder.name)
    if "rollout" in context.inputs:
        shown += viewer.load(context.inputs["rollout"], source="teacher", suite="experience")
    return shown


async def _smoke(context: StageContext) -> None:
    expert = context.expert
    async with VllmServer(
        models.weights(context.inputs["training"]),
        expert.metadata.name,
        context_tokens=expert.spec.serving.context_tokens,
        sampling=expert.spec.serving.sampling,
        concurrency=1,
        # Its log tells ports and times; an artifact holds neither.
        log=_log(context),
    ) as server:
        await smoke_test(server.base_url, server.name)


def _log(context: StageContext) -> Path:
    metadata = context.expert.metadata
    return context.cache / "logs" / "vllm" / f"{metadata.namespace}-{metadata.name}-smoke.log"


def promote(context: StageContext, key: ArtifactKey) -> None:
    """Make the model at `key` the served one; a second time changes nothing."""
    metadata = context.expert.metadata
    previous = context.store.read_record(metadata.namespace, metadata.name, models.CURRENT)
    if previous is not None and previous.get("model") == str(key):
        return
    since = context.now().isoformat()
    context.store.write_record(
        metadata.namespace,
        metadata.name,
        models.CURRENT,
        models.Current(
            model=str(key),
            since=since,
            revision=models.next_revision(previous),
            previous=str(previous["model"]) if previous and previous.get("model") else None,
        ).model_dump(mode="json"),
    )
