"""What a commit's message says about the pull request behind it, and which files are source or test."""

from __future__ import annotations

import pytest

from repoexpert.repository.mining import Layout, committed_at, describe


@pytest.mark.parametrize(
    ("subject", "body", "brought", "expected"),
    [
        pytest.param(
            "Merge pull request #12 from ann/fix-it", "Fix it\n\nBecause.", (), ("Fix it", "Because.", "12"), id="GitHub merge"
        ),
        pytest.param(
            "Merge pull request #12 from ann/fix-it", "", ("Second", "Repair the parser"), ("Repair the parser", "", "12"),
            id="a merge without words speaks by its oldest commit of several words",
        ),
        pytest.param("Merge pull request #1 from ann/fix-it", "", (), ("fix it", "", "1"), id="a merge by its branch"),
        pytest.param(
            "Merge branch 'x' into 'main'", "Fix y\n\nMore\n\nSee merge request g/p!34", (), ("Fix y", "More", "34"), id="GitLab merge"
        ),
        pytest.param("Fix y (#56)", "Text", (), ("Fix y", "Text", "56"), id="squash"),
        pytest.param("Fix y", "Text\n", (), ("Fix y", "Text", None), id="plain commit"),
        pytest.param("Merge branch 'topic'", "", ("Add a thing",), ("Add a thing", "", None), id="a merged branch"),
    ],
)  # fmt: skip
def test_a_message_tells_the_pull_request(
    subject: str, body: str, brought: tuple[str, ...], expected: tuple[str, str, str | None]
) -> None:
    assert describe(subject, body, brought) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("src/pkg/core.py", "source"),
        ("src/pkg/testing.py", "source"),
        ("src/pkg/tests/test_core.py", "test"),
        ("tests/helpers.py", "test"),
        ("conftest.py", "test"),
        ("checks/one.py", "test"),
        ("setup.py", "other"),
        ("docs/conf.py", "other"),
        ("src/pkg/data.json", "other"),
    ],
)
def test_files_are_source_test_or_other(path: str, kind: str) -> None:
    assert Layout(("src",), ("pkg",), ("tests", "checks")).kind(path) == kind


def test_tests_beside_the_code_do_not_make_the_package_a_folder_of_tests() -> None:
    layout = Layout(("",), ("pkg",), ("pkg",))
    assert (layout.kind("pkg/core.py"), layout.kind("pkg/test_core.py")) == ("source", "test")


@pytest.mark.parametrize(
    ("when", "seconds", "expected"),
    [
        pytest.param("2024-03-01T12:00:00+02:00", "1709287200", "2024-03-01T12:00:00+02:00", id="as Git writes it"),
        pytest.param("2011-04-03T21:06:40+518:00", "1300000000", "2011-03-13T07:06:40+00:00", id="a zone of 518 hours"),
        pytest.param("3170843-11-07T09:46:39+00:00", "99999999999999", "9999-12-31T23:59:59+00:00", id="a far year"),
        pytest.param("%cI", "", "1970-01-01T00:00:00+00:00", id="no date at all"),
    ],
)
def test_a_date_that_no_calendar_has_does_not_stop_mining(when: str, seconds: str, expected: str) -> None:
    assert committed_at(when, seconds).isoformat() == expected
