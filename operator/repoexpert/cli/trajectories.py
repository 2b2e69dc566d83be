"""`repoexpert trajectories ls|show`: what the teacher did, attempt by attempt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from repoexpert.cli.folders import artifact_folder
from repoexpert.cli.listing import show
from repoexpert.cli.options import DEFAULT_STORE, AsJson, Cache, File, Store
from repoexpert.errors import BadInput
from repoexpert.local.text import printable
from repoexpert.rollout.records import TRAJECTORY
from repoexpert.storage.problems import CorruptArtifact

_COLUMNS = ("task", "attempt", "unit", "outcome", "steps", "tokens", "seconds", "model", "reason")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="List and show the teacher's attempts at the tasks.")
    group.command("ls", help="List finished attempts.")(ls)
    group.command("show", help="Show an attempt message by message.")(show_attempt)
    app.add_typer(group, name="trajectories")


def ls(
    file: File,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
    outcome: Annotated[str | None, typer.Option(help="Only verified, rejected or not-submitted.")] = None,
    cache: Cache = None,
) -> None:
    folder = artifact_folder(file, store, cache, "rollout")
    rows = (_row(result) for _, result in _attempts(folder) if outcome in (None, result.get("outcome")))
    show(rows, _COLUMNS, as_json=as_json, empty="no attempt was finished")


def show_attempt(
    attempt: Annotated[str, typer.Argument(help="TASK or TASK/N; the task's id may be shortened.")],
    file: File,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
    cache: Cache = None,
) -> None:
    folder = artifact_folder(file, store, cache, "rollout")
    place, result = _the_attempt(folder, attempt)
    trajectory = _read(place / TRAJECTORY)
    if as_json:
        typer.echo(json.dumps({"result": result, "trajectory": trajectory}, ensure_ascii=False))
        return
    typer.echo(printable("\n".join(_page(result, trajectory.get("messages", [])))))


def _attempts(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((folder / "attempts").glob("*/*/result.json"), key=_order):
        yield path.parent, _read(path)


def _order(path: Path) -> tuple[str, int]:
    number = path.parent.name
    return path.parent.parent.name, int(number) if number.isdigit() else 0


def _the_attempt(folder: Path, named: str) -> tuple[Path, dict[str, Any]]:
    task, _, number = named.partition("/")
    found = [
        (place, result)
        for place, result in _attempts(folder)
        if str(result.get("task", place.parent.name)).startswith(task) and number in ("", place.name)
    ]
    tasks = {place.parent for place, _ in found}
    if len(tasks) != 1:
        what = "no attempt" if not tasks else f"attempts at {len(tasks)} tasks"
        raise BadInput(f"{named} names {what}; `repoexpert trajectories ls` lists them")
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{path} cannot be read: {error}") from error
    return value if isinstance(value, dict) else {}


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """The result but for its patch, with the sum of tokens and a model's label."""
    row = {name: value for name, value in result.items() if name != "patch"}
    row["tokens"] = int(result.get("prompt_tokens") or 0) + int(result.get("completion_tokens") or 0)
    if isinstance(result.get("seconds"), float):
        row["seconds"] = round(result["seconds"], 1)
    return row


def _page(result: dict[str, Any], messages: list[dict[str, Any]]) -> list[str]:
    scripted = " (scripted: no model wrote this)" if result.get("scripted") else ""
    lines = [
        f"{result.get('task')} attempt {result.get('attempt')}: {result.get('outcome')} {result.get('reason', '')}".rstrip(),
        f"model {result.get('model')}{scripted} · {result.get('steps')} steps · {result.get('exit_status')}",
    ]
    if result.get("detail"):
        lines.append(str(result["detail"]))
    for number, message in enumerate(messages):
        heading = f"{number} {message.get('role', '?')}"
        lines += ["", f"── {heading} " + "─" * max(0, 70 - len(heading)), _text(message.get("content"))]
    if result.get("patch"):
        lines += ["", "── patch " + "─" * 65, str(result["patch"]).rstrip()]
    return lines


def _text(content: Any) -> str:
    """A message's text; models may give a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in content)
    return str(content or "").rstrip()
