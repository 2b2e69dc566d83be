"""Task records on disk."""

from __future__ import annotations

from pathlib import Path

from repoexpert.experience.tasks import read_tasks
from tests.builders.tasks import make_task


def test_line_separators_inside_a_task_do_not_end_its_row(tmp_path: Path) -> None:
    tasks = [make_task(number, statement="split at \u2028, \u0085, \u000b and \u001c") for number in (1, 2)]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(task.model_dump_json() + "\n" for task in tasks), encoding="utf-8")
    assert read_tasks(file) == tasks
