"""`repoexpert status`: what is done, what is running, what is served. Reads the store alone; no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from repoexpert.cli.listing import show
from repoexpert.cli.options import DEFAULT_STORE, AsJson, Cache, File, Store, cache_folder, the_expert, the_store

if TYPE_CHECKING:
    from repoexpert.api.expert import RepoExpert
    from repoexpert.storage.store import ArtifactStore


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", help="Show each stage's state and figures, and the served model.")(status)


def status(file: File, store: Store = DEFAULT_STORE, as_json: AsJson = False, cache: Cache = None) -> None:
    expert = the_expert(file)
    opened = the_store(store, cache)
    rows = stage_rows(expert, opened, cache_folder(cache))
    show(rows, ("stage", "state", "created", "figures"), as_json=as_json, empty="")
    current = opened.read_record(expert.metadata.namespace, expert.metadata.name, "current")
    if as_json:
        typer.echo(json.dumps({"served": current}, ensure_ascii=False))
        return
    typer.echo("")
    if current is None:
        typer.echo("served: no model yet")
        return
    plain = {name: value for name, value in current.items() if isinstance(value, str | int | float | bool)}
    from repoexpert.local.text import printable

    typer.echo("served: " + printable(", ".join(f"{name} {value}" for name, value in plain.items()) or str(current)))


def stage_rows(expert: RepoExpert, store: ArtifactStore, cache: Path) -> list[dict[str, Any]]:
    """One row a stage; without a recorded resolution nothing has run and fingerprints are not known."""
    from repoexpert.graph.definitions import STAGES, StageName
    from repoexpert.graph.states import states
    from repoexpert.local.observing import running
    from repoexpert.local.text import brief
    from repoexpert.stages.plan import make_plan
    from repoexpert.stages.resolution import recorded

    resolution = recorded(expert, store)
    if resolution is None:
        return [{"stage": name, "state": "Missing" if name == STAGES[0] else "Blocked"} for name in STAGES]
    keys = make_plan(expert, resolution)
    manifests = {name: store.manifest(key) for name, key in keys.items()}

    def is_complete(name: StageName, _fingerprint: str) -> bool:
        return manifests[name] is not None

    rows = []
    at_work = running(expert, store, cache)
    for name, state in states({name: key.fingerprint for name, key in keys.items()}, is_complete).items():
        row: dict[str, Any] = {"stage": name, "state": str(state), "fingerprint": keys[name].fingerprint}
        manifest = manifests[name]
        if manifest is not None:
            row |= {
                "created": manifest.created.isoformat(sep=" ", timespec="minutes")[:16],
                "figures": brief(manifest.summary),
                "summary": manifest.summary,
            }
        elif name in at_work:
            row |= {"state": "Running", "figures": at_work[name]}
        rows.append(row)
    return rows
