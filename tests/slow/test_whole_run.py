"""`repoexpert run` from a Git history to a served model: every stage real, only the student is a tiny random model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from repoexpert.graph.definitions import STAGES
from tests.builders.histories import make_library
from tests.fakes.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(1500)

SPEC = """\
    apiVersion: repoexpert.dev/v1alpha1
    kind: RepoExpert
    metadata: {{name: ledger}}
    spec:
      repository: {{url: "{url}", cutoff: "{cutoff}"}}
      experience:
        units: {{evolutionaryReplay: 8, semanticRuntimeAlignment: 8}}
        teacher: {{provider: scripted}}
        agent: {{stepLimit: 8, contextTokens: 7000, outputTokens: 64, commandTimeoutSeconds: 30}}
        rollout: {{concurrency: 4, attemptsPerTask: 1}}
      training:
        baseModel: {{source: "file://{model}"}}
        backend: transformers
        gpus: 0
        epochs: 4
        globalBatchSize: 2
        maxLength: 6000
        learningRate: "1e-2"
        minLearningRate: "1e-3"
      evaluation:
        suites: [{{name: heldout, limit: 2}}]
        attempts: 1
        gate: [{{metric: heldout.nll, maximumRatio: "0.95", over: base}}]
      serving: {{contextTokens: 8000}}
"""


def run(spec: Path, store: Path) -> tuple[int, list[dict[str, object]], str]:
    command = [
        *(sys.executable, "-m", "repoexpert.cli.main", "run"),
        *("-f", str(spec), "--store", str(store), "--json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stdout + done.stderr


def complete(store: Path) -> dict[str, float]:
    return {
        stage: max((path.stat().st_mtime for path in store.glob(f"default/ledger/{stage}/*/manifest.json")), default=0)
        for stage in STAGES
    }


def test_a_history_becomes_a_served_model_that_a_stricter_gate_keeps_and_does_not_replace(tmp_path: Path) -> None:
    library = make_library(tmp_path / "ledger")
    model = make_tiny_model(tmp_path / "model")
    spec, store = tmp_path / "ledger.yaml", tmp_path / "store"
    spec.write_text(dedent(SPEC).format(url=library.url, cutoff=library.cutoff, model=model))

    code, _, output = run(spec, store)
    assert code == 0, output
    served = json.loads((store / "default/ledger/current.json").read_text())
    report = max(store.glob("default/ledger/evaluation/*/report.json"))
    assert json.loads(report.read_text())["format"] == 1
    first = complete(store)
    assert all(first.values())

    started = time.monotonic()
    code, _, output = run(spec, store)
    assert (code, complete(store)) == (0, first), output
    assert time.monotonic() - started < 15

    spec.write_text(spec.read_text().replace('maximumRatio: "0.95"', 'maximumRatio: "0.0001"'))
    code, _, output = run(spec, store)
    assert code == 3, output
    again = complete(store)
    assert {stage for stage in STAGES if again[stage] != first[stage]} == {"serving"}
    assert json.loads((store / "default/ledger/current.json").read_text()) == served
