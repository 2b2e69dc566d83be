"""Google's Gemini, the paper's teacher, through google-genai."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from repoexpert.api.experience import TEACHER_KEY_VARIABLE
from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.models.chat import Completion, ContextExceeded
from repoexpert.models.openai import Sampling
from repoexpert.models.rate_limits import RateLimit

_RETRY_CODES = frozenset({408, 429, 500, 502, 503, 504})
_CONTEXT_WORDS = ("token count", "exceeds the maximum number of tokens")


class GeminiCompleter:
    """One Gemini model. Retries 429, 5xx and lost connections; the key stays in the client."""

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None,
        sampling: Sampling,
        base_url: str | None = None,
        timeout: float = 600.0,
        retries: int = 8,
        longest_wait: float = 60.0,
        rate_limit: RateLimit | None = None,
    ) -> None:
        from google import genai

        if not api_key:
            raise BadInput(f"the teacher {model!r} needs an API key: set {TEACHER_KEY_VARIABLE}")
        self._model = model
        self._key = api_key
        self._sampling = sampling
        self._rate_limit = rate_limit or RateLimit(0)
        self._retries = retries
        self._longest_wait = longest_wait
        self._client = genai.Client(
            api_key=api_key,
            vertexai=False,
            http_options=genai.types.HttpOptions(base_url=base_url, timeout=int(timeout * 1000)),
        )

    @property
    def description(self) -> dict[str, Any]:
        return {"provider": "gemini", "model": self._model, "sampling": self._sampling.described()}

    def complete(self, messages: Sequence[dict[str, str]]) -> Completion:
        """Answer a conversation. Raises ContextExceeded, BadInput (key, model name), InfrastructureError (the rest)."""
        import httpx
        from google.genai import errors

        attempts = Retrying(
            retry=retry_if_exception(_worth_retrying),
            stop=stop_after_attempt(self._retries + 1),
            wait=wait_random_exponential(multiplier=1, max=self._longest_wait),
            reraise=True,
        )
        try:
            response = attempts(self._ask, messages)
        except errors.APIError as error:
            said = " ".join((error.message or str(error)).split()).replace(self._key, "***")[:400]
            if error.code == 400 and any(word in said.lower() for word in _CONTEXT_WORDS):
                raise ContextExceeded(said) from error
            if error.code in (401, 403, 404) or "api key" in said.lower():
                raise BadInput(
                    f"Gemini refuses model {self._model!r} ({error.code}): {said}; check spec.experience.teacher"
                    f" and the key in {TEACHER_KEY_VARIABLE}"
                ) from error
            raise InfrastructureError(f"Gemini does not answer for {self._model!r}: {said}") from error
        except httpx.HTTPError as error:
            raise InfrastructureError(f"Gemini cannot be reached for {self._model!r}: {error}") from error
        return _completion(response)

    def _ask(self, messages: Sequence[dict[str, str]]) -> Any:
        from google.genai import types

        self._rate_limit.wait()
        system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
        sampling = self._sampling
        return self._client.models.generate_content(
            model=self._model,
            contents=[
                types.Content(
                    role="model" if message["role"] == "assistant" else "user",
                    parts=[types.Part(text=message["content"])],
                )
                for message in messages
                if message["role"] != "system"
            ],
            config=types.GenerateContentConfig(
                system_instruction=system or None,
                temperature=float(sampling.temperature) if sampling.temperature is not None else None,
                top_p=float(sampling.top_p) if sampling.top_p is not None else None,
                top_k=sampling.top_k,
                max_output_tokens=sampling.max_tokens,
                seed=sampling.seed,
            ),
        )


def _worth_retrying(error: BaseException) -> bool:
    import httpx
    from google.genai import errors

    if isinstance(error, errors.APIError):
        return error.code in _RETRY_CODES
    return isinstance(error, httpx.TransportError)


def _completion(response: Any) -> Completion:
    """An answer without text (blocked, or all tokens spent on thinking) is an empty answer: a format error, no crash."""
    candidates = response.candidates or []
    parts = (candidates[0].content.parts or []) if candidates and candidates[0].content else []
    usage = response.usage_metadata
    thinking = (usage.thoughts_token_count or 0) if usage else 0
    reason = candidates[0].finish_reason if candidates else None
    return Completion(
        text="".join(part.text or "" for part in parts if not part.thought),
        prompt_tokens=(usage.prompt_token_count or 0) if usage else 0,
        completion_tokens=((usage.candidates_token_count or 0) if usage else 0) + thinking,
        finish_reason=str(getattr(reason, "value", reason) or "blocked").lower(),
    )
