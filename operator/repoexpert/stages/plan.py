"""An expert's artifacts: which key each stage writes and which it reads. Called by the entry, the runner, the CLI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from repoexpert.api.expert import RepoExpert
from repoexpert.errors import BadInput
from repoexpert.graph.definitions import DEFINITIONS, STAGES, StageName
from repoexpert.graph.fingerprints import fingerprints
from repoexpert.stages.context import Resolution
from repoexpert.storage.records import ArtifactKey
from repoexpert.storage.store import ArtifactStore


def make_plan(expert: RepoExpert, resolution: Resolution) -> dict[StageName, ArtifactKey]:
    """The key that each stage writes, in the order in which stages run."""
    namespace, name = expert.metadata.namespace, expert.metadata.name
    found = fingerprints(expert, resolution)
    return {
        stage: ArtifactKey(namespace=namespace, name=name, stage=stage, fingerprint=found[stage]) for stage in STAGES
    }


def stage_name(name: str) -> StageName:
    """Check a stage's name. Raises BadInput."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise BadInput(f"there is no stage {name!r}; stages are {', '.join(STAGES)}")


def ancestors(stage: StageName) -> tuple[StageName, ...]:
    """Every stage that this one depends on, directly or not, in order."""
    found: set[StageName] = set()
    queue = list(DEFINITIONS[stage].upstream)
    while queue:
        earlier = queue.pop()
        if earlier not in found:
            found.add(earlier)
            queue.extend(DEFINITIONS[earlier].upstream)
    return tuple(name for name in STAGES if name in found)


class Inputs(Mapping[str, Path]):
    """Artifact folders of all ancestors. Direct upstream is fetched and checked at once, the rest when it is asked for:
    an artifact that only served to make a complete one may have been removed."""

    def __init__(self, stage: StageName, keys: Mapping[StageName, ArtifactKey], store: ArtifactStore) -> None:
        direct = DEFINITIONS[stage].upstream
        missing = [name for name in direct if store.manifest(keys[name]) is None]
        if missing:
            raise BadInput(
                f"stage {stage} reads {', '.join(missing)}, which the store {store.url} does not have for this spec: "
                f"run `repoexpert run --until {missing[-1]}` first"
            )
        self._fetched: dict[str, Path] = {name: store.fetch(keys[name]) for name in direct}
        self._available = {
            str(name): keys[name]
            for name in ancestors(stage)
            if name in direct or store.manifest(keys[name]) is not None
        }
        self._store = store

    def __getitem__(self, name: str) -> Path:
        if name not in self._fetched:
            self._fetched[name] = self._store.fetch(self._available[name])
        return self._fetched[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._available)

    def __len__(self) -> int:
        return len(self._available)
