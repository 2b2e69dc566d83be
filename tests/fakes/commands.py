"""`python -m tests.fakes.commands stage|run ...`: the real commands with fake stages and short backoffs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from repoexpert.cli import main, run, stage
from repoexpert.cli.options import DEFAULT_STORE, AsJson, Cache, File, Store
from tests.fakes.stages import REGISTRY

COMMAND = (sys.executable, "-m", "tests.fakes.commands", "stage")


def fake_stage(
    name: str,
    file: File,
    store: Store = DEFAULT_STORE,
    cache: Cache = None,
    jobs: int = 2,
    progress_file: Path | None = None,
    termination_message: Path | None = None,
    parent: Annotated[int | None, typer.Option()] = None,
) -> None:
    stage.execute(REGISTRY, name, file, store, cache, jobs, progress_file, termination_message, parent)


def fake_run(
    file: File,
    store: Store = DEFAULT_STORE,
    until: str = "serving",
    jobs: int = 2,
    as_json: AsJson = False,
    refresh: bool = False,
    cache: Cache = None,
) -> None:
    backoff = [float(part) for part in os.environ.get("FAKE_BACKOFF", "0.1 0.1").split()]
    run.execute(COMMAND, file, store, until, jobs, as_json, refresh, cache, backoff)


def _build(arguments: object) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("stage")(fake_stage)
    app.command("run")(fake_run)
    return app


if __name__ == "__main__":
    main.main(_build)
