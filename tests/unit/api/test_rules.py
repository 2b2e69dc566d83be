"""Every rule of the CRDs refuses what it is for, in Python as in CEL. A new rule without a row fails here.

The CEL half of each rule is run by the API server's own code; see docs of `tests/integration` and `crds/`. Here its Python
twin is, through the same words.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from repoexpert.api.base import RULE_ERROR, ApiModel
from repoexpert.api.evaluation import Evaluation, GateRule
from repoexpert.api.experience import Agent, Teacher, Units
from repoexpert.api.expert import RepoExpert, RepoExpertSpec
from repoexpert.api.klass import Autoscaling, RepoExpertClass, Storage, TeacherPolicy
from repoexpert.api.podtypes import EnvVar, NodeRequirement, PodOverrides, Volume
from repoexpert.api.repository import Repository
from repoexpert.api.schemas import models_below
from repoexpert.api.training import Training

REPOSITORY = {"url": "https://example.com/a", "cutoff": "2020-12-31"}
NLL = {"metric": "heldout.nll", "maximumRatio": "0.9"}

# a sentence: (model, what it refuses, field blamed, words of the message, the nearest thing that it accepts)
CASES: dict[str, tuple[type[ApiModel], dict[str, Any], str, str, dict[str, Any]]] = {
    "a password in an https URL": (
        Repository,
        REPOSITORY | {"url": "https://me:secret@example.com/a"},
        "url",
        "must not contain credentials",
        REPOSITORY | {"url": "https://example.com/@me/a"},
    ),
    "a password in an ssh URL": (
        Repository,
        REPOSITORY | {"url": "ssh://me:secret@example.com/a"},
        "url",
        "must not contain credentials",
        REPOSITORY | {"url": "ssh://git@example.com/a"},
    ),
    "a mix of nothing": (
        Units,
        {"softwareDesign": 0},
        "",
        "every unit is zero or absent",
        {"softwareDesign": 1},
    ),
    "an empty mix": (Units, {}, "", "every unit is zero or absent", {"semanticRuntimeAlignment": 1}),
    "an openai teacher without a model": (
        Teacher,
        {"provider": "openai"},
        "model",
        "is needed when provider is openai",
        {"provider": "openai", "model": "m"},
    ),
    "a class's openai teacher without a model": (
        TeacherPolicy,
        {"provider": "openai"},
        "model",
        "is needed when provider is openai",
        {"provider": "openai", "model": "m"},
    ),
    "a base URL for gemini": (
        Teacher,
        {"provider": "gemini", "baseUrl": "http://vllm/v1"},
        "baseUrl",
        "belongs to provider openai only",
        {"provider": "openai", "model": "m", "baseUrl": "http://vllm/v1"},
    ),
    "a base URL for a class's gemini": (
        TeacherPolicy,
        {"baseUrl": "http://vllm/v1"},
        "baseUrl",
        "belongs to provider openai only",
        {},
    ),
    "an answer longer than the conversation": (
        Agent,
        {"outputTokens": 4096, "contextTokens": 4096},
        "outputTokens",
        "must be below contextTokens",
        {"outputTokens": 4095, "contextTokens": 4096},
    ),
    "LoRA without a rank": (
        Training,
        {"method": "lora"},
        "loraRank",
        "is needed when method is lora",
        {"method": "lora", "loraRank": 8},
    ),
    "a rank with full training": (
        Training,
        {"loraRank": 8},
        "loraRank",
        "belongs to method lora",
        {"method": "full"},
    ),
    "a learning rate that grows": (
        Training,
        {"learningRate": "1e-5", "minLearningRate": "1.01e-5"},
        "minLearningRate",
        "must not be above learningRate",
        {"learningRate": "1e-5", "minLearningRate": "0.00001"},
    ),
    "megatron without a GPU": (
        Training,
        {"gpus": 0},
        "backend",
        "megatron needs a GPU",
        {"gpus": 0, "backend": "transformers"},
    ),
    "a gate rule without a bound": (
        GateRule,
        {"metric": "heldout.nll"},
        "",
        "needs exactly one of minimumGain and maximumRatio",
        NLL,
    ),
    "a gate rule with both bounds": (
        GateRule,
        NLL | {"minimumGain": "0.1"},
        "",
        "needs exactly one of minimumGain and maximumRatio",
        NLL,
    ),
    "a gain of the nll": (
        GateRule,
        {"metric": "heldout.nll", "minimumGain": "0.1"},
        "minimumGain",
        "does not fit nll",
        NLL,
    ),
    "a ratio of a pass rate": (
        GateRule,
        {"metric": "heldout.passRate", "maximumRatio": "0.9"},
        "maximumRatio",
        "fits nll only",
        {"metric": "heldout.passRate", "minimumGain": "-0.01"},
    ),
    "a gate on a suite that is not listed": (
        Evaluation,
        {"suites": [{"name": "heldout"}], "gate": [{"metric": "fea-bench.passRate", "minimumGain": "0"}]},
        "gate",
        "a rule uses a suite that evaluation.suites does not list",
        {"suites": [{"name": "fea-bench"}], "gate": [{"metric": "fea-bench.passRate", "minimumGain": "0"}]},
    ),
    "the default gate without heldout": (
        Evaluation,
        {"suites": [{"name": "fea-bench"}]},
        "gate",
        "the default gate uses heldout",
        {"suites": [{"name": "fea-bench"}], "gate": []},
    ),
    "a pass rate where no suite runs tests": (
        Evaluation,
        {"suites": [{"name": "swe-qa"}], "gate": [{"metric": "execution.passRate", "minimumGain": "0"}]},
        "gate",
        "needs a suite that is graded by running tests",
        {"suites": [{"name": "swe-qa"}], "gate": [{"metric": "swe-qa.score", "minimumGain": "0"}]},
    ),
    "a gate over a model that does not run": (
        Evaluation,
        {"compareWith": ["base"], "gate": [NLL | {"over": "served"}]},
        "gate",
        "a rule is over a model that compareWith does not list",
        {"compareWith": ["served"], "gate": [NLL | {"over": "served"}]},
    ),
    "an evaluation that ends at the cutoff": (
        RepoExpertSpec,
        {"repository": REPOSITORY, "evaluation": {"until": "2020-12-31"}},
        "evaluation.until",
        "must be after repository.cutoff",
        {"repository": REPOSITORY, "evaluation": {"until": "2021-01-01"}},
    ),
    "a name that is too long for its children": (
        RepoExpert,
        {"metadata": {"name": "a" * 41}, "spec": {"repository": REPOSITORY}},
        "metadata.name",
        "must be at most 40",
        {"metadata": {"name": "a" * 40}, "spec": {"repository": REPOSITORY}},
    ),
    "a name that no Service can have": (
        RepoExpert,
        {"metadata": {"name": "7zip"}, "spec": {"repository": REPOSITORY}},
        "metadata.name",
        "begin with a letter",
        {"metadata": {"name": "z7ip"}, "spec": {"repository": REPOSITORY}},
    ),
    "a store on a volume and in a bucket": (
        Storage,
        {"volume": {}, "s3": {"bucket": "abc"}},
        "",
        "takes volume or s3, not both",
        {"s3": {"bucket": "abc"}},
    ),
    "fewer servers at most than at least": (
        Autoscaling,
        {"minReplicas": 3, "maxReplicas": 2},
        "minReplicas",
        "must not be above maxReplicas",
        {"minReplicas": 2, "maxReplicas": 2},
    ),
    "a node condition without values": (
        NodeRequirement,
        {"key": "gpu", "operator": "In"},
        "values",
        "must hold a value",
        {"key": "gpu", "operator": "Exists"},
    ),
    "a variable without a value": (
        EnvVar,
        {"name": "A"},
        "",
        "needs exactly one of value and secretKeyRef",
        {"name": "A", "value": ""},
    ),
    "a volume from nowhere": (
        Volume,
        {"name": "a"},
        "",
        "needs exactly one of configMap",
        {"name": "a", "emptyDir": {}},
    ),
    "a mount of a volume that is not there": (
        PodOverrides,
        {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
        "volumeMounts",
        "mounts a volume that podOverrides.volumes does not list",
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/a"}]},
    ),
}


def broken(model: type[ApiModel], value: dict[str, Any]) -> list[tuple[str, str]]:
    """(field, message) of the rules that a value breaks; empty when it is fine."""
    try:
        model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        return [
            problem
            for detail in error.errors(include_url=False)
            if detail["type"] == RULE_ERROR
            for problem in detail["ctx"]["problems"]
        ]
    return []


@pytest.mark.parametrize("case", CASES)
def test_a_rule_refuses_what_it_is_for(case: str) -> None:
    model, refused, field, words, _ = CASES[case]
    assert [found for found, message in broken(model, refused) if words in message] == [field]


@pytest.mark.parametrize("case", CASES)
def test_a_rule_lets_the_nearest_good_value_pass(case: str) -> None:
    model, _, _, _, accepted = CASES[case]
    model.model_validate(accepted, by_alias=True, by_name=False)


def test_every_rule_has_a_case() -> None:
    rules = {
        (model, rule.message)
        for root in (RepoExpert, RepoExpertClass)
        for model in models_below(root)
        for rule in model.validations
    }
    tried = {
        (model, message)
        for model, refused, field, words, _ in CASES.values()
        for found, message in broken(model, refused)
        if found == field and words in message
    }
    assert rules - tried == set()


def test_the_url_cannot_change_but_everything_else_can() -> None:
    old = Repository.model_validate(REPOSITORY)
    moved = Repository.model_validate(REPOSITORY | {"cutoff": "2021-01-01", "ref": "stable"})
    other = Repository.model_validate(REPOSITORY | {"url": "https://example.com/b"})
    assert [rule.holds(moved, old) for rule in Repository.transitions] == [True]
    assert [rule.message for rule in Repository.transitions if not rule.holds(other, old)] == [
        "is immutable: another repository is another RepoExpert"
    ]


def test_only_the_url_is_immutable() -> None:
    models = [model for root in (RepoExpert, RepoExpertClass) for model in models_below(root)]
    assert [model for model in models if model.transitions] == [Repository]
