"""`repoexpert history`: repositories to train on where no forge can be reached."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the `history` group to the command."""
    group = typer.Typer(no_args_is_help=True, help="Make a Git history where there is none to clone.")
    group.command("from-releases")(from_releases)
    app.add_typer(group, name="history")


def from_releases(
    name: Annotated[str, typer.Argument(help="Library on the package index, for example more-itertools.")],
    releases: Annotated[int | None, typer.Option(min=1, help="The newest N of the range. Default: all.")] = None,
    output: Annotated[Path | None, typer.Option(help="Repository to make. Default: NAME")] = None,
    from_version: Annotated[str | None, typer.Option(help="First release, included.")] = None,
    until_version: Annotated[str | None, typer.Option(help="Last release, included.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where downloads are kept.", envvar="REPOEXPERT_CACHE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a release.")] = False,
) -> None:
    """Build a repository of a library's releases, one commit each, dated by upload."""
    from repoexpert.repository.releases import build_history
    from repoexpert.repository.sdists import index_url

    history = build_history(
        name,
        (output or Path(name)).absolute(),
        (cache or Path.home() / ".cache/repoexpert") / "sdists",
        index_url(os.environ, Path.home()),
        count=releases,
        first=from_version,
        last=until_version,
        tell=lambda message: typer.echo(message, err=True),
    )
    for release in history.releases:
        day = f"{release.uploaded:%Y-%m-%d}"
        typer.echo(
            json.dumps({"version": str(release.version), "uploaded": day}) if as_json else f"{day}  {release.version}"
        )
    typer.echo(f"{history.path.as_uri()} main {history.head}", err=as_json)
