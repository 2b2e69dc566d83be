"""Reading the held-out rows that the NLL is measured on."""

from __future__ import annotations

import json
from pathlib import Path

from repoexpert.training.nll_forward import read_rows


def test_line_separators_inside_a_conversation_do_not_end_its_row(tmp_path: Path) -> None:
    rows = [{"id": "a/1", "messages": [{"role": "user", "content": "one\u2028two\u0085three"}]}, {"id": "b/1"}]
    file = tmp_path / "heldout.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert read_rows(file) == rows
