"""The examples that ship are valid, and the smallest one means the paper's experiment."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from repoexpert.api.expert import RepoExpert
from repoexpert.api.validation import check_text, load_expert

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_valid(name: str) -> None:
    checked = check_text((EXAMPLES / name).read_text(), name)
    assert checked.problems == []
    assert len(checked.experts) == 1


def test_there_is_an_example_of_each_kind() -> None:
    expected = {"smallest.yaml", "django-h200.yaml", "lora.yaml", "private-ssh.yaml", "in-cluster-teacher.yaml"}
    assert expected <= set(FILES)


def test_the_smallest_expert_has_the_papers_values() -> None:
    expert = load_expert(EXAMPLES / "smallest.yaml")
    assert expert.metadata.namespace == "default"
    assert expert.spec.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "repository": {"url": "https://github.com/pytoolz/toolz", "ref": "HEAD", "cutoff": "2024-06-30"},
        "environment": {
            "install": [],
            "test": {"command": [], "timeoutSeconds": 600, "paths": []},
            "systemPackages": [],
        },
        "experience": {
            "units": {
                "softwareDesign": 0,
                "contextualImplementation": 0,
                "evolutionaryReplay": 2048,
                "semanticRuntimeAlignment": 2048,
            },
            "teacher": {"provider": "gemini", "model": "gemini-2.5-pro"},
            "agent": {
                "stepLimit": 64,
                "contextTokens": 48000,
                "outputTokens": 4096,
                "commandTimeoutSeconds": 60,
                "temperature": "1.0",
                "topP": "0.95",
            },
            "rollout": {"concurrency": 256, "attemptsPerTask": 2, "engine": "auto"},
            "budget": {"maxCost": "400", "currency": "USD"},
        },
        "training": {
            "baseModel": {"source": "hf://Qwen/Qwen3-4B-Instruct-2507"},
            "method": "full",
            "backend": "megatron",
            "gpus": 2,
            "nodes": 1,
            "epochs": 2,
            "globalBatchSize": 16,
            "maxLength": 32768,
            "learningRate": "0.00001",
            "minLearningRate": "0.000001",
            "warmupFraction": "0.03",
            "seed": 42,
        },
        "evaluation": {
            "suites": [{"name": "heldout"}],
            "attempts": 3,
            "compareWith": ["base", "served"],
            "gate": [
                {"metric": "execution.passRate", "over": "base", "minimumGain": "0.05", "confidence": "0.9"},
                {"metric": "heldout.nll", "over": "base", "maximumRatio": "0.9"},
            ],
        },
        "serving": {
            "enabled": True,
            "replicas": 1,
            "contextTokens": 48000,
            "sampling": {"temperature": "1.0", "topP": "0.8", "topK": 20, "repetitionPenalty": "1.05"},
        },
        "suspend": False,
        "deletion": {"artifacts": "Retain"},
    }


def test_the_papers_values_written_out_are_the_defaults() -> None:
    written = load_expert(EXAMPLES / "django-h200.yaml").spec
    smallest = load_expert(EXAMPLES / "smallest.yaml").spec
    assert written.training == smallest.training
    assert written.serving == smallest.serving
    assert written.experience.agent == smallest.experience.agent
    assert written.experience.units == smallest.experience.units
    assert written.evaluation.gate == smallest.evaluation.gate


def test_values_come_as_exact_decimals_and_days() -> None:
    expert = load_expert(EXAMPLES / "lora.yaml")
    assert expert.spec.training.learning_rate == Decimal("1e-4")
    assert expert.spec.repository.cutoff == date(2023, 12, 31)


@pytest.mark.parametrize("name", FILES)
def test_an_expert_survives_json(name: str) -> None:
    expert = load_expert(EXAMPLES / name)
    assert RepoExpert.model_validate_json(expert.model_dump_json(by_alias=True)) == expert


def test_an_expert_never_changes() -> None:
    expert = load_expert(EXAMPLES / "smallest.yaml")
    with pytest.raises(ValueError, match="frozen"):
        expert.spec.training.seed = 1
    assert hash(expert.spec) == hash(load_expert(EXAMPLES / "smallest.yaml").spec)
