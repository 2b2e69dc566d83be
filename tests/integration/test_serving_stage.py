"""The serving stage's decisions on a real store: what is promoted, what is written, what the commands say.

Starting vLLM is for tests/slow: here a candidate either fails its gate or is not to be offered.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from repoexpert.api.expert import RepoExpert
from repoexpert.cli.main import build
from repoexpert.errors import BadInput
from repoexpert.progress import NoProgress
from repoexpert.serving import models
from repoexpert.stages import serving
from repoexpert.stages.context import Resolution, StageContext
from repoexpert.stages.plan import make_plan
from repoexpert.stages.resolution import record_name
from repoexpert.storage.store import ArtifactStore, open_store
from tests.builders import reports

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RESOLUTION = Resolution(url="file:///srv/boltons", cutoff_commit="a" * 40, until_commit="b" * 40)
EASY, HARD = "0.9", "0.1"


def manifest(maximum_ratio: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "repoexpert.dev/v1alpha1",
        "kind": "RepoExpert",
        "metadata": {"name": "boltons"},
        "spec": {
            "repository": {"url": "file:///srv/boltons", "cutoff": "2023-12-31"},
            "evaluation": {"gate": [{"metric": "heldout.nll", "maximumRatio": maximum_ratio}]},
            **spec,
        },
    }


def make_context(tmp_path: Path, maximum_ratio: str = HARD, **spec: Any) -> StageContext:
    """An evaluated candidate whose NLL is 0.64 of the base's."""
    evaluation, training, rollout, work = (tmp_path / name for name in ("evaluation", "training", "rollout", "work"))
    for folder in (evaluation, training / "model", rollout, work):
        folder.mkdir(parents=True, exist_ok=True)
    (evaluation / "report.json").write_text(reports.report().model_dump_json(by_alias=True))
    (training / "model" / "config.json").write_text("{}")
    if not (evaluation / "runs").exists():
        messages = [{"role": "assistant", "content": "```bash\nls\n```"}]
        reports.write_attempt(evaluation / "runs" / "base" / "heldout", reports.attempt(), messages)
        reports.write_attempt(rollout, reports.attempt(scripted=True), messages)
    return StageContext(
        expert=RepoExpert.model_validate(manifest(maximum_ratio, **spec)),
        resolution=RESOLUTION,
        store=open_store(str(tmp_path / "store")),
        inputs={"evaluation": evaluation, "training": training, "rollout": rollout},
        work=work,
        cache=tmp_path / "cache",
        progress=NoProgress(),
        now=lambda: NOW,
    )


def current(store: ArtifactStore) -> dict[str, Any] | None:
    return store.read_record("default", "boltons", "current")


def test_a_candidate_that_fails_its_gate_changes_nothing_that_is_served(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    before = {"model": "default/boltons/training/" + "c" * 64, "since": "2025", "revision": 4}
    context.store.write_record("default", "boltons", "current", before)
    summary = serving.run(context)
    assert (summary["passed"], summary["promoted"], summary["model"]) == (False, False, None)
    assert summary["reason"].startswith("gate not passed: heldout.nll: ratio to base 0.639; wanted at most 0.1")
    assert [rule["passed"] for rule in summary["gate"]] == [False]
    assert current(context.store) == before


def test_a_candidate_that_passes_is_not_promoted_when_serving_is_off(tmp_path: Path) -> None:
    summary = serving.run(context := make_context(tmp_path, EASY, serving={"enabled": False}))
    assert (summary["passed"], summary["promoted"]) == (True, False)
    assert summary["reason"] == "gate passed, but spec.serving.enabled is false"
    assert current(context.store) is None


def test_the_artifact_holds_verdict_page_and_card_and_is_the_same_every_time(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    serving.run(context)
    files = {path.name: path.read_bytes() for path in context.work.iterdir()}
    assert sorted(files) == ["MODEL_CARD.md", "decision.json", "report.html", "report.json"]
    assert json.loads(files["decision.json"])["passed"] is False
    index = files["report.html"].decode().partition('id="index">')[2].partition("</script>")[0]
    assert [row["source"] for row in json.loads(index)] == ["base", "teacher"]
    serving.run(context)
    assert {path.name: path.read_bytes() for path in context.work.iterdir()} == files


def test_a_promotion_is_recorded_with_what_it_replaced_and_once(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    key = make_plan(context.expert, RESOLUTION)["training"]
    old = "default/boltons/training/" + "c" * 64
    context.store.write_record("default", "boltons", "current", {"model": old, "since": "2025", "revision": 4})
    expected = {"model": str(key), "since": NOW.isoformat(), "revision": 5, "previous": old}
    for _ in range(2):
        serving.promote(context, key)
        assert current(context.store) == expected
    found = models.read_current(context.store, "default", "boltons")
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize("record", [{}, {"model": "nonsense", "since": "", "revision": 1}])
def test_a_record_that_cannot_be_read_is_said(tmp_path: Path, record: dict[str, Any]) -> None:
    store = open_store(str(tmp_path))
    store.write_record("default", "boltons", "current", record)
    with pytest.raises(BadInput, match="cannot be read"):
        models.read_current(store, "default", "boltons")


def test_a_training_artifact_without_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no model"):
        models.weights(tmp_path)


def run_command(tmp_path: Path, *arguments: str) -> Any:
    file = tmp_path / "boltons.yaml"
    file.write_text(yaml.safe_dump(manifest(HARD)))
    line = [arguments[0], "-f", str(file), "--store", str(tmp_path / "store"), *arguments[1:]]
    return CliRunner().invoke(build(line), line)


def test_serve_without_a_model_says_how_to_get_one(tmp_path: Path) -> None:
    result = run_command(tmp_path, "serve")
    assert isinstance(result.exception, BadInput)
    assert "no model has passed its gate yet" in str(result.exception)
    assert "repoexpert run -f" in str(result.exception)


def test_serve_with_a_model_that_is_gone_says_so(tmp_path: Path) -> None:
    record = {"model": "default/boltons/training/" + "c" * 64, "since": "2025", "revision": 1}
    open_store(str(tmp_path / "store")).write_record("default", "boltons", "current", record)
    assert "is no longer in" in str(run_command(tmp_path, "serve").exception)


def test_report_prints_and_copies_the_page(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    store = context.store
    store.write_record("default", "boltons", record_name(context.expert), RESOLUTION.model_dump(mode="json"))
    with store.draft(make_plan(context.expert, RESOLUTION)["serving"]) as draft:
        (draft.path / "report.html").write_text("<!doctype html>page")
        draft.complete(summary={}, upstream={}, tools={}, now=NOW)
    printed = run_command(tmp_path, "report").stdout.strip()
    assert Path(printed).read_text() == "<!doctype html>page"
    copied = run_command(tmp_path, "report", "--output", str(tmp_path)).stdout.strip()
    assert copied == str(tmp_path / "report.html")
    assert Path(copied).read_text() == "<!doctype html>page"
    nowhere = run_command(tmp_path, "report", "--output", str(tmp_path / "no" / "page.html"))
    assert "there is no folder" in str(nowhere.exception)


def test_report_before_the_first_run_says_what_to_run(tmp_path: Path) -> None:
    assert "has not run" in str(run_command(tmp_path, "report").exception)
