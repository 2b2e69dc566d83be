"""The page's text: deterministic, self-contained, nothing embedded can break out."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from repoexpert.evaluation import gate
from repoexpert.evaluation.card import render_card
from repoexpert.evaluation.page import SECTIONS, render_page
from repoexpert.evaluation.records import Report
from repoexpert.evaluation.viewer import Packed, Shown, pack
from tests.builders import reports

EMPTY = Packed((), ())


def page(report: Report | None = None, packed: Packed = EMPTY) -> str:
    made = report or reports.report()
    return render_page(made, gate.decide(made, []), packed)


def test_a_report_round_trips_through_its_file() -> None:
    report = reports.report()
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report
    assert "passRate" in report.model_dump_json(by_alias=True)


def test_the_same_report_gives_the_same_page_and_card() -> None:
    assert page() == page()
    report = reports.report()
    assert render_card(report, gate.decide(report, [])) == render_card(report, gate.decide(report, []))


def test_every_section_is_linked_and_there() -> None:
    text = page()
    for identity, _ in SECTIONS:
        assert f'href="#{identity}"' in text
        assert f'<section id="{identity}">' in text


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert re.findall(r"""(?:src|href)\s*=\s*["']?(?!#|data:)([^"'\s>]+)""", page()) == []
    assert "@import" not in page()
    assert "url(" not in page()


def test_hostile_text_in_the_index_cannot_end_its_element() -> None:
    hostile = "</script><script>alert(1)</script><!--"
    result = reports.attempt(detail=hostile, reason=hostile, model=hostile, outcome="rejected")
    text = page(packed=pack([Shown(hostile, hostile, result, ({"role": hostile, "content": hostile},))]))
    assert hostile not in text
    index = re.search(r'id="index">(.*?)</script>', text, re.DOTALL)
    assert index is not None
    assert json.loads(index.group(1))[0]["detail"] == hostile


def test_a_report_with_nothing_measured_still_renders() -> None:
    bare = reports.report(stages={}, suites=(), models=(), comparisons=(), nll=None, training_curve=())
    text = page(bare)
    assert "No suite was run." in text
    assert "Too few points" in text
    assert "Not measured." in text


def test_what_was_not_scored_is_not_shown_as_zero() -> None:
    unscored = reports.model("base", {"replay-1": [], "replay-2": []})
    text = page(reports.report(models=(unscored,), comparisons=(), nll=None))
    row = re.search(r"<tr><td><span class=\"tag base\">.*?</tr>", text, re.DOTALL)
    assert row is not None
    assert "not measured" in row.group()
    assert "0\u202f%" not in row.group()


def front_matter(report: Report) -> dict[str, Any]:
    text = render_card(report, gate.decide(report, []))
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_the_card_says_that_the_teacher_was_a_script() -> None:
    report = reports.report()
    assert "scripted-teacher" in front_matter(report)["tags"]
    assert "**Scripted teacher.**" in render_card(report, gate.decide(report, []))


def test_the_card_of_a_real_teacher_does_not() -> None:
    subject = reports.report().subject.model_copy(
        update={"scripted_teacher": False, "teacher": "gemini-2.5-pro", "student": "hf://Qwen/Qwen3-4B-Instruct-2507"}
    )
    report = reports.report(subject=subject)
    assert "cripted" not in render_card(report, gate.decide(report, []))
    assert front_matter(report)["base_model"] == "Qwen/Qwen3-4B-Instruct-2507"


def test_the_card_names_cutoff_and_limits() -> None:
    report = reports.report()
    text = render_card(report, gate.decide(report, []))
    assert "2023-12-31" in text
    assert "## Limits" in text
