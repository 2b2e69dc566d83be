"""Fingerprints are the same for the same meaning, whatever the process, order or spelling."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repoexpert.api.expert import RepoExpert
from repoexpert.graph.definitions import DEFINITIONS, STAGES, StageName, downstream, readers
from repoexpert.graph.fingerprints import changed, fingerprints

RESOLUTION = SimpleNamespace(url="https://example.com/a", cutoff_commit="a" * 40, until_commit="b" * 40)
SPEC: dict[str, Any] = {
    "repository": {"url": "https://example.com/a", "cutoff": "2020-12-31"},
    "environment": {"python": "3.9", "install": ["make ä"], "test": {"command": ["pytest"], "paths": ["tests"]}},
    "experience": {"units": {"evolutionaryReplay": 7}, "teacher": {"provider": "scripted"}},
    "training": {"learningRate": "1e-5", "minLearningRate": "1e-6", "epochs": 2, "seed": 42},
    "evaluation": {
        "suites": [{"name": "heldout"}, {"name": "swe-qa", "limit": 3}],
        "compareWith": ["base", "served"],
        "gate": [{"metric": "heldout.nll", "maximumRatio": "0.9"}],
    },
}
GOLDEN: dict[StageName, str] = {
    "environment": "84f57ff050ed47bf53c098a25a610738f90d5028601778585f12247351591cf6",
    "tasks": "8e02a65f8786e4e5c796281f9bc1edf361a4cda0206da04346f807ddd92c4981",
    "rollout": "1823a091bdeeb5e5a2e1621e9f8c529fb4a3fdef64869ab3228a250f5a348be8",
    "dataset": "0330c89f7df02167552cbcf6386e0124fda2af84dcb2f4a9f19774fef9a5ccbb",
    "training": "e97cd9ec7da7da99648b7f8c0b8dcc11c9abc56aa6120cd251856b3833e957a1",
    "evaluation": "510c556999ba0f164f41dc8f3876b6e6277bf11ae7b69da30d6fe3a91cc2ba28",
    "serving": "4feb82fa2fff12a0e84ccbc61da550282d9bc527af9ef5de4954569872a9098a",
}
"""Of SPEC. They change only together with a stage's format: then say so in the changelog, for stored artifacts are
made anew."""

PRINT_FINGERPRINTS = """
import json, sys
from types import SimpleNamespace
from repoexpert.api.expert import RepoExpert
from repoexpert.graph.fingerprints import fingerprints
spec = json.load(sys.stdin)
resolution = SimpleNamespace(url="https://example.com/a", cutoff_commit="a" * 40, until_commit="b" * 40)
json.dump(fingerprints(RepoExpert.model_validate({"metadata": {"name": "a"}, "spec": spec}), resolution), sys.stdout)
"""


def of(spec: dict[str, Any], **resolution: str) -> dict[StageName, str]:
    expert = RepoExpert.model_validate({"metadata": {"name": "a"}, "spec": spec})
    return fingerprints(expert, SimpleNamespace(**vars(RESOLUTION) | resolution))


def shuffled(value: Any, random_: random.Random) -> Any:
    """The same document with its mappings in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random_.shuffle(keys)
        return {key: shuffled(value[key], random_) for key in keys}
    return value


def test_golden_values_hold_across_versions_of_python_and_of_this_code() -> None:
    assert of(SPEC) == GOLDEN


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_another_process_with_another_hash_seed_gives_the_same(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_FINGERPRINTS],
        input=json.dumps(SPEC),
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == of(SPEC)


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(random_: random.Random) -> None:
    assert of(shuffled(SPEC, random_)) == of(SPEC)


@given(
    digits=st.integers(min_value=1, max_value=999_999),
    exponent=st.integers(min_value=-12, max_value=-7),
    zeros=st.integers(min_value=0, max_value=3),
)
def test_two_spellings_of_a_number_are_one_number(digits: int, exponent: int, zeros: int) -> None:
    spellings = (f"{digits}e{exponent}", f"{digits}.{'0' * zeros}0E{exponent:+03d}", f"{digits * 10}e{exponent - 1}")
    low = {"minLearningRate": "0"}
    found = [of(SPEC | {"training": low | {"learningRate": spelling}})["training"] for spelling in spellings]
    assert len(set(found)) == 1


EQUAL: dict[str, dict[str, Any]] = {
    "a default that is written out": {"serving": {"enabled": True, "sampling": {"topK": 20}}},
    "a key with nothing behind it": {"serving": None, "suspend": None},
    "suites in another order": {
        "evaluation": SPEC["evaluation"] | {"suites": [{"name": "swe-qa", "limit": 3}, {"name": "heldout"}]}
    },
    "a set in another order": {"evaluation": SPEC["evaluation"] | {"compareWith": ["served", "base"]}},
    "a unit that is zero": {
        "experience": SPEC["experience"] | {"units": {"evolutionaryReplay": 7, "softwareDesign": 0}}
    },
}


@pytest.mark.parametrize("case", EQUAL)
def test_what_means_the_same_has_the_same_fingerprints(case: str) -> None:
    assert of(SPEC | EQUAL[case]) == of(SPEC)


def test_the_order_of_test_arguments_matters() -> None:
    turned = SPEC["environment"] | {"test": {"command": ["pytest", "-x"], "paths": ["tests"]}}
    back = SPEC["environment"] | {"test": {"command": ["-x", "pytest"], "paths": ["tests"]}}
    assert of(SPEC | {"environment": turned}) != of(SPEC | {"environment": back})


def test_another_cutoff_commit_runs_everything_again() -> None:
    assert changed(of(SPEC), of(SPEC, cutoff_commit="c" * 40)) == STAGES


def test_new_commits_after_the_cutoff_only_evaluate_again() -> None:
    assert changed(of(SPEC), of(SPEC, until_commit="c" * 40)) == ("evaluation", "serving")


def test_a_pin_reaches_its_stage_and_those_after_it() -> None:
    expert = RepoExpert.model_validate({"metadata": {"name": "a"}, "spec": SPEC})
    plain = fingerprints(expert, RESOLUTION)
    assert changed(plain, fingerprints(expert, RESOLUTION, {"training/image": "sha256:1"})) == STAGES[4:]
    assert changed(plain, fingerprints(expert, RESOLUTION, {"dataset": "x"})) == STAGES[3:]


def test_a_pin_for_no_stage_is_refused() -> None:
    expert = RepoExpert.model_validate({"metadata": {"name": "a"}, "spec": SPEC})
    with pytest.raises(ValueError, match="stages that do not exist: trainning/image"):
        fingerprints(expert, RESOLUTION, {"trainning/image": "sha256:1"})


def test_the_name_of_the_expert_is_not_part_of_a_fingerprint() -> None:
    named = [
        fingerprints(RepoExpert.model_validate({"metadata": {"name": name}, "spec": SPEC}), RESOLUTION)
        for name in ("a", "b")
    ]
    assert named[0] == named[1]


def test_every_stage_runs_after_all_it_reads() -> None:
    for position, name in enumerate(STAGES):
        assert all(STAGES.index(upstream) < position for upstream in DEFINITIONS[name].upstream)
    assert tuple(DEFINITIONS) == STAGES


def test_downstream_of_training_is_evaluation_and_serving() -> None:
    assert downstream("training") == ("evaluation", "serving")
    assert downstream("environment") == STAGES[1:]
    assert downstream("serving") == ()


def test_readers_name_the_stages_that_read_a_field() -> None:
    assert readers("training.maxLength") == ("dataset", "training")
    assert readers("experience.agent.stepLimit") == ("rollout", "evaluation")
    assert readers("serving.replicas") == ()
