"""The text protocol, the accounting and the context limit around any provider."""

from __future__ import annotations

from decimal import Decimal

import pytest

from repoexpert.models import mini
from repoexpert.models.chat import ChatModel, ContextExceeded
from repoexpert.models.pricing import PRICES, Price, price_of
from repoexpert.models.rate_limits import RateLimit
from repoexpert.models.text_protocol import find_actions, render_observation
from tests.fakes.completers import FakeCompleter, turn

MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]


@pytest.mark.parametrize(
    ("answer", "actions"),
    [
        ("THOUGHT: a\n\n```bash\nls -la\n```", ["ls -la"]),
        ("```bash\ncat <<'EOF'\na\n\nb\nEOF\n```\nmore", ["cat <<'EOF'\na\n\nb\nEOF"]),
        ("```bash   \n ls\n```", ["ls"]),
        ("```sh\nls\n```", []),
        ("```bash\nls```", []),
        ("```bash\na\n```\n```bash\nb\n```", ["a", "b"]),
        ("", []),
    ],
)
def test_actions_are_found_like_in_the_papers_agent(answer: str, actions: list[str]) -> None:
    assert find_actions(answer) == actions


@pytest.mark.parametrize(("answer", "count"), [("no block", 0), (turn("a") + turn("b"), 2)])
def test_an_answer_without_exactly_one_action_stays_in_the_conversation_and_is_told(answer: str, count: int) -> None:
    model = ChatModel(FakeCompleter([answer]), name="m", price=Price(Decimal(1), Decimal(1)))
    with pytest.raises(mini.exceptions().FormatError) as raised:
        model.query(MESSAGES)
    said, told = raised.value.messages
    assert (said["role"], said["content"], said["extra"]["actions"]) == ("assistant", answer, [])
    assert told["extra"] == {"interrupt_type": "FormatError", "n_actions": count}
    assert f"found {count} actions" in told["content"]
    assert (model.usage.calls, model.usage.format_errors, model.usage.cost) == (1, 1, Decimal("0.00011"))


def test_an_empty_answer_does_not_leave_an_empty_message() -> None:
    with pytest.raises(mini.exceptions().FormatError) as raised:
        ChatModel(FakeCompleter([""]), name="m").query(MESSAGES)
    assert raised.value.messages[0]["content"] == "(no answer)"


def test_usage_adds_up_and_only_role_and_content_are_sent() -> None:
    completer = FakeCompleter([turn("ls")], tokens=(1000, 100))
    model = ChatModel(completer, name="m", price=Price(Decimal("1.25"), Decimal(10)))
    answer = model.query([{**message, "extra": {"secret": 1}} for message in MESSAGES])
    model.query(MESSAGES)
    assert answer["extra"]["actions"] == [{"command": "ls"}]
    assert completer.seen[0] == MESSAGES
    assert (model.usage.prompt_tokens, model.usage.completion_tokens) == (2000, 200)
    assert model.usage.cost == Decimal("0.0045")


def _context_status(model: ChatModel, messages: list[dict[str, str]]) -> str:
    with pytest.raises(mini.exceptions().LimitsExceeded) as raised:
        model.query(messages)
    return str(raised.value.messages[0]["extra"]["exit_status"])


def test_a_conversation_longer_than_the_context_ends_before_it_is_sent() -> None:
    completer = FakeCompleter([turn("ls")], tokens=(900, 50))
    model = ChatModel(completer, name="m", context_tokens=1000)
    model.query(MESSAGES)
    longer = [*MESSAGES, {"role": "assistant", "content": turn("ls")}, {"role": "user", "content": "x" * 400}]
    assert _context_status(model, longer) == "ContextExceeded"
    assert len(completer.seen) == 1
    fresh = ChatModel(completer, name="m", context_tokens=1000)
    assert _context_status(fresh, [{"role": "user", "content": "x" * 4000}]) == "ContextExceeded"


def test_a_provider_that_refuses_the_length_ends_the_attempt_and_does_not_crash_it() -> None:
    assert (
        _context_status(ChatModel(FakeCompleter([ContextExceeded("too long")]), name="m"), MESSAGES)
        == "ContextExceeded"
    )


@pytest.mark.parametrize(("length", "whole"), [(0, True), (9_999, True), (10_000, False), (1_000_000, False)])
def test_observations_of_ten_thousand_characters_are_cut_in_the_middle(length: int, whole: bool) -> None:
    text = "a" * (length // 2) + "b" * (length - length // 2)
    shown = render_observation({"output": text, "returncode": 3, "exception_info": ""})
    assert shown.startswith("<returncode>3</returncode>\n")
    if whole:
        assert text in shown
    else:
        assert f"<output_head>\n{'a' * 5000}\n</output_head>" in shown
        assert f"<output_tail>\n{'b' * 5000}\n</output_tail>" in shown
        assert f"{length - 10_000} characters elided" in shown


def test_a_timeout_is_shown_before_the_return_code() -> None:
    shown = render_observation({"output": "so far\n", "returncode": 124, "exception_info": "stopped"})
    assert shown == "<exception>stopped</exception>\n<returncode>124</returncode>\n<output>\nso far\n</output>"


@pytest.mark.parametrize(
    ("prompt", "completion", "cost"),
    [(1_000_000, 0, "2.50"), (100_000, 10_000, "0.225"), (0, 0, "0"), (200_000, 0, "0.25")],
)
def test_long_prompts_of_gemini_cost_more(prompt: int, completion: int, cost: str) -> None:
    assert PRICES["gemini-2.5-pro"].cost(prompt, completion) == Decimal(cost)


def test_a_table_of_ones_own_goes_first_and_an_unknown_model_is_free() -> None:
    own = Price(Decimal(7), Decimal(8))
    assert price_of("gemini-2.5-pro", {"gemini-2.5-pro": own}) == own
    assert price_of("my-model") == Price()


def test_requests_keep_their_distance() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    limit = RateLimit(60, burst=2, clock=lambda: now[0], sleep=sleep)
    for _ in range(4):
        limit.wait()
    assert slept == [1.0, 1.0]
    now[0] += 100
    limit.wait()
    limit.wait()
    assert slept == [1.0, 1.0]
    RateLimit(0, sleep=sleep).wait()
    assert slept == [1.0, 1.0]
