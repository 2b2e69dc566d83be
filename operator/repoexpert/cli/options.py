"""Options that commands share, and what they stand for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from repoexpert.api.expert import RepoExpert
    from repoexpert.storage.store import ArtifactStore

DEFAULT_STORE = "repoexpert-store"
DEFAULT_JOBS = len(os.sched_getaffinity(0))
"""Cores that this process may use, which in a container are fewer than the machine has."""

File = Annotated[Path, typer.Option("--file", "-f", help="The RepoExpert manifest (YAML).", show_default=False)]
Store = Annotated[
    str,
    typer.Option(
        "--store", envvar="REPOEXPERT_STORE", help="Artifact store: a folder, file:///FOLDER or s3://BUCKET/PREFIX."
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="REPOEXPERT_CACHE",
        help="Mirrors, models and logs; safe to lose.  [default: ~/.cache/repoexpert]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def cache_folder(cache: Path | None) -> Path:
    """The chosen cache, or the default one."""
    from repoexpert.storage.store import default_cache

    return cache.expanduser().absolute() if cache else default_cache()


def the_store(url: str, cache: Path | None) -> ArtifactStore:
    """Open the store."""
    from repoexpert.storage.store import open_store

    return open_store(url, cache_folder(cache))


def the_expert(file: Path) -> RepoExpert:
    """The one RepoExpert of a file. Raises BadInput with field and line."""
    from repoexpert.api.validation import load_expert

    return load_expert(file)
