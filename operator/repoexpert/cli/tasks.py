"""`repoexpert tasks ls|show`: the proven tasks of an expert, and with --all those that were rejected and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from repoexpert.cli.folders import artifact_folder, json_lines
from repoexpert.cli.listing import show
from repoexpert.cli.options import DEFAULT_STORE, AsJson, Cache, File, Store
from repoexpert.errors import BadInput
from repoexpert.local.text import printable


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="List and show the tasks made of the repository's history.")
    group.command("ls", help="List proven tasks.")(ls)
    group.command("show", help="Show a task: statement, start patch, reference, verification, proof.")(show_task)
    app.add_typer(group, name="tasks")


def ls(
    file: File,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
    everything: Annotated[bool, typer.Option("--all", help="Rejected candidates as well, with the reason.")] = False,
    cache: Cache = None,
) -> None:
    folder = artifact_folder(file, store, cache, "tasks")
    columns = ("id", "unit", "commit", "date", "tier", "tests", "title")
    if everything:
        columns = ("proven", "id", "commit", "part", "tier", "reason", "detail")
    rows: Iterator[dict[str, Any]] = (_row(task, as_json=as_json) for task in json_lines(folder / "tasks.jsonl"))
    if everything:
        rows = _chain(rows, (_rejected(item, as_json=as_json) for item in json_lines(folder / "rejected.jsonl")))
    show(rows, columns, as_json=as_json, empty="no task was proven; `repoexpert tasks ls --all` says why")


def show_task(
    task: Annotated[str, typer.Argument(help="Its id, or enough of its beginning.")],
    file: File,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
    cache: Cache = None,
) -> None:
    folder = artifact_folder(file, store, cache, "tasks")
    found = [item for item in json_lines(folder / "tasks.jsonl") if str(item.get("id", "")).startswith(task)]
    if len(found) != 1:
        what = "no task" if not found else f"{len(found)} tasks"
        raise BadInput(f"{task} names {what}; `repoexpert tasks ls` prints their ids")
    if as_json:
        typer.echo(json.dumps(found[0], ensure_ascii=False))
        return
    typer.echo(printable("\n".join(_page(found[0]))))


def _chain(*parts: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield from part


def _row(task: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    provenance, verification = task.get("provenance", {}), task.get("verification", {})
    commits = provenance.get("commits") or [task.get("commit", "")]
    commit = str(commits[-1])
    return {
        "id": task.get("id"),
        "unit": task.get("unit"),
        "commit": commit if as_json else commit[:10],
        "proven": True,
        "date": str(provenance.get("committed", ""))[:10],
        "tier": provenance.get("tier"),
        "part": provenance.get("part"),
        "tests": len(verification.get("fail_to_pass", ())),
        "files": provenance.get("files", []),
        "pullRequest": provenance.get("pull_request"),
        "title": provenance.get("title"),
    }


def _rejected(item: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    """A rejected candidate: everything that its record holds, in a task's words."""
    commit = str(item.get("commit") or "")
    return {"id": None, "unit": None, **item, "commit": commit if as_json else commit[:10], "proven": False}


def _page(task: dict[str, Any]) -> list[str]:
    provenance, verification = task.get("provenance", {}), task.get("verification", {})
    lines = [
        f"{task.get('id')}  {task.get('unit')}",
        f"tree        {task.get('commit')}",
        f"made from   {', '.join(provenance.get('commits', []))}  {str(provenance.get('committed', ''))[:10]}",
        f"title       {provenance.get('title', '')}",
        f"undone by   {provenance.get('tier', '')}"
        + (f", part {provenance['part']}" if provenance.get("part") else ""),
    ]
    for heading, text in (
        ("statement", task.get("statement")),
        ("tests that must turn green", "\n".join(verification.get("fail_to_pass", []))),
        ("tests that must stay green", _some(verification.get("pass_to_pass", []))),
        ("start patch (what the agent finds)", task.get("start_patch")),
        ("reference (what solves it)", task.get("reference")),
        ("proof", json.dumps(task.get("proof", {}), indent=1)),
    ):
        if text:
            lines += ["", f"── {heading} " + "─" * max(0, 70 - len(heading)), str(text).rstrip()]
    return lines


def _some(tests: list[str], most: int = 10) -> str:
    more = [f"... and {len(tests) - most} more"] if len(tests) > most else []
    return "\n".join([*tests[:most], *more])
