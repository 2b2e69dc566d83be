"""The artifact of one stage as a folder, for the commands that show what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repoexpert.cli.options import the_expert, the_store
from repoexpert.errors import BadInput
from repoexpert.storage.problems import CorruptArtifact


def artifact_folder(file: Path, store: str, cache: Path | None, stage: str) -> Path:
    """The checked folder of a stage's artifact for this spec. Raises BadInput when the stage has not run."""
    from repoexpert.stages.plan import make_plan, stage_name
    from repoexpert.stages.resolution import recorded

    expert = the_expert(file)
    opened = the_store(store, cache)
    name = stage_name(stage)
    resolution = recorded(expert, opened)
    key = make_plan(expert, resolution)[name] if resolution is not None else None
    if key is None or opened.manifest(key) is None:
        raise BadInput(
            f"stage {name} has not run for this spec in {opened.url}: "
            f"`repoexpert run -f {file} --store {store} --until {name}`"
        )
    return opened.fetch(key)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file; a file that is not there has none."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise CorruptArtifact(f"{path}:{number} is not JSON: {error}") from error
            if isinstance(value, dict):
                yield value
