"""Tasks of a suite that repeat what was trained on are found, told and not counted."""

from __future__ import annotations

import json
from pathlib import Path

from repoexpert.evaluation.overlaps import Overlaps, describe, find_overlaps, trained_tasks
from repoexpert.evaluation.records import SuiteInfo
from tests.builders.tasks import REFERENCE, make_task

_OTHER = REFERENCE.replace("x + 1", "max(x, 0)").replace("lib.py", "other.py")
_WORDS = "the parser forgets the second separator when a line ends in two blanks and a comment follows it"


def test_a_change_made_again_is_the_same_change_wherever_it_stands() -> None:
    moved = make_task(2, reference=REFERENCE.replace("@@ -1,2 +1,2 @@", "@@ -41,2 +41,2 @@"), statement="other words")
    fresh = make_task(3, reference=_OTHER, statement="something else is wrong")
    assert find_overlaps([moved, fresh], [make_task(1)]) == Overlaps(same_change=(moved.id,))


def test_a_statement_told_again_is_similar_text() -> None:
    again = make_task(2, reference=_OTHER, statement=f"{_WORDS} today")
    assert find_overlaps([again], [make_task(1, statement=_WORDS)]) == Overlaps(similar_text=(again.id,))


def test_nothing_overlaps_with_nothing() -> None:
    assert find_overlaps([make_task(1)], []) == Overlaps()


def test_only_tasks_with_a_row_were_trained_on(tmp_path: Path) -> None:
    one, two = make_task(1), make_task(2)
    train = tmp_path / "train.jsonl"
    train.write_text(json.dumps({"id": f"{two.id}/1", "messages": [{"content": "\u2028"}]}, ensure_ascii=False) + "\n")
    assert trained_tasks(train, [one, two]) == [two]


def test_the_report_tells_what_is_not_counted() -> None:
    info = SuiteInfo(name="heldout", tasks=3, units={}, description="Later work", summary={"a": 1})
    told = describe(info, Overlaps(("t1",), ("t2",)))
    assert told.description == "Later work; 1 of them repeat a change that was trained on and are not counted"
    assert told.summary == {"a": 1, "overlapWithTraining": {"sameChange": ["t1"], "similarText": ["t2"]}}
