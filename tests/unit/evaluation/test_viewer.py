"""Packing trajectories: all of them, in order, the same bytes every time."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from repoexpert.errors import InfrastructureError
from repoexpert.evaluation import viewer
from tests.builders.reports import attempt, write_attempt


def unpacked(packed: viewer.Packed) -> list[list[dict[str, str]]]:
    chunks = [json.loads(gzip.decompress(base64.b64decode(chunk))) for chunk in packed.chunks]
    return [chunks[row["chunk"]][row["place"]] for row in packed.index]


def folder_with(tmp_path: Path, count: int, text: str = "hello") -> Path:
    for number in range(1, count + 1):
        write_attempt(
            tmp_path, attempt("replay-000000000001", number), [{"role": "user", "content": f"{text} {number}"}]
        )
    return tmp_path


def test_every_trajectory_is_found_by_its_index(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 12)
    packed = viewer.pack(viewer.load(folder, "teacher"), chunk_characters=20)
    assert len(packed.chunks) > 1
    assert [row["attempt"] for row in packed.index] == list(range(1, 13))
    assert unpacked(packed) == [[{"role": "user", "content": f"hello {number}"}] for number in range(1, 13)]


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 3)
    assert viewer.pack(viewer.load(folder, "base")) == viewer.pack(viewer.load(folder, "base"))


def test_half_written_attempts_are_not_shown(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    (folder / "attempts" / "replay-000000000001" / ".2.partial").mkdir()
    (folder / "attempts" / "replay-000000000001" / ".2.partial" / "result.json").write_text("{")
    assert len(viewer.pack(viewer.load(folder, "base")).index) == 1


def test_a_damaged_result_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 2)
    (folder / "attempts" / "replay-000000000001" / "2" / "result.json").write_text("{}")
    with pytest.raises(InfrastructureError, match="cannot be read"):
        viewer.pack(viewer.load(folder, "base"))


@pytest.mark.parametrize("content", ["{", "[]", '{"messages": 3}', '{"messages": ["x"]}'])
def test_a_damaged_trajectory_is_said_in_its_place(tmp_path: Path, content: str) -> None:
    folder = folder_with(tmp_path, 1)
    (folder / "attempts" / "replay-000000000001" / "1" / "trajectory.traj.json").write_text(content)
    (messages,) = unpacked(viewer.pack(viewer.load(folder, "base")))
    assert messages[0]["role"] == "note"


def test_a_huge_message_is_cut_in_the_middle_and_says_so(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, text="x" * 100_000)
    ((message,),) = unpacked(viewer.pack(viewer.load(folder, "base")))
    assert len(message["content"]) < 41_000
    assert "60002 characters left out" in message["content"]
    assert message["content"].endswith("x 1")


def test_content_in_parts_is_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]
    write_attempt(tmp_path, attempt(), [{"role": "user", "content": parts}, {"role": "exit", "content": None}])
    (messages,) = unpacked(viewer.pack(viewer.load(tmp_path, "base")))
    assert [message["content"] for message in messages] == ["one\n\ntwo", ""]
