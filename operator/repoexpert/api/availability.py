"""What the API describes and this version cannot do yet; `repoexpert validate` and every command that loads a spec say so.

The CRDs do not carry these rules: each function goes, with its line in `unavailable`, in the version that can.
"""

from __future__ import annotations

from repoexpert.api.experience import AVAILABLE_UNITS
from repoexpert.api.expert import RepoExpert
from repoexpert.api.manifests import Path

AVAILABLE_SUITES = frozenset({"heldout"})


def unavailable(expert: RepoExpert) -> list[tuple[Path, str]]:
    """(path, message) of everything in a spec that this version cannot do; such a spec cannot be run."""
    units = [("spec", "experience", "units", unit) for unit in unavailable_units(expert)]
    suites = [("spec", "evaluation", "suites", place, "name") for place in unavailable_suites(expert)]
    engines = [("spec", "experience", "rollout", "engine")] if unavailable_engine(expert) else []
    return [
        *((path, "this unit is not available yet: set it to 0 or remove the line") for path in units),
        *((path, "this suite is not available yet: use heldout, made from the repository itself") for path in suites),
        *((path, "ray is not available yet: use auto or process") for path in engines),
    ]


def unavailable_units(expert: RepoExpert) -> tuple[str, ...]:
    """Units with a quota that cannot be collected yet, by their YAML names."""
    wanted = expert.spec.experience.units
    return tuple(
        field.alias or name
        for name, field in type(wanted).model_fields.items()
        if name not in AVAILABLE_UNITS and getattr(wanted, name) > 0
    )


def unavailable_suites(expert: RepoExpert) -> tuple[int, ...]:
    """Places in the list of the suites that cannot be run yet."""
    return tuple(
        place for place, suite in enumerate(expert.spec.evaluation.suites) if suite.name not in AVAILABLE_SUITES
    )


def unavailable_engine(expert: RepoExpert) -> bool:
    """Whether the spec asks for several rollout workers."""
    return expert.spec.experience.rollout.engine == "ray"
