from __future__ import annotations

import pytest

from repoexpert.local.state import Meter, StageStatus


def metered(*samples: tuple[float, int, int | None]) -> Meter:
    meter = Meter()
    for when, done, total in samples:
        meter.add(when, done, total)
    return meter


CASES = {
    "nothing is known at first": ([], None, None),
    "one sample tells no rate": ([(0, 1, 10)], None, None),
    "two samples tell rate and time left": ([(0, 0, 10), (2, 4, 10)], 2.0, 3.0),
    "work done before a resume does not count as speed": ([(0, 90, 100), (10, 95, 100)], 0.5, 10.0),
    "without a total there is a rate and no end": ([(0, 0, None), (2, 4, None)], 2.0, None),
    "a new total is a new phase": ([(0, 0, 10), (2, 10, 10), (3, 0, 40)], None, None),
    "a smaller count is a new phase": ([(0, 5, 10), (2, 9, 10), (3, 1, 10), (4, 2, 10)], 1.0, 8.0),
    "only the last two minutes count": ([(0, 0, 1000), (100, 10, 1000), (200, 20, 1000), (300, 220, 1000)], 2.0, 390.0),
    "no progress is no rate": ([(0, 3, 10), (5, 3, 10)], None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_rate_and_time_left(case: str) -> None:
    samples, rate, eta = CASES[case]
    meter = metered(*samples)
    assert (meter.rate, meter.eta) == (rate, eta)


def test_only_news_is_news() -> None:
    row = StageStatus("tasks", "f", state="running")
    assert row.report({"done": 1, "total": 5, "message": "x", "updated": 1.0, "loss": 2.5})
    assert not row.report({"done": 1, "total": 5, "message": "x", "updated": 2.0, "loss": 2.5})
    assert row.report({"done": 1, "total": 5, "message": "x", "updated": 3.0, "loss": 2.4})
    assert (row.done, row.total, row.facts) == (1, 5, {"loss": 2.4})


def test_time_goes_on_over_tries_until_the_end() -> None:
    row = StageStatus("tasks", "f")
    assert row.elapsed(5.0) is None
    row.begin(10.0, 1)
    row.begin(20.0, 2)
    assert (row.elapsed(25.0), row.attempt) == (15.0, 2)
    row.end("done", 30.0)
    assert row.elapsed(99.0) == 20.0


def test_a_malformed_report_does_no_harm() -> None:
    row = StageStatus("tasks", "f", state="running")
    assert row.report({"done": None, "message": None, "total": "many"})
    assert row.meter.rate is None
