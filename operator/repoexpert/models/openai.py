"""Any OpenAI-compatible endpoint: a hosted model, vLLM in the cluster, the student under evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from repoexpert.api.experience import TEACHER_KEY_VARIABLE
from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.models.chat import Completion, ContextExceeded
from repoexpert.models.rate_limits import RateLimit

_CONTEXT_WORDS = ("context length", "context_length", "context window", "maximum context", "max_model_len", "too long")


@dataclass(frozen=True)
class Sampling:
    """Sampling of one model. None leaves the provider's default; `top_k` and `repetition_penalty` are vLLM's."""

    temperature: Decimal | None = None
    top_p: Decimal | None = None
    top_k: int | None = None
    repetition_penalty: Decimal | None = None
    max_tokens: int | None = None
    seed: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """The values that are set, decimals as strings."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "extra_body"}
        found = {name: str(v) if isinstance(v, Decimal) else v for name, v in values.items() if v is not None}
        return found | ({"extra_body": dict(self.extra_body)} if self.extra_body else {})


class OpenAICompleter:
    """One model behind an OpenAI-compatible API. The key stays in the client; retries 429, 5xx and lost connections."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None,
        api_key: str | None,
        sampling: Sampling,
        timeout: float = 600.0,
        retries: int = 8,
        rate_limit: RateLimit | None = None,
    ) -> None:
        import openai

        self._model = model
        self._sampling = sampling
        self._rate_limit = rate_limit or RateLimit(0)
        # Without a key the SDK refuses to start; servers of one's own take any.
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            timeout=timeout,
            max_retries=retries,
            organization="",
            # A proxy knows nothing of a server on this machine.
            http_client=openai.DefaultHttpxClient(trust_env=False) if _is_here(base_url) else None,
        )
        self._key = api_key
        self._base_url = base_url or "https://api.openai.com/v1"

    @property
    def description(self) -> dict[str, Any]:
        return {"provider": "openai", "model": self._model, "sampling": self._sampling.described()}

    def complete(self, messages: Sequence[dict[str, str]]) -> Completion:
        """Answer a conversation. Raises ContextExceeded, BadInput (key, model name), InfrastructureError (the rest)."""
        import openai

        self._rate_limit.wait()
        try:
            response = self._client.chat.completions.create(
                model=self._model, messages=list(messages), **_request_options(self._sampling)
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise BadInput(
                f"{self._base_url} refuses model {self._model!r} ({error.status_code}): {self._said(error)};"
                f" check spec.experience.teacher and the key in {TEACHER_KEY_VARIABLE}"
            ) from error
        except openai.BadRequestError as error:
            if any(word in str(error).lower() for word in _CONTEXT_WORDS):
                raise ContextExceeded(self._said(error)) from error
            raise InfrastructureError(
                f"{self._base_url} rejects a request to {self._model!r}: {self._said(error)}"
            ) from error
        except openai.OpenAIError as error:
            raise InfrastructureError(
                f"{self._base_url} does not answer for {self._model!r}: {self._said(error)}"
            ) from error
        if not response.choices:
            raise InfrastructureError(f"{self._base_url} gave an answer without choices for {self._model!r}")
        usage = response.usage
        return Completion(
            text=response.choices[0].message.content or "",
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            finish_reason=response.choices[0].finish_reason or "",
        )

    def _said(self, error: Exception) -> str:
        """The service's own sentence, where it gave one, without the key that some repeat in it."""
        body = getattr(error, "body", None)
        told = body.get("message") if isinstance(body, dict) else None
        text = " ".join((told if isinstance(told, str) and told else str(error)).split())
        return (text.replace(self._key, "***") if self._key else text)[:400]


def _is_here(base_url: str | None) -> bool:
    return urlsplit(base_url or "").hostname in ("127.0.0.1", "localhost", "::1")


def _request_options(sampling: Sampling) -> dict[str, Any]:
    extra: dict[str, Any] = dict(sampling.extra_body)
    if sampling.top_k is not None:
        extra["top_k"] = sampling.top_k
    if sampling.repetition_penalty is not None:
        extra["repetition_penalty"] = float(sampling.repetition_penalty)
    options: dict[str, Any] = {
        "temperature": float(sampling.temperature) if sampling.temperature is not None else None,
        "top_p": float(sampling.top_p) if sampling.top_p is not None else None,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    return {name: value for name, value in options.items() if value is not None} | (
        {"extra_body": extra} if extra else {}
    )
