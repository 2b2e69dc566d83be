"""The report as one HTML page that needs nothing else. Pure: report, verdict and packed trajectories in, text out.

Called by the serving stage. Everything in a report may come from a hostile repository: jinja2 escapes it, embedded
JSON has every `<` escaped, the script writes trajectory text by textContent only, and a content security policy
allows this page's own style and script by their hashes and nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from repoexpert.evaluation import flow, plots
from repoexpert.evaluation.gate import GateDecision
from repoexpert.evaluation.records import Report, Role, Scores
from repoexpert.evaluation.viewer import Packed

SECTIONS = (
    ("summary", "Summary"),
    ("data-flow", "Data flow"),
    ("environment", "Environment"),
    ("tasks", "Tasks"),
    ("experience", "Experience"),
    ("dataset", "Dataset"),
    ("training", "Training"),
    ("evaluation", "Evaluation"),
    ("nll", "NLL"),
    ("trajectories", "Trajectories"),
)


class _Row(NamedTuple):
    role: Role
    scores: Scores


class _Card(NamedTuple):
    value: str
    label: str


def render_page(report: Report, decision: GateDecision, packed: Packed, outcome: str = "") -> str:
    """The page. `outcome`: a sentence on what became of the candidate."""
    environment = template_environment()
    style, script = template_text("report.css"), template_text("report.js")
    yields = flow.unit_yields(report.stages)
    page = environment.get_template("report.html.j2").render(
        report=report,
        decision=decision,
        outcome=outcome,
        sections=SECTIONS,
        cards=_cards(report, packed),
        flow=flow.steps(report.stages),
        yields=yields,
        yield_columns=list(dict.fromkeys(name for row in yields.values() for name in row)),
        curve=plots.line_plot(
            [(row["step"], row["loss"]) for row in report.training_curve if "step" in row and "loss" in row],
            "step",
            "training loss",
        ),
        suite_plots={info.name: _suite_plot(report, info.name) for info in report.suites},
        suite_rows={info.name: suite_rows(report, info.name) for info in report.suites},
        nll_plot=_nll_plot(report),
        count=len(packed.index),
        index=_embedded(packed.index),
        chunks=[Markup(chunk) for chunk in packed.chunks],  # noqa: S704 - base64 of our own making
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        style_hash=_source_hash(style),
        script_hash=_source_hash(script),
    )
    # A repository may hold half a surrogate pair, which UTF-8 cannot.
    return page.encode("utf-8", errors="replace").decode("utf-8")


def template_environment() -> jinja2.Environment:
    """Escapes everything; an undefined name is an error, not an empty string."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"words": _words, "figure": _figure, "percent": _percent}
    return environment


def template_text(name: str) -> str:
    """A packaged template."""
    return files("repoexpert.evaluation").joinpath("templates", name).read_text(encoding="utf-8")


def _embedded(value: Any) -> Markup:
    """JSON that no content can break out of a script element with."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(safe)  # noqa: S704 - escaped in the line above


def _source_hash(text: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(f"'sha256-{digest}'")  # noqa: S704 - base64


def _words(name: object) -> str:
    """`fooBar_baz` as `foo bar baz`; what looks like a path or an id stays."""
    text = str(name)
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", text) and not text.isupper():
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", text).lower()
    return text


def _figure(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", "\u202f")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}".removesuffix(".0") + "\u202f%"


def _cards(report: Report, packed: Packed) -> list[_Card]:
    cards = [_Card(_figure(step.total), step.label) for step in flow.steps(report.stages) if step.headline]
    roles: tuple[Role, ...] = ("candidate", "base", "served")
    for role in roles:
        model = report.model_for(role)
        for suite in model.suites if model else ():
            rate = suite.overall.pass_rate
            cards.append(_Card(_percent(rate.value) if rate else "–", f"{role}, {suite.suite} pass rate"))
    if report.nll:
        cards += [_Card(f"{row.ratio.value:.3f}", f"NLL, candidate ÷ {row.over}") for row in report.nll.ratios]
    return [*cards, _Card(_figure(len(packed.index)), "trajectories to look at")]


def suite_rows(report: Report, name: str) -> list[_Row]:
    """A row for each model and unit, with one over all units where there are several."""
    return [
        _Row(model.role, scores)
        for model in report.models
        for suite in model.suites
        if suite.suite == name
        for scores in ((suite.overall, *suite.units) if len(suite.units) > 1 else suite.units or (suite.overall,))
    ]


def _suite_plot(report: Report, name: str) -> Markup:
    bars = [
        plots.Bar(f"{row.role}, {_words(row.scores.unit)}", rate.value, rate.low, rate.high, row.role)
        for row in suite_rows(report, name)
        if (rate := row.scores.pass_rate) is not None
    ]
    return plots.interval_plot(bars, "pass rate with 95 % interval") if bars else Markup("")


def _nll_plot(report: Report) -> Markup:
    rows = report.nll.trajectories if report.nll else ()
    points = [
        plots.Point(row.nll["base"], row.nll["candidate"], row.id)
        for row in rows
        if "base" in row.nll and "candidate" in row.nll
    ]
    return plots.paired_plot(points, "base, nats per token", "candidate, nats per token")
