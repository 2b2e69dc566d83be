"""For every field of the spec: which stages run again when it changes. A new field without a row fails here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from repoexpert.api.expert import RepoExpert, RepoExpertSpec
from repoexpert.api.manifests import dotted
from repoexpert.api.schemas import walk
from repoexpert.graph.definitions import STAGES, StageName
from repoexpert.graph.fingerprints import changed, fingerprints

RESOLUTION = SimpleNamespace(url="https://example.com/a", cutoff_commit="a" * 40, until_commit="b" * 40)

BASE: dict[str, Any] = {
    "repository": {"url": "https://example.com/a", "cutoff": "2020-12-31"},
    "experience": {
        "units": {"evolutionaryReplay": 10, "semanticRuntimeAlignment": 10},
        "teacher": {"provider": "openai", "model": "a"},
    },
    "training": {"method": "lora", "loraRank": 8},
}

EVERYTHING: tuple[StageName, ...] = STAGES
FROM_TASKS = STAGES[1:]
FROM_ROLLOUT = STAGES[2:]
FROM_DATASET = STAGES[3:]
FROM_TRAINING = STAGES[4:]
FROM_EVALUATION = STAGES[5:]
SERVING = STAGES[6:]
NOTHING: tuple[StageName, ...] = ()

# path of a leaf: (another value, the stages that run again)
EDITS: dict[str, tuple[Any, tuple[StageName, ...]]] = {
    "className": ("h200", NOTHING),
    "suspend": (True, NOTHING),
    "deletion.artifacts": ("Delete", NOTHING),
    "repository.url": ("https://example.com/b", EVERYTHING),
    "repository.ref": ("stable", NOTHING),
    "repository.cutoff": ("2021-01-01", EVERYTHING),
    "repository.credentialsSecretRef.name": ("git", NOTHING),
    "environment.python": ("3.9", EVERYTHING),
    "environment.install": (["make"], EVERYTHING),
    "environment.test.command": (["pytest"], EVERYTHING),
    "environment.test.timeoutSeconds": (5, EVERYTHING),
    "environment.test.paths": (["tests"], EVERYTHING),
    "environment.systemPackages": (["git"], EVERYTHING),
    "experience.units.softwareDesign": (1, FROM_TASKS),
    "experience.units.contextualImplementation": (1, FROM_TASKS),
    "experience.units.evolutionaryReplay": (11, FROM_TASKS),
    "experience.units.semanticRuntimeAlignment": (0, FROM_TASKS),
    "experience.teacher.provider": ("scripted", FROM_ROLLOUT),
    "experience.teacher.model": ("b", FROM_ROLLOUT),
    "experience.teacher.baseUrl": ("http://vllm/v1", FROM_ROLLOUT),
    "experience.teacher.apiKeySecretRef.name": ("key", NOTHING),
    "experience.teacher.apiKeySecretRef.key": ("key", NOTHING),
    "experience.agent.stepLimit": (65, FROM_ROLLOUT),
    "experience.agent.contextTokens": (9000, FROM_ROLLOUT),
    "experience.agent.outputTokens": (100, FROM_ROLLOUT),
    "experience.agent.commandTimeoutSeconds": (61, FROM_ROLLOUT),
    "experience.agent.temperature": ("0.5", FROM_ROLLOUT),
    "experience.agent.topP": ("0.5", FROM_ROLLOUT),
    "experience.rollout.concurrency": (1, NOTHING),
    "experience.rollout.attemptsPerTask": (3, FROM_ROLLOUT),
    "experience.rollout.engine": ("ray", NOTHING),
    "experience.budget.maxCost": ("1", FROM_ROLLOUT),
    "experience.budget.currency": (None, NOTHING),  # one value only
    "training.baseModel.source": ("hf://a/b", FROM_DATASET),
    "training.baseModel.revision": ("main", FROM_DATASET),
    "training.method": (None, NOTHING),  # see test_changing_the_method_trains_again
    "training.loraRank": (16, FROM_TRAINING),
    "training.backend": ("transformers", FROM_TRAINING),
    "training.gpus": (8, NOTHING),
    "training.nodes": (2, NOTHING),
    "training.epochs": (3, FROM_TRAINING),
    "training.globalBatchSize": (32, FROM_TRAINING),
    "training.maxLength": (1024, FROM_DATASET),
    "training.learningRate": ("2e-5", FROM_TRAINING),
    "training.minLearningRate": ("0", FROM_TRAINING),
    "training.warmupFraction": ("0", FROM_TRAINING),
    "training.checkpointSteps": (10, NOTHING),
    "training.seed": (43, FROM_TRAINING),
    "evaluation.suites": ([{"name": "heldout", "limit": 5}], FROM_EVALUATION),
    "evaluation.until": ("2022-01-01", FROM_EVALUATION),
    "evaluation.attempts": (1, FROM_EVALUATION),
    "evaluation.compareWith": (["base"], FROM_EVALUATION),
    "evaluation.gate": ([], SERVING),
    "serving.enabled": (False, SERVING),
    "serving.replicas": (2, NOTHING),
    "serving.contextTokens": (9000, FROM_EVALUATION),
    "serving.sampling.temperature": ("0", FROM_EVALUATION),
    "serving.sampling.topP": ("0.5", FROM_EVALUATION),
    "serving.sampling.topK": (1, FROM_EVALUATION),
    "serving.sampling.repetitionPenalty": ("1", FROM_EVALUATION),
}


def expert(spec: dict[str, Any]) -> RepoExpert:
    return RepoExpert.model_validate({"metadata": {"name": "a"}, "spec": spec})


def edited(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`spec` with another value at `path`."""
    head, _, rest = path.partition(".")
    return spec | {head: edited(spec.get(head, {}), rest, value) if rest else value}


def rerun(before: dict[str, Any], after: dict[str, Any]) -> tuple[StageName, ...]:
    return changed(fingerprints(expert(before), RESOLUTION), fingerprints(expert(after), RESOLUTION))


def test_every_field_of_the_spec_has_a_row() -> None:
    paths = [dotted(path) for path in walk(RepoExpertSpec)]
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    assert set(EDITS) == leaves


@pytest.mark.parametrize("path", [path for path, (value, _) in EDITS.items() if value is not None])
def test_an_edit_reruns_exactly_the_stages_that_depend_on_the_field(path: str) -> None:
    value, stages = EDITS[path]
    after = edited(BASE, path, value)
    if path == "experience.teacher.apiKeySecretRef.name":
        after = edited(after, "experience.teacher.apiKeySecretRef.key", "k")
    if path == "experience.teacher.apiKeySecretRef.key":
        after = edited(after, "experience.teacher.apiKeySecretRef.name", "k")
    assert expert(after).spec != expert(BASE).spec
    assert rerun(BASE, after) == stages


def test_changing_the_method_trains_again() -> None:
    full = edited(edited(BASE, "training.method", "full"), "training.loraRank", None)
    assert rerun(BASE, full) == FROM_TRAINING
