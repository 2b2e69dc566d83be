"""The provider clients against local servers that speak their wire formats (fakes)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from repoexpert.api.experience import Agent, Teacher
from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.models.chat import Completion, ContextExceeded
from repoexpert.models.gemini import GeminiCompleter
from repoexpert.models.openai import OpenAICompleter, Sampling
from repoexpert.rollout.teachers import teacher_factory
from tests.builders.tasks import make_task
from tests.fakes.model_servers import FakeModelServer, gemini_answer, openai_answer, serve

MESSAGES = [
    {"role": "system", "content": "rules"},
    {"role": "user", "content": "task"},
    {"role": "assistant", "content": "first"},
    {"role": "user", "content": "seen"},
]
KEY = "sk-very-secret"
SAMPLING = Sampling(
    temperature=Decimal("1.0"),
    top_p=Decimal("0.8"),
    top_k=20,
    repetition_penalty=Decimal("1.05"),
    max_tokens=64,
    seed=7,
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def _openai(server: FakeModelServer, **options: Any) -> OpenAICompleter:
    return OpenAICompleter(
        "m", base_url=f"{server.url}/v1", **{"api_key": KEY, "sampling": SAMPLING, "retries": 1, **options}
    )


def _gemini(server: FakeModelServer, **options: Any) -> GeminiCompleter:
    return GeminiCompleter(
        "gemini-x",
        base_url=server.url,
        **{"api_key": KEY, "sampling": SAMPLING, "retries": 2, "longest_wait": 0.01, **options},
    )


class TestOpenAI:
    def test_a_request_carries_the_conversation_and_all_sampling(self) -> None:
        with serve(openai_answer("hello")) as server:
            answer = _openai(server).complete(MESSAGES)
        assert answer == Completion("hello", 12, 5, "stop")
        assert server.paths == ["/v1/chat/completions"]
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        assert server.requests[0] == {
            "model": "m",
            "messages": MESSAGES,
            "temperature": 1.0,
            "top_p": 0.8,
            "max_tokens": 64,
            "seed": 7,
            "top_k": 20,
            "repetition_penalty": 1.05,
        }

    def test_a_server_on_this_machine_is_asked_without_the_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with serve(openai_answer("ok")) as server:
            assert _openai(server).complete(MESSAGES).text == "ok"

    def test_unset_sampling_is_left_to_the_server(self) -> None:
        with serve(openai_answer("x")) as server:
            _openai(server, sampling=Sampling(), api_key=None).complete(MESSAGES)
        assert sorted(server.requests[0]) == ["messages", "model"]

    @pytest.mark.parametrize("status", [429, 500, 503, 0])
    def test_passing_trouble_is_tried_again(self, status: int) -> None:
        with serve((status, {"error": {"message": "later"}}), openai_answer("hello")) as server:
            assert _openai(server).complete(MESSAGES).text == "hello"
        assert len(server.requests) == 2

    def test_lasting_trouble_is_an_infrastructure_failure(self) -> None:
        with (
            serve((500, {"error": {"message": "broken"}})) as server,
            pytest.raises(InfrastructureError, match="broken"),
        ):
            _openai(server).complete(MESSAGES)

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_wrong_key_or_model_is_bad_input_and_the_key_is_not_said(self, status: int) -> None:
        with serve((status, {"error": {"message": "no"}})) as server, pytest.raises(BadInput) as raised:
            _openai(server).complete(MESSAGES)
        assert "spec.experience.teacher" in str(raised.value)
        assert KEY not in str(raised.value)

    def test_a_too_long_conversation_is_not_a_failure(self) -> None:
        body = {"error": {"message": "This model's maximum context length is 512 tokens.", "type": "BadRequestError"}}
        with serve((400, body)) as server, pytest.raises(ContextExceeded):
            _openai(server).complete(MESSAGES)

    def test_what_is_recorded_holds_no_key(self) -> None:
        with serve(openai_answer("x")) as server:
            description = _openai(server).description
        assert description["sampling"]["repetition_penalty"] == "1.05"
        assert KEY not in str(description)


class TestGemini:
    def test_a_request_carries_the_conversation_in_geminis_form(self) -> None:
        thought = {"text": "hm", "thought": True}
        with serve(gemini_answer(thought, {"text": "hel"}, {"text": "lo"})) as server:
            answer = _gemini(server).complete(MESSAGES)
        assert answer == Completion("hello", 12, 12, "stop")
        request = server.requests[0]
        assert request["systemInstruction"]["parts"] == [{"text": "rules"}]
        assert [(turn["role"], turn["parts"][0]["text"]) for turn in request["contents"]] == [
            ("user", "task"), ("model", "first"), ("user", "seen"),
        ]  # fmt: skip
        config = request["generationConfig"]
        assert (config["temperature"], config["topP"], config["topK"], config["maxOutputTokens"]) == (1.0, 0.8, 20, 64)
        assert "gemini-x:generateContent" in server.paths[0]
        assert KEY not in server.paths[0]

    @pytest.mark.parametrize("status", [429, 503])
    def test_passing_trouble_is_tried_again(self, status: int) -> None:
        with serve((status, {"error": {"code": status, "message": "later"}}), gemini_answer({"text": "a"})) as server:
            assert _gemini(server).complete(MESSAGES).text == "a"
        assert len(server.requests) == 2

    def test_lasting_trouble_is_an_infrastructure_failure(self) -> None:
        body = {"error": {"code": 503, "message": "overloaded"}}
        with serve((503, body)) as server, pytest.raises(InfrastructureError, match="overloaded"):
            _gemini(server).complete(MESSAGES)
        assert len(server.requests) == 3

    @pytest.mark.parametrize(
        ("status", "message"), [(400, "API key not valid"), (403, "denied"), (404, "no such model")]
    )
    def test_a_wrong_key_or_model_is_bad_input(self, status: int, message: str) -> None:
        body = {"error": {"code": status, "message": message}}
        with serve((status, body)) as server, pytest.raises(BadInput, match=message):
            _gemini(server).complete(MESSAGES)
        assert len(server.requests) == 1

    def test_a_too_long_conversation_is_not_a_failure(self) -> None:
        body = {"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens (8)"}}
        with serve((400, body)) as server, pytest.raises(ContextExceeded):
            _gemini(server).complete(MESSAGES)

    @pytest.mark.parametrize("answer", [gemini_answer(finish="MAX_TOKENS"), (200, {"promptFeedback": {}})])
    def test_an_answer_without_text_is_empty(self, answer: tuple[int, dict[str, Any]]) -> None:
        with serve(answer) as server:
            assert _gemini(server).complete(MESSAGES).text == ""

    def test_without_a_key_nothing_starts(self) -> None:
        with pytest.raises(BadInput, match="REPOEXPERT_TEACHER_API_KEY"):
            GeminiCompleter("gemini-x", api_key="", sampling=SAMPLING)


def test_a_key_that_the_service_repeats_is_in_no_message() -> None:
    body = {"error": {"code": 401, "message": f"Incorrect API key provided: {KEY}."}}
    for make in (_openai, _gemini):
        with serve((401, body)) as server, pytest.raises(BadInput) as refused:
            make(server).complete(MESSAGES)
        assert "Incorrect API key provided: ***." in str(refused.value)
        assert "the key in REPOEXPERT_TEACHER_API_KEY" in str(refused.value)
        assert KEY not in str(refused.value)
        assert "{" not in str(refused.value), "the service's sentence, not its JSON"


class TestTeacherFactory:
    def test_an_openai_teacher_takes_its_sampling_and_limits_from_the_spec(self) -> None:
        with serve(openai_answer("```bash\nls\n```")) as server:
            teacher = Teacher(provider="openai", model="m", base_url=f"{server.url}/v1")
            make = teacher_factory(teacher, Agent(output_tokens=99), environ={"REPOEXPERT_TEACHER_API_KEY": KEY})
            make(make_task(), 1).query(MESSAGES)
        request = server.requests[0]
        assert (request["temperature"], request["top_p"], request["max_tokens"]) == (1.0, 0.95, 99)
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize(
        "teacher", [Teacher(provider="gemini"), Teacher(provider="openai", model="gpt-x")], ids=["gemini", "openai"]
    )
    def test_a_hosted_teacher_without_a_key_is_bad_input(self, teacher: Teacher) -> None:
        with pytest.raises(BadInput, match="REPOEXPERT_TEACHER_API_KEY"):
            teacher_factory(teacher, Agent(), environ={})

    def test_the_scripted_teacher_needs_nothing(self) -> None:
        model = teacher_factory(Teacher(provider="scripted"), Agent(), environ={})(make_task(), 1)
        assert (model.name, model.config["provider"]) == ("scripted", "scripted")
