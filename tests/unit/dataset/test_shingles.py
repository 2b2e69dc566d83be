"""Overlap of texts: exactness of the near-duplicate search, and what counts as contaminated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from repoexpert.dataset.shingles import Reserved, changed_lines, jaccard, near_duplicates, shingles

_LONG = " ".join(f"word{i}" for i in range(100))
_OTHER = " ".join(f"other{i}" for i in range(100))
_PATCH = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-    return 1\n+    return 2\n"


def test_short_texts_are_alike_only_when_equal() -> None:
    assert shingles("") == frozenset()
    assert shingles("a b") == shingles("a   b")
    assert shingles("a b") != shingles("a c")
    assert len(shingles(_LONG)) == 88


@given(st.lists(st.frozensets(st.integers(0, 12), max_size=8), max_size=14), st.sampled_from([0.3, 0.5, 0.85, 1.0]))
def test_the_search_finds_exactly_what_comparing_all_pairs_finds(sets: list[frozenset[int]], threshold: float) -> None:
    kept: list[int] = []
    expected: dict[int, int] = {}
    for position, one in enumerate(sets):
        alike = [other for other in kept if jaccard(one, sets[other]) >= threshold]
        if alike:
            expected[position] = alike[0]
        else:
            kept.append(position)
    assert near_duplicates(sets, threshold) == expected


def test_changed_lines_ignore_place_and_blanks() -> None:
    moved = _PATCH.replace("@@ -1 +1 @@", "@@ -90 +90 @@").replace("    return", "return")
    assert changed_lines(moved) == changed_lines(_PATCH) == ("-return1", "+return2")


def test_a_task_is_contaminated_by_id_patch_or_text_and_clean_otherwise() -> None:
    reserved = Reserved(ids=["held-1"], patches=[_PATCH], texts=[_LONG])
    cases = {
        "the same id": (reserved.reason(["held-1"], [], []), "id"),
        "the same change elsewhere": (reserved.reason([], [_PATCH.replace("-1 +1", "-7 +7")], []), "patch"),
        "half of the text": (reserved.reason([], [], [_LONG[: len(_LONG) * 2 // 3]]), "text"),
        "a few words of it": (reserved.reason([], [], [_OTHER + " " + _LONG[:60]]), None),
        "another text": (reserved.reason(["x"], ["-a\n+b"], [_OTHER]), None),
        "an empty patch": (reserved.reason([], [""], [""]), None),
    }
    assert {name: got for name, (got, _) in cases.items()} == {name: want for name, (_, want) in cases.items()}


def test_nothing_reserved_contaminates_nothing() -> None:
    assert not Reserved()
    assert Reserved().reason(["a"], [_PATCH], [_LONG]) is None
