"""Does the served model answer? One real chat request, before anybody is pointed at the server."""

from __future__ import annotations

import httpx

from repoexpert.errors import InfrastructureError

QUESTION = "Write one shell command that lists the Python files of this folder."
_TOKENS = 48
_SECONDS = 180.0


async def smoke_test(base_url: str, model: str, api_key: str = "") -> str:
    """The model's answer. Raises InfrastructureError when the request fails or the answer is empty.

    `base_url` ends in /v1. What the answer says is not judged: that was the evaluation's work.
    """
    request = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": _TOKENS,
        "min_tokens": 1,
    }
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
            response = await client.post(f"{base_url}/chat/completions", json=request, headers=headers)
            response.raise_for_status()
            answer = str(response.json()["choices"][0]["message"]["content"] or "")
    except (httpx.HTTPError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InfrastructureError(f"smoke test: {base_url} does not answer a chat request: {error}") from error
    if not answer.strip():
        raise InfrastructureError(f"smoke test: {base_url} gave an empty answer")
    return answer
