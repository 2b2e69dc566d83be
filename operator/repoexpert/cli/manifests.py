"""`repoexpert crd` and `repoexpert validate`: the API without a cluster. `cli.main` registers them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from repoexpert.api import crd as definitions
from repoexpert.api import validation
from repoexpert.api.manifests import Problem
from repoexpert.errors import BadInput, InfrastructureError

STDIN = "-"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("crd")(crd)
    app.command("validate")(validate)


def crd(
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", metavar="DIR", help="Write one file per definition instead of printing."),
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions of RepoExpert and RepoExpertClass."""
    documents = {name: definitions.to_yaml(found) for name, found in definitions.custom_resource_definitions().items()}
    if output_dir is None:
        typer.echo("---\n".join(documents.values()), nl=False)
        return
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for name, text in documents.items():
            _write(output_dir / name, text)
            typer.echo(output_dir / name)
    except OSError as error:
        raise InfrastructureError(f"{error.filename}: cannot be written: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def validate(
    files: Annotated[
        list[str] | None,
        typer.Option(
            "-f", "--file", metavar="FILE", help="Manifest to check; - reads standard input.", show_default=False
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="More manifests.")] = None,
) -> None:
    """Check manifests without a cluster, by the rules of the CRDs. Exit code 2 when something is wrong."""
    names = [*(files or []), *(more or [])]
    if not names:
        raise BadInput("name a manifest to check: repoexpert validate -f FILE")
    problems: list[Problem | str] = []
    for name in names:
        try:
            checked = validation.check_text(_read(name), "standard input" if name == STDIN else name)
        except BadInput as error:
            problems.append(str(error))
            continue
        problems.extend(checked.problems)
        for found in checked.objects:
            typer.echo(f"{name}: {type(found).__name__} {found.metadata.name}: valid")
        for other in checked.others:
            typer.echo(f"{name}: {other}: not checked, it is not of repoexpert.dev")
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        typer.echo(f"{count} found", err=True)
        raise typer.Exit(BadInput.exit_code)


def _read(name: str) -> str:
    if name == STDIN:
        return validation.decode(sys.stdin.buffer.read(), "standard input")
    return validation.read_text(Path(name))
