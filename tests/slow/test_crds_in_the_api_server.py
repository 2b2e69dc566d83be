"""The CRDs as the Kubernetes API server's own code takes them: definitions, every CEL rule, defaults, and agreement with
`repoexpert validate` on objects changed at random.

`apiserver/` is a small Go program around k8s.io/apiextensions-apiserver; it is built once (about two minutes) where Go is.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from repoexpert.api.base import ApiModel
from repoexpert.api.evaluation import Evaluation, GateRule
from repoexpert.api.experience import Agent, Teacher, Units
from repoexpert.api.expert import RepoExpert, RepoExpertSpec
from repoexpert.api.klass import Autoscaling, Storage, TeacherPolicy
from repoexpert.api.podtypes import EnvVar, NodeRequirement, PodOverrides, Volume
from repoexpert.api.repository import Repository
from repoexpert.api.schemas import walk
from repoexpert.api.training import Training
from repoexpert.api.validation import KINDS, check_text
from tests.unit.api.test_rules import CASES, REPOSITORY

ROOT = Path(__file__).parents[2]
CRDS = {
    "RepoExpert": ROOT / "crds/repoexpert.dev_repoexperts.yaml",
    "RepoExpertClass": ROOT / "crds/repoexpert.dev_repoexpertclasses.yaml",
}
EXAMPLES = [
    document
    for path in sorted((ROOT / "examples").glob("*.yaml"))
    for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)
]
PLACES: dict[type[ApiModel], tuple[str, tuple[str | int, ...]]] = {
    RepoExpert: ("RepoExpert", ()),
    RepoExpertSpec: ("RepoExpert", ("spec",)),
    Repository: ("RepoExpert", ("spec", "repository")),
    Units: ("RepoExpert", ("spec", "experience", "units")),
    Teacher: ("RepoExpert", ("spec", "experience", "teacher")),
    Agent: ("RepoExpert", ("spec", "experience", "agent")),
    Training: ("RepoExpert", ("spec", "training")),
    Evaluation: ("RepoExpert", ("spec", "evaluation")),
    GateRule: ("RepoExpert", ("spec", "evaluation", "gate", 0)),
    Storage: ("RepoExpertClass", ("spec", "storage")),
    TeacherPolicy: ("RepoExpertClass", ("spec", "teacher")),
    Autoscaling: ("RepoExpertClass", ("spec", "serving", "autoscaling")),
    NodeRequirement: ("RepoExpertClass", ("spec", "training", "accelerator", 0)),
    EnvVar: ("RepoExpertClass", ("spec", "podOverrides", "env", 0)),
    Volume: ("RepoExpertClass", ("spec", "podOverrides", "volumes", 0)),
    PodOverrides: ("RepoExpertClass", ("spec", "podOverrides")),
}
NOT_YET = ("is not available yet",)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    built = tmp_path_factory.mktemp("apiserver") / "apiserver"
    command = [go, "build", "-p", "1", "-o", str(built), "."]
    done = subprocess.run(command, cwd=ROOT / "tests/slow/apiserver", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built


def ask(program: Path, kind: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The API server's answers about objects of one kind."""
    done = subprocess.run(
        [program, CRDS[kind]], input="".join(f"{json.dumps(line)}\n" for line in lines), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def whole(model: type[ApiModel], value: dict[str, Any]) -> dict[str, Any]:
    """An otherwise good object with `value` at the place of `model`."""
    kind, path = PLACES[model]
    head: dict[str, Any] = {"apiVersion": "repoexpert.dev/v1alpha1", "kind": kind}
    if not path:
        return head | value
    inner: Any = value
    for part in reversed(path):
        inner = [inner] if isinstance(part, int) else {part: inner}
    document: dict[str, Any] = head | {"metadata": {"name": "a"}} | inner
    if kind == "RepoExpert":
        document["spec"].setdefault("repository", dict(REPOSITORY))
    return document


@pytest.mark.parametrize("kind", CRDS)
def test_the_api_server_takes_the_definition(program: Path, kind: str) -> None:
    assert ask(program, kind, []) == []


@pytest.mark.parametrize("case", CASES)
def test_a_rule_refuses_and_accepts_in_cel_what_it_does_in_python(program: Path, case: str) -> None:
    model, refused, field, words, accepted = CASES[case]
    bad, good = ask(program, PLACES[model][0], [{"object": whole(model, refused)}, {"object": whole(model, accepted)}])
    assert (good["errors"], good["unknown"]) == ([], None)
    assert [error for error in bad["errors"] if words in error and field in error], bad["errors"]


def test_only_the_url_is_immutable(program: Path) -> None:
    old = whole(Repository, REPOSITORY)
    moved = whole(Repository, REPOSITORY | {"cutoff": "2021-01-01"})
    other = whole(Repository, REPOSITORY | {"url": "https://example.com/b"})
    fine, refused = ask(program, "RepoExpert", [{"object": moved, "old": old}, {"object": other, "old": old}])
    assert fine["errors"] == []
    assert ["is immutable" in error for error in refused["errors"]] == [True]


def test_every_example_is_accepted_and_completed_as_in_python(program: Path) -> None:
    for kind in CRDS:
        mine = [document for document in EXAMPLES if document["kind"] == kind]
        for document, answer in zip(mine, ask(program, kind, [{"object": each} for each in mine]), strict=True):
            assert (answer["errors"], answer["unknown"]) == ([], None)
            model = KINDS[kind]
            assert model.model_validate(answer["object"]).spec == model.model_validate(document).spec


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 16, 64, 65, 4096, 10**6, 10**7 + 1, 2**31, 2**62, "", "a", "A", "1", "0", "-1", "0.5",
    "1e-5", "x" * 41, "x" * 300, "x" * 5000, "true", "2020-12-31", "2020-13-01", "2021-02-29", "1969-12-31", "2022-01-01",
    "https://a/b", "http://a/b", "https://u@a/b", "ssh://git@h/p", "git@h:p", "file:///x", "full", "lora", "megatron",
    "transformers", "gemini", "openai", "scripted", "base", "served", "heldout", "swe-qa", [], ["a"], ["a", "a"], ["base"],
    ["served"], ["base", "base"], [1], {}, {"a": "b"}, {"name": "a"}, {"name": "a", "key": "k"}, [{"name": "heldout"}],
    [{"name": "swe-qa"}], [{"name": "heldout"}, {"name": "heldout", "limit": 3}],
    [{"metric": "heldout.nll", "maximumRatio": "0.9"}], [{"metric": "swe-qa.score", "minimumGain": "0.9", "over": "served"}],
    [{"metric": "fea-bench.passRate", "minimumGain": "2"}], "3.9", "3.9\n", "main\n", "1Gi", "500m", "hf://a/b", "hf://a",
    "s3://b", "pypi://x", "\u00e9", "a b", "-x", "x-", "nvidia.com/gpu", "Equal", "Exists",
]  # fmt: skip


def changed(document: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The document with one to three fields of its spec set to something at random."""
    document = copy.deepcopy(document)
    paths = [path for path in walk(KINDS[document["kind"]]) if path[0] == "spec" and len(path) > 1]
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        *parents, last = dice.choice(paths)
        place: Any = document
        for name in parents:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[last] = copy.deepcopy(dice.choice(VALUES))
    return document


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", CRDS)
def test_validate_and_the_api_server_agree_on_objects_changed_at_random(program: Path, kind: str, seed: int) -> None:
    dice = random.Random(seed)
    mine = [document for document in EXAMPLES if document["kind"] == kind]
    objects = [changed(dice.choice(mine), dice) for _ in range(1500)]
    answers = ask(program, kind, [{"object": each} for each in objects])
    disagreements = []
    valid = 0
    for each, answer in zip(objects, answers, strict=True):
        problems = check_text(json.dumps(each), "x.yaml").problems
        found = [str(problem) for problem in problems if not any(words in problem.message for words in NOT_YET)]
        if bool(found) != bool(answer["errors"] or answer["unknown"]):
            disagreements.append((found, answer["errors"], answer["unknown"]))
        valid += not found
    assert disagreements == []
    assert valid > 50
