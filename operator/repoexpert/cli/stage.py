"""`repoexpert stage NAME`: one stage, as the local runner's child and as a Kubernetes Job's container run it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoexpert.cli.options import DEFAULT_JOBS, DEFAULT_STORE, Cache, File, Store, cache_folder, the_expert, the_store
from repoexpert.errors import Interrupted

if TYPE_CHECKING:
    from repoexpert.stages.registry import Registry


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stage", help="Run one stage: make its artifact, or find it made. Exit 0, 42 permanent, 75 try again.")(
        stage
    )


def stage(
    name: Annotated[str, typer.Argument(help="environment, tasks, rollout, dataset, training, evaluation or serving.")],
    file: File,
    store: Store = DEFAULT_STORE,
    cache: Cache = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processor-bound things at once.")] = DEFAULT_JOBS,
    progress_file: Annotated[Path | None, typer.Option(help="Write progress there, as JSON, replaced whole.")] = None,
    termination_message: Annotated[Path | None, typer.Option(help="Write the outcome there: JSON, <= 4 kB.")] = None,
    parent: Annotated[int | None, typer.Option(hidden=True, help="End when this process ends.")] = None,
) -> None:
    from repoexpert.stages.registry import STAGES

    execute(STAGES, name, file, store, cache, jobs, progress_file, termination_message, parent)


def execute(
    registry: Registry,
    name: str,
    file: Path,
    store: str,
    cache: Path | None,
    jobs: int,
    progress_file: Path | None,
    termination_message: Path | None,
    parent: int | None,
) -> None:
    """The command's body with the stages to run as an argument."""
    from repoexpert.stages.entry import StageRequest, stage_process
    from repoexpert.stages.processes import end_with_parent
    from repoexpert.stages.reporting import LogProgress, with_file

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    if parent is not None and not end_with_parent(parent):
        raise typer.Exit(Interrupted.stage_exit_code)

    def build() -> StageRequest:
        return StageRequest(
            name=name,
            expert=the_expert(file),
            store=the_store(store, cache),
            cache=cache_folder(cache),
            progress=with_file(LogProgress(), progress_file),
            registry=registry,
            jobs=jobs,
        )

    raise typer.Exit(stage_process(build, name, message=termination_message))
