"""Which teachers a budget can bound."""

from __future__ import annotations

import pytest

from repoexpert.api.experience import Teacher
from repoexpert.stages.rollout import unpriced


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        (Teacher(provider="gemini"), False),
        (Teacher(provider="scripted"), False),
        (Teacher(provider="openai", model="house-model"), True),
    ],
)
def test_a_model_without_a_price_is_known_to_be_one(teacher: Teacher, expected: bool) -> None:
    assert unpriced(teacher) is expected
