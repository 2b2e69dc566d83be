"""Makes the teacher's model for an attempt from the spec. Called by the rollout stage."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from repoexpert.api.experience import TEACHER_KEY_VARIABLE, Agent, Teacher
from repoexpert.errors import BadInput
from repoexpert.experience.tasks import Task
from repoexpert.models.chat import ChatModel, Completer
from repoexpert.models.gemini import GeminiCompleter
from repoexpert.models.openai import OpenAICompleter, Sampling
from repoexpert.models.pricing import Price, price_of
from repoexpert.models.rate_limits import RateLimit
from repoexpert.models.scripted import ScriptedCompleter, ScriptedTask

ModelFactory = Callable[[Task, int], ChatModel]
"""(task, attempt number from 1) to a model for that attempt alone."""


def teacher_factory(
    teacher: Teacher,
    agent: Agent,
    *,
    test_command: Sequence[str] = ("python", "-m", "pytest"),
    prices: Mapping[str, Price] | None = None,
    requests_per_minute: int = 0,
    environ: Mapping[str, str] = os.environ,
) -> ModelFactory:
    """A factory for the teacher in a spec. One client and one rate limit serve all attempts. BadInput without a key."""
    if teacher.provider == "scripted":
        return lambda task, _: ChatModel(
            ScriptedCompleter(scripted_task(task), test_command=test_command), name="scripted"
        )
    require_key(teacher, environ)
    completer = _completer(teacher, agent, RateLimit(requests_per_minute, burst=10), environ)
    price = price_of(teacher.model, prices)
    return lambda _, __: ChatModel(completer, name=teacher.model, price=price, context_tokens=agent.context_tokens)


def require_key(teacher: Teacher, environ: Mapping[str, str]) -> None:
    """Raises BadInput when the teacher is a service that asks for a key and there is none. Asks nobody."""
    hosted = teacher.provider == "gemini" or (teacher.provider == "openai" and teacher.base_url is None)
    if hosted and not environ.get(TEACHER_KEY_VARIABLE):
        raise BadInput(
            f"spec.experience.teacher: the {teacher.provider} model {teacher.model!r} needs an API key: set the "
            f"variable {TEACHER_KEY_VARIABLE}"
        )


def _completer(teacher: Teacher, agent: Agent, rate_limit: RateLimit, environ: Mapping[str, str]) -> Completer:
    sampling = Sampling(temperature=agent.temperature, top_p=agent.top_p, max_tokens=agent.output_tokens)
    key = environ.get(TEACHER_KEY_VARIABLE)
    if teacher.provider == "gemini":
        return GeminiCompleter(teacher.model, api_key=key, sampling=sampling, rate_limit=rate_limit)
    if teacher.provider == "openai":
        return OpenAICompleter(
            teacher.model, base_url=teacher.base_url, api_key=key, sampling=sampling, rate_limit=rate_limit
        )
    raise BadInput(f"unknown teacher provider {teacher.provider!r}")


def scripted_task(task: Task) -> ScriptedTask:
    """What the scripted teacher may know of a task."""
    tests = (*task.verification.pass_to_pass, *task.verification.fail_to_pass)
    files = [test.partition("::")[0] for test in tests]
    reference_only = set(task.verification.reference_files)
    return ScriptedTask(
        id=task.id,
        reference=task.reference,
        symbols=task.provenance.symbols,
        test_files=tuple(dict.fromkeys(sorted(file for file in files if file not in reference_only)))
        or tuple(dict.fromkeys(sorted(files))),
        tests_only=task.unit == "semanticRuntimeAlignment",
    )
