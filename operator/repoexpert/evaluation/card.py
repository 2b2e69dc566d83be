"""`MODEL_CARD.md` with the front matter that Hugging Face reads. Pure. Called by the serving stage."""

from __future__ import annotations

from typing import Any

import yaml
from markupsafe import Markup

from repoexpert.evaluation import flow
from repoexpert.evaluation.gate import GateDecision
from repoexpert.evaluation.page import suite_rows, template_environment
from repoexpert.evaluation.records import Estimate, Report


def render_card(report: Report, decision: GateDecision) -> str:
    """The card's text."""
    environment = template_environment()
    environment.filters |= {"interval": _interval, "plain": _plain}
    front = yaml.safe_dump(_front_matter(report), sort_keys=False, allow_unicode=True)
    return environment.get_template("MODEL_CARD.md.j2").render(
        report=report,
        decision=decision,
        flow=flow.steps(report.stages),
        suite_rows={info.name: suite_rows(report, info.name) for info in report.suites},
        front_matter=Markup(front),  # noqa: S704 - YAML quotes what it must
    )


def _front_matter(report: Report) -> dict[str, Any]:
    tags = ["code", "repository-centric-learning", "repoexpert"]
    if report.subject.scripted_teacher:
        tags.append("scripted-teacher")
    front: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": tags}
    scheme, _, model = report.subject.student.partition("://")
    if scheme == "hf":
        front["base_model"] = model
    results = _results(report)
    return {**front, "model-index": [{"name": report.subject.name, "results": results}]} if results else front


def _results(report: Report) -> list[dict[str, Any]]:
    candidate = report.model_for("candidate")
    return [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": suite.suite, "type": "repoexpert"},
            "metrics": [{"type": "pass_rate", "value": round(suite.overall.pass_rate.value, 4)}],
        }
        for suite in (candidate.suites if candidate else ())
        if suite.overall.pass_rate is not None
    ]


def _interval(value: Estimate | None) -> str:
    if value is None:
        return "not measured"
    if value.low is None or value.high is None:
        return f"{value.value:.1%}"
    return f"{value.value:.1%} [{value.low:.1%}, {value.high:.1%}]"


def _plain(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"
