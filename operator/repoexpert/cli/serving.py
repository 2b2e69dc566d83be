"""`repoexpert serve` and `repoexpert report`: what came out of an expert, to use and to look at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoexpert.cli.folders import artifact_folder
from repoexpert.cli.options import DEFAULT_STORE, Cache, File, Store, cache_folder, the_expert, the_store
from repoexpert.errors import BadInput

if TYPE_CHECKING:
    from repoexpert.api.expert import RepoExpert

_PAGE = "report.html"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "serve", help="Serve the model that passed the gate, until Ctrl-C. Sets VLLM_API_KEY as the server's key."
    )(serve)
    app.command("report", help="Print where the newest report is.")(report)


def serve(
    file: File,
    store: Store = DEFAULT_STORE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    configuration: Annotated[
        Path | None, typer.Option(help="Where to write the mini-SWE-agent configuration.", show_default=False)
    ] = None,
    cache: Cache = None,
) -> None:
    from repoexpert.serving.models import read_current, weights

    expert = the_expert(file)
    opened = the_store(store, cache)
    metadata = expert.metadata
    current = read_current(opened, metadata.namespace, metadata.name)
    if current is None:
        raise BadInput(
            f"nothing is served for {metadata.name} in {opened.url}: no model has passed its gate yet. "
            f"`repoexpert run -f {file} --store {store}` trains and judges one"
        )
    if opened.manifest(current.key) is None:
        raise BadInput(f"the served model {current.model} is no longer in {opened.url}: run the expert again")
    model = weights(opened.fetch(current.key))
    typer.echo(f"{metadata.name}: revision {current.revision}, served since {current.since}")
    folder = cache_folder(cache)
    target = configuration or folder / "clients" / f"{metadata.namespace}-{metadata.name}.yaml"
    log = folder / "logs" / "vllm" / f"{metadata.namespace}-{metadata.name}-serve.log"
    typer.echo(f"starting vLLM on {model} (one to two minutes without a GPU; log: {log})")
    asyncio.run(_serve(expert, model, host, port, target, log))


async def _serve(expert: RepoExpert, model: Path, host: str, port: int, configuration: Path, log: Path) -> None:
    """Until a signal or the server's end; InfrastructureError for the latter."""
    from repoexpert.serving.client import KEY_VARIABLE, client_configuration
    from repoexpert.serving.server import VllmServer
    from repoexpert.serving.smoke import smoke_test
    from repoexpert.serving.vllm import API_KEY_VARIABLE

    key = os.environ.get(API_KEY_VARIABLE, "")
    if not key and host not in ("127.0.0.1", "::1", "localhost"):
        raise BadInput(
            f"--host {host} opens the model to the network: set {API_KEY_VARIABLE} so that it asks for a key"
        )
    serving = expert.spec.serving
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = VllmServer(
        model, expert.metadata.name, context_tokens=serving.context_tokens, log=log, port=port,
        sampling=serving.sampling, api_key=key, host=host,
    )  # fmt: skip
    starting = asyncio.ensure_future(server.__aenter__())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return
        starting.result()
        answer = await smoke_test(server.base_url, server.name, key)
        write_configuration(configuration, client_configuration(expert, server.base_url, server.name))
        typer.echo(f"smoke test: answered {answer.strip()[:60]!r}")
        typer.echo(f"endpoint: {server.base_url}   model: {server.name}   context: {server.context_tokens} tokens")
        note = f"   (set {KEY_VARIABLE} to the server's key)" if key else ""
        typer.echo(
            f"agent: MSWEA_CONFIGURED=1 mini -c {configuration} -t 'TASK'   in a checkout of {expert.spec.repository.url}{note}"
        )
        typer.echo("Ctrl-C ends it")
        died = asyncio.ensure_future(server.died())
        await asyncio.wait({died, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            raise server.problem("ended by itself")
        died.cancel()
    finally:
        starting.cancel()
        stopped.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
        await server.stop()
        typer.echo("stopped")


def write_configuration(path: Path, text: str) -> None:
    """Write the client's configuration; BadInput where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--configuration {path} cannot be written: {error.strerror or error}") from error


def report(
    file: File,
    store: Store = DEFAULT_STORE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy the page there.", show_default=False)
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    cache: Cache = None,
) -> None:
    page = artifact_folder(file, store, cache, "serving") / _PAGE
    if output is not None:
        target = output / _PAGE if output.is_dir() else output
        if not target.parent.is_dir():
            raise BadInput(f"--output {output}: there is no folder {target.parent}")
        shutil.copyfile(page, target)
        page = target
    typer.echo(str(page.absolute()))
    if open_ and not webbrowser.open(page.absolute().as_uri()):
        raise BadInput(f"no browser could be started; open {page.absolute()} yourself")
