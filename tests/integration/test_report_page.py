"""The report page in a real browser: complete, quiet, safe with hostile text, and usable from the keyboard."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from repoexpert.api.evaluation import GateRule
from repoexpert.evaluation import gate, viewer
from repoexpert.evaluation.page import SECTIONS, render_page
from repoexpert.evaluation.records import Report
from tests.builders import reports
from tests.builders.browser import chromium

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'><!-- ]]> \u2028 \ud800 {{ 7 * 7 }}"
RULES = [GateRule(metric="heldout.nll", maximum_ratio=Decimal("0.9"))]


def page_of(folder: Path, count: int, report: Report | None = None, text: str = HOSTILE, turns: int = 3) -> Path:
    """A page with `count` trajectories of `turns` turns."""
    for number in range(count):
        result = (reports.attempt if number % 2 else reports.failed)(f"replay-{number:012d}", 1)
        messages = [{"role": "system", "content": "You work in a shell."}, {"role": "user", "content": text}]
        for turn in range(turns):
            messages += [
                {"role": "assistant", "content": f"THOUGHT: turn {turn} of task {number}\n```bash\nls\n```"},
                {"role": "user", "content": f"<output>{text}</output>"},
            ]
        reports.write_attempt(folder / "teacher", result, messages)
    made = report or reports.report()
    page = folder / "report.html"
    packed = viewer.pack(viewer.load(folder / "teacher", "teacher"), chunk_characters=400_000)
    page.write_text(render_page(made, gate.decide(made, RULES), packed), encoding="utf-8")
    return page


def test_every_section_is_there_and_nothing_is_logged_or_fetched(tmp_path: Path) -> None:
    page = page_of(tmp_path, 4)
    with chromium(tmp_path / "profile") as tab:
        tab.open(page)
        tab.until(
            "document.querySelectorAll('#list button').length === 4 && document.querySelector('#turns pre') !== null"
        )
        sections = tab.value(
            "[...document.querySelectorAll('main section')].filter(s => s.innerText.length > 20).map(s => s.id)"
        )
        assert sections == [identity for identity, _ in SECTIONS]
        assert tab.value("document.querySelectorAll('svg.plot').length") == 3
        assert tab.problems == []
        assert [url for url in tab.requests if not url.startswith(("file://", "data:"))] == []


def test_hostile_text_is_shown_and_never_run(tmp_path: Path) -> None:
    subject = reports.report().subject.model_copy(update={"name": HOSTILE, "repository": HOSTILE, "teacher": HOSTILE})
    stages = {**reports.STAGES, "environment": {HOSTILE: [HOSTILE, {"x": HOSTILE}]}}
    page = page_of(tmp_path, 2, reports.report(subject=subject, stages=stages))
    with chromium(tmp_path / "profile") as tab:
        tab.open(page)
        tab.until("document.querySelector('#turns pre') !== null")
        assert tab.value("window.broken") is None
        assert "onerror" in tab.value("document.querySelector('#turns').innerText")
        assert "onerror" in tab.value("document.querySelector('h1').innerText")
        assert tab.value("document.querySelectorAll('img').length") == 0
        assert tab.problems == []


def test_the_viewer_is_driven_by_keys_and_by_the_search(tmp_path: Path) -> None:
    page = page_of(tmp_path, 6)
    with chromium(tmp_path / "profile") as tab:
        tab.open(page)
        tab.until("document.querySelector('#position').innerText === 'task'")
        tab.press("j")
        tab.until("document.querySelector('#facts h3')?.innerText === 'replay-000000000001, attempt 1'")
        tab.press("ArrowRight")
        assert tab.value("document.querySelector('#position').innerText") == "turn 1 of 3"
        assert "turn 0 of task 1" in tab.value("document.querySelector('#turns').innerText")
        tab.press("k")
        tab.until("document.querySelector('#facts h3').innerText.startsWith('replay-000000000000')")
        tab.press("/")
        assert tab.value("document.activeElement.id") == "search"
        tab.value("search.value = 'tests-failed'; search.dispatchEvent(new Event('input'))")
        tab.until("document.querySelector('#shown').innerText === '3 of 6'")
        tab.value("inside.checked = true; search.value = 'TASK 4'; search.dispatchEvent(new Event('input'))")
        tab.until("document.querySelector('#shown').innerText === '1 of 6'")
        tab.value("search.value = 'nowhere'; search.dispatchEvent(new Event('input'))")
        tab.until("document.querySelector('#facts').innerText === 'Nothing matches.'")
        assert tab.problems == []


def test_five_hundred_long_trajectories_open_fast(tmp_path: Path) -> None:
    page = page_of(tmp_path, 500, text="def function(argument):\n    return argument + 1\n" * 60, turns=12)
    assert page.stat().st_size < 4_000_000
    with chromium(tmp_path / "profile") as tab:
        started = time.monotonic()
        tab.open(page)
        tab.until(
            "document.querySelectorAll('#list button').length === 500 && document.querySelector('#turns pre') !== null"
        )
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(tmp_path: Path, width: int) -> None:
    page = page_of(tmp_path, 2, text="x" * 5000)
    with chromium(tmp_path / "profile") as tab:
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        tab.open(page)
        tab.until("document.querySelector('#turns pre') !== null")
        assert tab.value("document.documentElement.scrollWidth") <= width
