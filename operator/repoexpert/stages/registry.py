"""Which code runs which stage. Imported by name and late: training must not load to print a help page.

The entry takes a registry as an argument, so that tests run it with stages of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from repoexpert.stages.context import Stage

Registry = Mapping[str, str]
"""Stage name to `module:function`."""

STAGES: Registry = {
    name: f"repoexpert.stages.{name}:run"
    for name in ("environment", "tasks", "rollout", "dataset", "training", "evaluation", "serving")
}


def load(registry: Registry, name: str) -> Stage:
    """Import a stage's `run`."""
    module, _, function = registry[name].partition(":")
    return cast(Stage, getattr(importlib.import_module(module), function))
