"""The configuration for mini-SWE-agent says what the model was trained with."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jinja2 import StrictUndefined, Template

from repoexpert.agent.prompting import prompts_of
from repoexpert.models.text_protocol import ACTION, find_actions, format_error, render_observation
from repoexpert.serving.client import client_configuration
from tests.unit.evaluation.test_suites import expert


def configuration() -> dict[str, Any]:
    return dict(yaml.safe_load(client_configuration(expert(), "http://127.0.0.1:8000/v1", "ledger")))


OUTPUTS: dict[str, dict[str, Any]] = {
    "nothing": {"output": "", "returncode": 0},
    "a line": {"output": "hello\n", "returncode": 0},
    "no newline at the end": {"output": "hello", "returncode": 1},
    "stopped": {"output": "x\n", "returncode": 124, "exception_info": "The command was stopped after 60 seconds."},
    "just short enough": {"output": "x" * 9_999, "returncode": 0},
    "too long": {"output": "a" * 5_000 + "b" * 7_000, "returncode": 0},
    "a template inside": {"output": "{{ 7 * 7 }} {% raw %}\n", "returncode": 0},
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_observation_reads_as_in_training(case: str) -> None:
    output = {"exception_info": "", **OUTPUTS[case]}
    template = Template(configuration()["model"]["observation_template"], undefined=StrictUndefined)
    assert template.render(output=output) == render_observation(output)


@pytest.mark.parametrize("count", [0, 2])
def test_a_format_error_reads_as_in_training(count: int) -> None:
    template = Template(configuration()["model"]["format_error_template"], undefined=StrictUndefined)
    assert template.render(actions=["x"] * count) == format_error(count).rstrip("\n")


def test_the_protocol_and_the_system_prompt_are_those_of_training() -> None:
    found = configuration()
    assert found["model"]["action_regex"] == ACTION.pattern
    assert found["agent"]["system_template"] == prompts_of("evolutionaryReplay").system
    assert len(find_actions(found["agent"]["system_template"])) == 1


def test_the_prompt_speaks_of_the_users_checkout() -> None:
    template = configuration()["agent"]["instance_template"]
    assert "/testbed" not in template
    rendered = Template(template, undefined=StrictUndefined).render(task="T", timeout=60, step_limit=64)
    assert "in this repository" in rendered


def test_the_file_holds_endpoint_and_no_key() -> None:
    model = configuration()["model"]
    assert model["model_name"] == "hosted_vllm/ledger"
    assert model["model_kwargs"]["api_base"] == "http://127.0.0.1:8000/v1"
    assert "key" not in " ".join(model["model_kwargs"])
