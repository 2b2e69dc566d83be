"""The one door to mini-SWE-agent, which reads a global `.env`, makes a folder and prints when it is imported.

Everything that needs it calls `exceptions()` or imports it after `prepare()`.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from typing import Any


@functools.cache
def prepare() -> None:
    """Import mini-SWE-agent quietly, without anybody's configuration and without any look at the network."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    quiet = {"MSWEA_SILENT_STARTUP": "1", "MSWEA_GLOBAL_CONFIG_DIR": tempfile.mkdtemp(prefix="repoexpert-mini-")}
    before = {name: os.environ.get(name) for name in quiet}
    os.environ.update(quiet)
    try:
        import minisweagent  # noqa: F401
    finally:
        shutil.rmtree(quiet["MSWEA_GLOBAL_CONFIG_DIR"], ignore_errors=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def exceptions() -> Any:
    """`minisweagent.exceptions`: Submitted, LimitsExceeded, TimeExceeded, FormatError."""
    prepare()
    from minisweagent import exceptions as module

    return module
