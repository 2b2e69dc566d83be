"""`repoexpert run`: everything that is missing, on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoexpert.cli.options import (
    DEFAULT_JOBS,
    DEFAULT_STORE,
    AsJson,
    Cache,
    File,
    Store,
    cache_folder,
    the_expert,
    the_store,
)
from repoexpert.errors import RepoExpertError

if TYPE_CHECKING:
    from repoexpert.local.outcome import Outcome
    from repoexpert.local.runner import RunRequest
    from repoexpert.local.views import View


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "run",
        help="Run what is missing, stage by stage, on this machine. "
        "Exit 0: served or up to date. 3: gate not passed. 2: bad input. 1: failure. 130: stopped.",
        short_help="Run what is missing, on this machine.",
    )(run)


def run(
    file: File,
    store: Store = DEFAULT_STORE,
    until: Annotated[str, typer.Option(help="The last stage to run.")] = "serving",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processor-bound things at once.")] = DEFAULT_JOBS,
    as_json: AsJson = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look up anew which commits ref, cutoff and until mean.")
    ] = False,
    cache: Cache = None,
) -> None:
    from repoexpert.local.runner import STAGE_COMMAND

    execute(STAGE_COMMAND, file, store, until, jobs, as_json, refresh, cache)


def execute(
    command: Sequence[str],
    file: Path,
    store: str,
    until: str,
    jobs: int,
    as_json: bool,
    refresh: bool,
    cache: Path | None,
    backoff: Sequence[float] | None = None,
) -> None:
    """The command's body with the command that starts a stage as an argument."""
    from repoexpert.local import runner
    from repoexpert.local.views import JsonView
    from repoexpert.stages.plan import stage_name

    started = time.monotonic()
    expert = the_expert(file)
    request = runner.RunRequest(
        expert=expert,
        file=file,
        store=the_store(store, cache),
        cache=cache_folder(cache),
        until=stage_name(until),
        jobs=jobs,
        refresh=refresh,
        command=command,
        backoff=runner.BACKOFF_SECONDS if backoff is None else backoff,
    )
    view = _view(as_json, f"{expert.metadata.name} · {expert.spec.repository.url}")
    try:
        outcome = runner.run(request, view)
    except RepoExpertError as error:
        if isinstance(view, JsonView):
            kind = type(error).__name__
            view.say(
                {
                    "event": "result",
                    "verdict": "error",
                    "kind": kind,
                    "exitCode": error.exit_code,
                    "message": str(error),
                }
            )
        raise
    if isinstance(view, JsonView):
        view.say(
            {
                "event": "result",
                "verdict": outcome.verdict,
                "upToDate": outcome.up_to_date,
                "exitCode": outcome.exit_code,
                "message": outcome.message,
                "gate": list(outcome.details),
            }
        )
    else:
        _conclude(outcome, request, time.monotonic() - started)
    raise typer.Exit(outcome.exit_code)


def _view(as_json: bool, title: str) -> View:
    from repoexpert.local.views import JsonView, LineView, TableView

    if as_json:
        return JsonView(sys.stdout)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return TableView(title)
    return LineView(sys.stdout)


def _conclude(outcome: Outcome, request: RunRequest, seconds: float) -> None:
    from repoexpert.local.text import duration, printable

    took = duration(seconds) if seconds >= 1 else f"{seconds:.1f}s"
    typer.echo(f"\n{outcome.message} ({took})")
    for line in outcome.details:
        typer.echo(f"  {printable(line)}")
    where = f"-f {request.file} --store {request.store.url}"
    if request.until in ("evaluation", "serving"):
        typer.echo(f"\nRead the report:  repoexpert report {where}")
    if outcome.verdict == "served":
        typer.echo(f"Serve the model:  repoexpert serve {where}")
