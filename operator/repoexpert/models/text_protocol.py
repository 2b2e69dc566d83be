"""The paper's text protocol: an answer holds exactly one ```bash block, an observation is <returncode> and <output>.

Pure. The same strings are used when trajectories are collected, trained on and evaluated.
"""

from __future__ import annotations

import re
from typing import Any

ACTION = re.compile(r"```bash\s*\n(.*?)\n```", re.DOTALL)
"""As in the paper's evaluation configuration (mini-SWE-agent 1.17, `action_regex`)."""

OBSERVATION_CHARACTERS = 10_000
_HALF = 5_000

_FORMAT_ERROR = """Please always provide EXACTLY ONE action in triple backticks, found {count} actions.
If you want to end the task, please issue the following command: `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT` \
without any other command.
Else, please format your response exactly as follows:

<response_example>
THOUGHT: Here are some thoughts about why you want to perform the action.

```bash
<action>
```
</response_example>"""

_TOO_LONG = """<warning>
The output of your last command was too long.
Please try a different command that produces less output.
</warning>
"""


def find_actions(answer: str) -> list[str]:
    """The commands in an answer; a well-formed answer has exactly one."""
    return [action.strip() for action in ACTION.findall(answer)]


def format_error(count: int) -> str:
    """What the agent is told when its answer has `count` actions instead of one."""
    return _FORMAT_ERROR.format(count=count)


def render_observation(output: dict[str, Any]) -> str:
    """What the agent sees of a command; from 10,000 characters on the first and last 5,000 with a warning."""
    text = str(output.get("output", ""))
    problem = output.get("exception_info") or ""
    head = f"<exception>{problem}</exception>\n" if problem else ""
    head += f"<returncode>{output.get('returncode')}</returncode>\n"
    if len(text) < OBSERVATION_CHARACTERS:
        end = "" if text.endswith("\n") or not text else "\n"
        return f"{head}<output>\n{text}{end}</output>"
    elided = len(text) - 2 * _HALF
    return (
        f"{head}{_TOO_LONG}<output_head>\n{text[:_HALF]}\n</output_head>\n"
        f"<elided_chars>\n{elided} characters elided\n</elided_chars>\n"
        f"<output_tail>\n{text[-_HALF:]}\n</output_tail>"
    )
