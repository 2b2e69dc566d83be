"""What a person reads after a mistake: the line, the field, what is wrong, and what to write instead."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from repoexpert.api.availability import unavailable
from repoexpert.api.expert import RepoExpert
from repoexpert.api.klass import RepoExpertClass, with_class
from repoexpert.api.schemas import walk
from repoexpert.api.validation import check_text, load_expert
from repoexpert.errors import BadInput

HEAD = "apiVersion: repoexpert.dev/v1alpha1\nkind: RepoExpert\nmetadata: {name: a}\n"
REPOSITORY = "  repository: {url: https://example.com/a, cutoff: 2020-12-31}\n"
START = HEAD + "spec:\n" + REPOSITORY  # 5 lines


MISTAKES: dict[str, tuple[str, list[str]]] = {
    "an empty file": ("", ["x.yaml: holds no RepoExpert or RepoExpertClass: it is empty"]),
    "only a comment": ("# nothing\n", ["x.yaml: holds no RepoExpert or RepoExpertClass: it is empty"]),
    "only a Secret": (
        "apiVersion: v1\nkind: Secret\n",
        ["x.yaml: holds no RepoExpert or RepoExpertClass: it holds v1 Secret"],
    ),
    "a list of things": ("- a\n- b\n", ["x.yaml:1: must be an object with apiVersion, kind, metadata and spec"]),
    "no kind": (
        "apiVersion: repoexpert.dev/v1alpha1\nspec: {}\n",
        ["x.yaml:1: kind: is required: RepoExpert or RepoExpertClass"],
    ),
    "no apiVersion": (
        "kind: RepoExpert\nspec: {}\n",
        ["x.yaml:1: apiVersion: is required: repoexpert.dev/v1alpha1"],
    ),
    "a kind in small letters": (
        "apiVersion: repoexpert.dev/v1alpha1\nkind: repoexpert\n",
        ['x.yaml:2: kind: must be RepoExpert or RepoExpertClass, not "repoexpert"; did you mean "RepoExpert"?'],
    ),
    "another version": (
        HEAD.replace("v1alpha1", "v1") + "spec: {}\n",
        ['x.yaml:1: apiVersion: must be repoexpert.dev/v1alpha1, not "repoexpert.dev/v1"'],
    ),
    "another group": (
        HEAD.replace("repoexpert.dev", "repoexpert.io") + "spec: {}\n",
        ['x.yaml:1: apiVersion: must be repoexpert.dev/v1alpha1, not "repoexpert.io/v1alpha1"'],
    ),
    "no spec": (HEAD, ["x.yaml:1: spec: is required: What is wanted"]),
    "no name": (
        START.replace("{name: a}", "{}"),
        ["x.yaml:3: metadata.name: is required"],
    ),
    "no repository": (
        HEAD + "spec: {}\n",
        ["x.yaml:4: spec.repository: is required: The Git repository and the day its knowledge ends"],
    ),
    "no cutoff": (
        HEAD + "spec:\n  repository:\n    url: https://example.com/a\n",
        [
            (
                "x.yaml:5: spec.repository.cutoff: is required: Knowledge boundary as YYYY-MM-DD, inclusive, UTC: nothing "
                "after this day is seen in training, everything after it may be used to evaluate"
            )
        ],
    ),
    "a section without anything is the default": (START + "  training:\n", []),
    "a section that is a word": (
        START + "  deletion: Delete\n",
        ['x.yaml:6: spec.deletion: must hold fields (artifacts), not "Delete"'],
    ),
    "a misspelt field": (
        START + "  training:\n    learningrate: '1e-5'\n",
        ['x.yaml:7: spec.training.learningrate: unknown field; did you mean "learningRate"?'],
    ),
    "a field of the wrong section": (
        START + "  epochs: 2\n",
        ["x.yaml:6: spec.epochs: unknown field here; it belongs to spec.training"],
    ),
    "a field that is nothing like any": (
        START + "  deletion: {zzz: 1}\n",
        ["x.yaml:6: spec.deletion.zzz: unknown field; the fields here are artifacts"],
    ),
    "snake case": (
        START + "  training: {lora_rank: 4}\n",
        ['x.yaml:6: spec.training.lora_rank: unknown field; did you mean "loraRank"?'],
    ),
    "a number as a decimal": (
        START + "  training:\n    learningRate: 1e-5\n",
        ['x.yaml:7: spec.training.learningRate: decimal numbers are strings here: write "1e-5" in quotes'],
    ),
    "a version as a number": (
        START + "  environment: {python: 3.10}\n",
        ['x.yaml:6: spec.environment.python: must be a string: write "3.10" in quotes'],
    ),
    "a number in quotes": (
        START + "  training: {gpus: '2'}\n",
        ['x.yaml:6: spec.training.gpus: must be a whole number: remove the quotes around "2"'],
    ),
    "a part of a GPU": (
        START + "  training: {gpus: 0.5}\n",
        ["x.yaml:6: spec.training.gpus: must be a whole number, not 0.5"],
    ),
    "too many GPUs": (
        START + "  training: {gpus: 1000}\n",
        ["x.yaml:6: spec.training.gpus: must be at most 64, not 1000"],
    ),
    "a truth value in quotes": (
        START + "  suspend: 'true'\n",
        ['x.yaml:6: spec.suspend: must be true or false, not "true": remove the quotes'],
    ),
    "a misspelt choice": (
        START + "  training: {method: Lora}\n",
        ['x.yaml:6: spec.training.method: must be one of full, lora, not "Lora"; did you mean "lora"?'],
    ),
    "a suite that does not exist": (
        START + "  evaluation:\n    suites:\n    - name: heldout\n    - name: swe-bench\n",
        [
            (
                "x.yaml:9: spec.evaluation.suites[1].name: must be one of heldout, swe-bench-verified, tdd-bench-verified, "
                'fea-bench, swe-qa, not "swe-bench"; did you mean "swe-bench-verified"?'
            )
        ],
    ),
    "suites as words": (
        START + "  evaluation: {suites: [heldout]}\n",
        ['x.yaml:6: spec.evaluation.suites[0]: must hold fields (name, limit), not "heldout"'],
    ),
    "one suite twice": (
        START + "  evaluation: {suites: [{name: heldout}, {name: heldout, limit: 2}]}\n",
        ["x.yaml:6: spec.evaluation.suites: lists heldout more than once"],
    ),
    "a command as a word": (
        START + "  environment:\n    test: {command: pytest -x}\n",
        ['x.yaml:7: spec.environment.test.command: must be a list, not "pytest -x": write ["pytest -x"]'],
    ),
    "suites without a list": (
        START + "  evaluation: {suites: heldout}\n",
        ['x.yaml:6: spec.evaluation.suites: must be a list of items with the fields name, limit, not "heldout"'],
    ),
    "commands as one text": (
        START + "  environment:\n    install: |\n      make\n      make test\n",
        [
            (
                'x.yaml:7: spec.environment.install: must be a list, each item on its own line after "- ", not '
                '"make\\nmake test\\n"'
            )
        ],
    ),
    "half a name": (
        START + "  experience: {agent: {timeout: 5}}\n",
        ['x.yaml:6: spec.experience.agent.timeout: unknown field; did you mean "commandTimeoutSeconds"?'],
    ),
    "a unit that does not exist": (
        START + "  experience: {units: {evolutionReplay: 5}}\n",
        ['x.yaml:6: spec.experience.units.evolutionReplay: unknown field; did you mean "evolutionaryReplay"?'],
    ),
    "units that are not available yet": (
        START + "  experience:\n    units:\n      softwareDesign: 1\n      contextualImplementation: 2\n",
        [
            "x.yaml:8: spec.experience.units.softwareDesign: this unit is not available yet: set it to 0 or remove the line",
            (
                "x.yaml:9: spec.experience.units.contextualImplementation: this unit is not available yet: "
                "set it to 0 or remove the line"
            ),
        ],
    ),
    "suites and an engine that are not available yet": (
        START
        + "  experience: {rollout: {engine: ray}}\n"
        + "  evaluation:\n    suites:\n    - name: heldout\n    - name: fea-bench\n",
        [
            "x.yaml:6: spec.experience.rollout.engine: ray is not available yet: use auto or process",
            (
                "x.yaml:10: spec.evaluation.suites[1].name: this suite is not available yet: use heldout, made from the "
                "repository itself"
            ),
        ],
    ),
    "an scp-like URL": (
        START.replace("https://example.com/a", "git@example.com:a/b.git"),
        [
            (
                'x.yaml:5: spec.repository.url: "git@example.com:a/b.git" is not a repository URL: write https://HOST/PATH, '
                "ssh://git@HOST/PATH (not git@HOST:PATH) or file:///PATH"
            )
        ],
    ),
    "a model without a scheme": (
        START + "  training: {baseModel: {source: Qwen/Qwen3-4B}}\n",
        [
            (
                'x.yaml:6: spec.training.baseModel.source: "Qwen/Qwen3-4B" is not a model: write hf://ORGANISATION/MODEL, '
                "file:///FOLDER, pypi://PACKAGE or s3://BUCKET/PREFIX"
            )
        ],
    ),
    "a misspelt part of the metadata": (
        START.replace("{name: a}", "{name: a, lables: {x: y}}"),
        ['x.yaml:3: metadata.lables: unknown field; did you mean "labels"?'],
    ),
    "a number as a label": (
        START.replace("{name: a}", "{name: a, labels: {team: 7}}"),
        ['x.yaml:3: metadata.labels.team: must be a string: write "7" in quotes'],
    ),
    "several at once, by line": (
        HEAD + "spec:\n  repository:\n    cutoff: tomorrow\n    url: 3\n  serving: {replicas: -1}\n",
        [
            'x.yaml:6: spec.repository.cutoff: must be a day written "YYYY-MM-DD", not "tomorrow"',
            'x.yaml:7: spec.repository.url: must be a string: write "3" in quotes',
            "x.yaml:8: spec.serving.replicas: must be at least 0, not -1",
        ],
    ),
    "a rule over two fields, at the one to change": (
        START + "  training:\n    method: full\n    loraRank: 8\n",
        ["x.yaml:8: spec.training.loraRank: belongs to method lora: set method: lora, or remove loraRank"],
    ),
    "a rule on a field that is not written, at its section": (
        START + "  training:\n    method: lora\n",
        ["x.yaml:6: spec.training.loraRank: is needed when method is lora, for example loraRank: 16"],
    ),
    "the second document": (
        START + "---\n" + START.replace("2020-12-31", "2020-02-31"),
        ['x.yaml:11: spec.repository.cutoff: "2020-02-31" is not a day of the calendar'],
    ),
    "a class": (
        HEAD.replace("RepoExpert\n", "RepoExpertClass\n") + "spec:\n  sandbox: {network: all}\n",
        ['x.yaml:5: spec.sandbox.network: must be one of none, packages, not "all"'],
    ),
    "a class's quantity": (
        HEAD.replace("RepoExpert\n", "RepoExpertClass\n") + "spec: {sandbox: {resources: {limits: {memory: 4 GB}}}}\n",
        [
            'x.yaml:4: spec.sandbox.resources.limits.memory: "4 GB" is not a quantity such as "500m", "4" or "16Gi"',
        ],
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_explained(case: str) -> None:
    text, expected = MISTAKES[case]
    assert [str(problem) for problem in check_text(text, "x.yaml").problems] == expected


JARGON = ("input", "pydantic", "tuple", "dict", "NoneType", "__", "Traceback", "str ", "instance", "valid value: {")
FIELDS = [path for path in walk(RepoExpert) if path[0] == "spec" and len(path) > 1]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50) | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100)
@given(st.sampled_from(FIELDS), VALUES)
def test_whatever_a_field_holds_the_answer_is_for_people(path: tuple[str, ...], value: Any) -> None:
    document: dict[str, Any] = copy.deepcopy(yaml.load(START, Loader=yaml.BaseLoader))
    place = document
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = value
    for problem in check_text(json.dumps(document), "x.yaml").problems:
        words = problem.message.replace(json.dumps(value), "")
        assert not any(word in words for word in JARGON) or isinstance(value, str | list | dict)
        assert len(problem.message) < 400
        assert problem.line == 1


def test_loading_reports_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(START + "  suspend: 1\n  epochs: 3\n")
    with pytest.raises(BadInput) as caught:
        load_expert(file)
    assert str(caught.value) == (
        f"{file}:6: spec.suspend: must be true or false, not 1\n"
        f"{file}:7: spec.epochs: unknown field here; it belongs to spec.training"
    )


UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "not there": (None, "there is no such file"),
    "binary": (b"\xff\xfe\x00", "is not UTF-8 text"),
    "huge": (b"#" * (2 << 20), "is larger than a manifest may be (1 MiB)"),
    "two experts": ((START + "---\n" + START).encode(), "holds 2 RepoExperts (a, a); give a file with exactly one"),
    "only a class": (
        HEAD.replace("RepoExpert\n", "RepoExpertClass\n").encode(),
        "holds no RepoExpert; give a file with exactly one",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_without_one_expert_is_refused(case: str, tmp_path: Path) -> None:
    data, message = UNREADABLE[case]
    file = tmp_path / "x.yaml"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        load_expert(file)
    assert str(caught.value) == f"{file}: {message}"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder; name the YAML file in it"):
        load_expert(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + START.replace("\n", "\r\n").encode())
    assert load_expert(file).metadata.name == "a"


CLASS = HEAD.replace("RepoExpert\n", "RepoExpertClass\n").replace("name: a", "name: closed") + (
    "spec: {teacher: {provider: scripted}}\n---\n"
)
DEFAULT_CLASS = CLASS.replace("name: closed", "name: closed, annotations: {repoexpert.dev/is-default-class: 'true'}")
BESIDE: dict[str, tuple[str, str]] = {
    "the class it names": (CLASS + START + "  className: closed\n", "scripted"),
    "a class it does not name": (CLASS + START + "  className: open\n", "gemini"),
    "a class, and it names none": (CLASS + START, "gemini"),
    "the default class": (DEFAULT_CLASS + START, "scripted"),
    "the default class, and its own teacher": (
        DEFAULT_CLASS + START + "  experience: {teacher: {provider: openai, model: m}}\n",
        "openai",
    ),
}


@pytest.mark.parametrize("case", BESIDE)
def test_a_class_beside_an_expert_counts_as_in_a_cluster(case: str, tmp_path: Path) -> None:
    text, provider = BESIDE[case]
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert load_expert(file).spec.experience.teacher.provider == provider


def test_what_kubectl_get_prints_can_be_checked(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    metadata = "{name: a, uid: b, resourceVersion: '1', generation: 3, creationTimestamp: 2026-01-01T00:00:00Z}"
    status = "status:\n  observedGeneration: 3\n  phase: Training\n  fromALaterVersion: {x: 1}\n"
    file.write_text(START.replace("{name: a}", metadata) + status)
    expert = load_expert(file)
    assert expert.metadata.generation == 3
    assert expert.status is not None
    assert expert.status.phase == "Training"


def test_the_default_mix_holds_available_units_only() -> None:
    expert = check_text(START, "x").experts[0]
    assert unavailable(expert) == []
    wanted = check_text(START, "x").experts[0].spec.experience.units
    assert (wanted.evolutionary_replay, wanted.semantic_runtime_alignment) == (2048, 2048)


def test_a_class_gives_its_teacher_to_an_expert_that_names_none() -> None:
    klass = RepoExpertClass.model_validate(
        {"metadata": {"name": "c"}, "spec": {"teacher": {"provider": "openai", "model": "m", "baseUrl": "http://m/v1"}}}
    )
    plain = check_text(START, "x").experts[0]
    chosen = check_text(START + "  experience: {teacher: {provider: scripted}}\n", "x").experts[0]
    assert with_class(plain, klass).spec.experience.teacher.model_dump(exclude_none=True) == {
        "provider": "openai",
        "model": "m",
        "base_url": "http://m/v1",
    }
    assert with_class(plain, klass).spec.training == plain.spec.training
    assert with_class(chosen, klass) == chosen
    assert isinstance(with_class(plain, klass), RepoExpert)
