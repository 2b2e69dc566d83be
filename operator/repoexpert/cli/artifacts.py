"""`repoexpert artifacts ls|rm|verify`: what the store holds, expert by expert."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repoexpert.cli.listing import show, size
from repoexpert.cli.options import DEFAULT_STORE, AsJson, Cache, Store, the_expert, the_store
from repoexpert.errors import BadInput

if TYPE_CHECKING:
    from repoexpert.storage.records import StoredArtifact
    from repoexpert.storage.store import ArtifactStore

OptionalFile = Annotated[
    Path | None, typer.Option("--file", "-f", help="Only the artifacts of this manifest's expert.", show_default=False)
]
Keys = Annotated[
    list[str],
    typer.Argument(help="NAMESPACE/NAME/STAGE/FINGERPRINT; the fingerprint may be shortened.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="List, remove and verify what the store holds.")
    group.command("ls", help="List artifacts: complete, half-written (partial) and unreadable (corrupt).")(ls)
    group.command("rm", help="Remove artifacts; the next run makes them again where they are needed.")(rm)
    group.command("verify", help="Read every byte and compare with the manifests. Exit 1 when something is wrong.")(
        verify
    )
    app.add_typer(group, name="artifacts")


def ls(file: OptionalFile = None, store: Store = DEFAULT_STORE, as_json: AsJson = False, cache: Cache = None) -> None:
    opened = the_store(store, cache)
    show(
        (_row(item) for item in _states(opened, file)),
        ("artifact", "state", "size", "files", "created"),
        as_json=as_json,
        empty=f"{opened.url} holds no artifacts",
    )


def rm(keys: Keys, store: Store = DEFAULT_STORE, file: OptionalFile = None, cache: Cache = None) -> None:
    opened = the_store(store, cache)
    for item in _named(opened, keys, file):
        opened.remove(item.key)
        typer.echo(f"removed {item.key}")


def verify(
    keys: Annotated[list[str] | None, typer.Argument(help="Artifacts; all when absent.", show_default=False)] = None,
    file: OptionalFile = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
    cache: Cache = None,
) -> None:
    opened = the_store(store, cache)
    found = [item for item in _named(opened, keys or [], file) if keys or item.state != "partial"]
    damaged = False

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal damaged
        for item in found:
            problems = opened.verify(item.key)
            damaged = damaged or bool(problems)
            yield {
                "artifact": str(item.key),
                "whole": not problems,
                "problems": problems if as_json else "; ".join(problems),
            }

    show(rows(), ("whole", "artifact", "problems"), as_json=as_json, empty=f"{opened.url} holds no complete artifacts")
    if damaged:
        typer.echo("remove what is damaged with `repoexpert artifacts rm ARTIFACT`, then run again", err=True)
        raise typer.Exit(1)


def _states(store: ArtifactStore, file: Path | None) -> list[StoredArtifact]:
    if file is None:
        return store.states()
    metadata = the_expert(file).metadata
    return store.states(metadata.namespace, metadata.name)


def _named(store: ArtifactStore, keys: list[str], file: Path | None) -> list[StoredArtifact]:
    """The artifacts that the keys name, all when there are none. Raises BadInput for a key that names no or several."""
    states = _states(store, file)
    if not keys:
        return states
    named = []
    for key in keys:
        found = [item for item in states if str(item.key).startswith(key.rstrip("/")) and key.count("/") >= 3]
        if len(found) != 1:
            what = "no artifact" if not found else f"{len(found)} artifacts"
            raise BadInput(f"{key} names {what} in {store.url}; `repoexpert artifacts ls` prints them in full")
        named += found
    return named


def _row(item: StoredArtifact) -> dict[str, Any]:
    manifest = item.manifest
    row: dict[str, Any] = {"artifact": str(item.key), "state": item.state}
    if manifest is not None:
        row |= {
            "size": size(manifest.size),
            "bytes": manifest.size,
            "files": len(manifest.files),
            "created": manifest.created.isoformat(timespec="seconds"),
        }
    return row
