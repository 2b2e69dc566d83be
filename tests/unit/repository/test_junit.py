"""Reading pytest's report and the probe's stream."""

from __future__ import annotations

import json
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoexpert.repository.junit import BrokenReport, Case, parse_junit
from repoexpert.repository.records import TestResult
from repoexpert.repository.streams import parse_stream
from repoexpert.repository.testing import address, coverage_part, reported_results


def report(*cases: str) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite>{"".join(cases)}</testsuite></testsuites>'.encode()


def case(test: str, inner: str = "") -> str:
    value = quoteattr(json.dumps(test))
    return f'<testcase classname="c" name="n" time="0.5"><properties><property name="repoexpert_id" value={value}/></properties>{inner}</testcase>'


OUTCOMES = {
    "nothing inside": ("", Case("t", "c", "n", "passed", 0.5)),
    "a failure": (
        '<failure message="AssertionError: x">...</failure>',
        Case("t", "c", "n", "failed", 0.5, "AssertionError: x"),
    ),
    "an error in setup": (
        '<error message="failed on setup with &quot;E&quot;"/>',
        Case("t", "c", "n", "error", 0.5, 'failed on setup with "E"', "setup"),
    ),
    "an error in teardown": (
        '<error message="failed on teardown with x"/>',
        Case("t", "c", "n", "error", 0.5, "failed on teardown with x", "teardown"),
    ),
    "a skip": ('<skipped type="pytest.skip" message="m"/>', Case("t", "c", "n", "skipped", 0.5, "m")),
    "an expected failure": ('<skipped type="pytest.xfail" message=""/>', Case("t", "c", "n", "xfailed", 0.5)),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_case_with(name: str) -> None:
    inner, expected = OUTCOMES[name]
    assert parse_junit(report(case("t", inner))) == (expected,)


@given(st.text(min_size=1))
def test_any_test_id_comes_back_as_it_was(test: str) -> None:
    assert [found.id for found in parse_junit(report(case(test)))] == [test]


@given(st.binary())
def test_any_bytes_are_a_report_or_refused(content: bytes) -> None:
    try:
        parse_junit(content)
    except BrokenReport:
        return


def test_an_entity_bomb_is_refused() -> None:
    with pytest.raises(BrokenReport, match="document type"):
        parse_junit(b'<!DOCTYPE x [<!ENTITY a "aa">]><testsuites>&a;</testsuites>')


def test_a_report_in_another_encoding_cannot_smuggle_entities() -> None:
    with pytest.raises(BrokenReport):
        parse_junit('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "a">]><x>&a;</x>'.encode("utf-16"))


def test_a_test_that_passed_and_failed_to_clean_up_counts_as_an_error() -> None:
    found = parse_junit(report(case("t"), case("t", '<error message="failed on teardown with x"/>')))
    assert reported_results(found, [])["t"].outcome == "error"


def test_a_case_without_our_property_is_found_by_pytests_own_address() -> None:
    plain = Case("", "tests.test_a.TestB", "test_c[x/y::z]", "passed", 0.1)
    known = "tests/test_a.py::TestB::test_c[x/y::z]"
    assert address(known) == ("tests.test_a.TestB", "test_c[x/y::z]")
    assert list(reported_results([plain], [known])) == [known]


def stream(*events: dict[str, object], end: str = "\n") -> bytes:
    return ("\n".join(json.dumps(event) for event in events) + end).encode()


START = {"event": "start", "id": "t"}
CALL = {
    "event": "report",
    "id": "t",
    "phase": "call",
    "outcome": "failed",
    "seconds": 0.5,
    "type": "KeyError",
    "message": "m",
}
FINISH = {"event": "finish", "id": "t"}


def test_the_stream_tells_type_message_and_phase() -> None:
    found = parse_stream(stream(START, CALL, FINISH))
    assert found.results == {
        "t": TestResult(id="t", outcome="failed", seconds=0.5, error_type="KeyError", message="m", phase="call")
    }


def test_a_failing_setup_is_an_error_and_no_failure() -> None:
    found = parse_stream(stream(START, {**CALL, "phase": "setup"}, FINISH))
    assert (found.results["t"].outcome, found.results["t"].phase) == ("error", "setup")


def test_the_test_that_was_running_when_the_process_died_is_known() -> None:
    found = parse_stream(stream(START, CALL) + b'{"event": "fin')
    assert (found.running, found.results, found.broken) == ("t", {}, "")


def test_damage_in_the_middle_is_told() -> None:
    assert "line 1" in parse_stream(b"garbage\n" + stream(START, CALL, FINISH)).broken


@given(st.binary())
def test_any_bytes_are_a_stream(content: bytes) -> None:
    parse_stream(content)


_DEEP = b"[" * 100_000


def test_nesting_without_end_is_damage_and_no_crash() -> None:
    assert "line 1" in parse_stream(_DEEP + b"\n" + stream(START, CALL, FINISH)).broken
    with pytest.raises(BrokenReport, match="no JSON"):
        parse_junit(
            report(
                f'<testcase><properties><property name="repoexpert_id" value="{_DEEP.decode()}"/></properties></testcase>'
            )
        )


@pytest.mark.parametrize(
    "content",
    [b"garbage", b"[]", b'{"functions": [], "tests": {"t": [3]}}', b'{"functions": 1, "tests": {"t": [0]}}', _DEEP],
)
def test_damaged_coverage_is_no_coverage(content: bytes) -> None:
    assert coverage_part(content) == {}
