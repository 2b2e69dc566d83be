"""Reads the JUnit XML that pytest writes. Pure; the content comes from the code under test and is not trusted."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from repoexpert.repository.records import TestOutcome

ID_PROPERTY = "repoexpert_id"
_MOST_BYTES = 128 << 20
"""Parsed, a report takes ten times its size; one of 100,000 tests has a quarter of this."""


class BrokenReport(ValueError):
    """The report is not the XML that pytest writes."""


@dataclass(frozen=True)
class Case:
    """One `testcase` element. `id` is empty when the probe did not name it: a collection error, or no probe."""

    id: str
    classname: str
    name: str
    outcome: TestOutcome
    seconds: float
    message: str = ""
    phase: str = "call"


def parse_junit(content: bytes) -> tuple[Case, ...]:
    """The test cases of a report, in its order. Raises BrokenReport."""
    # pytest escapes every `<` of its data, so a document type is an attack (entity expansion), never a test's output.
    # NUL bytes are another encoding's, which would hide one.
    if len(content) > _MOST_BYTES:
        raise BrokenReport(f"the report has {len(content)} bytes")
    if b"<!" in content or b"\0" in content:
        raise BrokenReport("the report has a document type or is not UTF-8")
    try:
        root = ET.fromstring(content, parser=ET.XMLParser(encoding="utf-8"))  # noqa: S314 - entities refused above
    except ET.ParseError as e:
        raise BrokenReport(f"the report is no XML: {e}") from e
    return tuple(_case(element) for element in root.iter("testcase"))


def _case(element: ET.Element) -> Case:
    outcome: TestOutcome = "passed"
    message, phase = "", "call"
    for child in element:
        if child.tag in ("failure", "error", "skipped"):
            message = child.get("message") or ""
        if child.tag == "failure":
            outcome = "failed"
        elif child.tag == "error":
            outcome = "error"
            phase = _error_phase(message)
        elif child.tag == "skipped":
            outcome = "xfailed" if child.get("type") == "pytest.xfail" else "skipped"
            phase = "collect" if message == "collection skipped" else phase
    return Case(
        id=_id(element),
        classname=element.get("classname") or "",
        name=element.get("name") or "",
        outcome=outcome,
        seconds=_seconds(element.get("time")),
        message=message,
        phase=phase,
    )


def _id(element: ET.Element) -> str:
    for item in element.iterfind("properties/property"):
        if item.get("name") == ID_PROPERTY:
            try:
                value = json.loads(item.get("value") or '""')
            except (ValueError, RecursionError) as e:
                raise BrokenReport(f"the property {ID_PROPERTY} holds no JSON: {e}") from e
            if not isinstance(value, str):
                raise BrokenReport(f"the property {ID_PROPERTY} is no text")
            return value
    return ""


def _error_phase(message: str) -> str:
    if message.startswith("failed on teardown"):
        return "teardown"
    return "collect" if message == "collection failure" else "setup"


def _seconds(value: str | None) -> float:
    try:
        seconds = float(value or 0)
    except ValueError as e:
        raise BrokenReport(f"a test's time is {value!r}") from e
    return seconds if 0 <= seconds < float("inf") else 0.0
