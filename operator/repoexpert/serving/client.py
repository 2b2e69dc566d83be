"""A mini-SWE-agent configuration for a served model: the protocol and the prompts that it was trained and judged with.

Called by `repoexpert serve`. The file holds no key: litellm reads it from the environment.
"""

from __future__ import annotations

from typing import Any

import yaml

from repoexpert.agent.prompting import prompts_of
from repoexpert.api.expert import RepoExpert
from repoexpert.models.text_protocol import ACTION, OBSERVATION_CHARACTERS, format_error
from repoexpert.sandbox.protocol import TESTBED

KEY_VARIABLE = "HOSTED_VLLM_API_KEY"
"""Where litellm looks for the server's key."""
_HALF = OBSERVATION_CHARACTERS // 2

OBSERVATION_TEMPLATE = f"""\
{{% if output.exception_info %}}<exception>{{{{ output.exception_info }}}}</exception>
{{% endif %}}<returncode>{{{{ output.returncode }}}}</returncode>
{{% if output.output | length < {OBSERVATION_CHARACTERS} %}}<output>
{{{{ output.output }}}}{{% if output.output and not output.output.endswith('\\n') %}}
{{% endif %}}</output>{{% else %}}<warning>
The output of your last command was too long.
Please try a different command that produces less output.
</warning>
<output_head>
{{{{ output.output[:{_HALF}] }}}}
</output_head>
<elided_chars>
{{{{ (output.output | length) - {2 * _HALF} }}}} characters elided
</elided_chars>
<output_tail>
{{{{ output.output[-{_HALF}:] }}}}
</output_tail>{{% endif %}}"""
"""`repoexpert.models.text_protocol.render_observation` as mini-SWE-agent's template; a test holds them equal."""


def client_configuration(expert: RepoExpert, base_url: str, name: str) -> str:
    """YAML for `mini -c FILE`, to be run in a checkout of the repository."""
    agent, sampling = expert.spec.experience.agent, expert.spec.serving.sampling
    prompts = prompts_of("evolutionaryReplay")
    configuration: dict[str, Any] = {
        "agent": {
            "system_template": prompts.system,
            "instance_template": prompts.instance.replace(f"in {TESTBED}", "in this repository"),
            "step_limit": agent.step_limit,
            "cost_limit": 0.0,
            "mode": "confirm",
        },
        "environment": {
            "timeout": agent.command_timeout_seconds,
            "env": {"PAGER": "cat", "GIT_PAGER": "cat", "PIP_PROGRESS_BAR": "off", "TQDM_DISABLE": "1"},
        },
        "model": {
            "model_class": "litellm_textbased",
            "model_name": f"hosted_vllm/{name}",
            "cost_tracking": "ignore_errors",
            "action_regex": ACTION.pattern,
            "format_error_template": _format_error_template(),
            "observation_template": OBSERVATION_TEMPLATE,
            "model_kwargs": {
                "api_base": base_url,
                "max_tokens": agent.output_tokens,
                "temperature": float(sampling.temperature),
                "top_p": float(sampling.top_p),
            },
        },
    }
    return yaml.dump(configuration, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _format_error_template() -> str:
    # The function counts; the template lets mini-SWE-agent count.
    return format_error(0).replace("found 0 actions", "found {{ actions | length }} actions")


class _Dumper(yaml.SafeDumper):
    """Prompts as blocks, so that a person can read them."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
