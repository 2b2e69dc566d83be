"""`repoexpert doctor`: what this machine has and lacks, backend by backend. Imports nothing heavy, starts no service."""

from __future__ import annotations

import typer

from repoexpert.cli.listing import show
from repoexpert.cli.options import DEFAULT_STORE, AsJson, Cache, Store, cache_folder


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", help="Say what this machine lacks, and for what. Exit 1 when `repoexpert run` cannot work.")(
        doctor
    )


def doctor(store: Store = DEFAULT_STORE, as_json: AsJson = False, cache: Cache = None) -> None:
    from repoexpert.local.checks import examine

    found = examine(cache_folder(cache), store)
    marks = {"ok": "✓", "missing": "✗", "absent": "·"}
    show(
        (
            check.as_json() if as_json else {"": marks[check.state], "needed for": check.needed_for, **check.as_json()}
            for check in found
        ),
        ("", "name", "needed for", "found"),
        as_json=as_json,
        empty="",
    )
    missing = [check for check in found if check.state == "missing"]
    if as_json:
        raise typer.Exit(1 if missing else 0)
    for check in missing:
        typer.echo(f"\n{check.name}: {check.remedy}")
    if not missing:
        typer.echo("\n`repoexpert run` has what it needs; · marks what other backends would need")
    raise typer.Exit(1 if missing else 0)
