"""The `repoexpert` command. The only place that turns an error into a message on stderr and an exit code.

Commands live in sibling modules, each with `register(app)`; only the module of the command at hand is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
import typer.core

from repoexpert.errors import Interrupted, RepoExpertError

MODULES = {
    "manifests": ("crd", "validate"),
    "run": ("run",),
    "status": ("status",),
    "tasks": ("tasks",),
    "trajectories": ("trajectories",),
    "serving": ("serve", "report"),
    "history": ("history",),
    "artifacts": ("artifacts",),
    "doctor": ("doctor",),
    "stage": ("stage",),
}
"""Module of this package to the commands it registers, in the order of the help page."""


class _Ordered(typer.core.TyperGroup):
    """Commands in the order of MODULES, which is the order in which a newcomer needs them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        order = [command for commands in MODULES.values() for command in commands]
        return sorted(super().list_commands(ctx), key=order.index)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command that the arguments name, or with all of them for the help page."""
    app = typer.Typer(
        name="repoexpert",
        cls=_Ordered,
        help="Turns a Git repository into a small coding model that knows it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and exit.")
    ) -> None:
        if version:
            from importlib.metadata import version as installed

            typer.echo(installed("repoexpert"))
            raise typer.Exit
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    named = [module for module, commands in MODULES.items() if wanted in commands]
    for module in named or MODULES:
        importlib.import_module(f"repoexpert.cli.{module}").register(app)
    return app


def main(application: Callable[[Sequence[str]], typer.Typer] = build) -> None:
    """Entry point of the console script."""
    try:
        application(sys.argv[1:])()
    except RepoExpertError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(Interrupted.exit_code)
    except Exception as error:  # the boundary: a person gets a sentence, the trace goes to a file
        if os.environ.get("REPOEXPERT_DEBUG"):
            raise
        _say(f"this is a bug: {type(error).__name__}: {error}\nThe trace is in {_keep(error)}")
        sys.exit(1)


def _say(message: str) -> None:
    from repoexpert.local.text import printable

    sys.stdout.flush()
    print(f"repoexpert: {printable(message)}", file=sys.stderr)


def _keep(error: BaseException) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="repoexpert-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    return Path(name)


if __name__ == "__main__":
    main()
