"""Runs an expert's missing stages in order, each as a child process. Called by `repoexpert run`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from repoexpert.api.expert import RepoExpert
from repoexpert.errors import InfrastructureError, Interrupted
from repoexpert.graph.definitions import STAGES, StageName
from repoexpert.graph.states import plan_local
from repoexpert.local import preflight
from repoexpert.local.child import Child, ChildFiles, tail
from repoexpert.local.outcome import Outcome, StageRunFailed, judge
from repoexpert.local.served import put_back
from repoexpert.local.state import StageStatus
from repoexpert.local.text import brief
from repoexpert.local.views import View
from repoexpert.stages import processes, resolution
from repoexpert.stages.plan import make_plan
from repoexpert.stages.termination import Termination
from repoexpert.storage.locks import Locked
from repoexpert.storage.problems import disk
from repoexpert.storage.records import ArtifactKey
from repoexpert.storage.store import ArtifactStore

STAGE_COMMAND = (sys.executable, "-m", "repoexpert.cli.main", "stage")
BACKOFF_SECONDS = (5.0, 20.0)
"""Waits before the second and the third try of a stage that failed for want of infrastructure."""
POLL_SECONDS = 0.25
STAGE_NOTE = "stage"
"""File of the work folder that names the stage at work."""


@dataclass(frozen=True)
class RunRequest:
    """What `repoexpert run` was asked for."""

    expert: RepoExpert
    file: Path
    store: ArtifactStore
    cache: Path
    until: StageName = "serving"
    jobs: int = 2
    refresh: bool = False
    command: Sequence[str] = STAGE_COMMAND
    """What starts a stage; the stage's name and options follow."""
    backoff: Sequence[float] = BACKOFF_SECONDS


def run(request: RunRequest, view: View, *, clock: Callable[[], float] = time.time) -> Outcome:
    """Run what is missing. Raises StageRunFailed, Interrupted, BadInput."""
    resolved = resolution.ensure(request.expert, request.store, request.cache, refresh=request.refresh)
    preflight.require_later_history(request.expert, resolved, request.until)
    keys = make_plan(request.expert, resolved)
    rows, missing = _survey(request, keys)
    preflight.require_inputs(request.expert, missing, os.environ)
    if missing:
        with _exclusive(request), _stoppable():
            # Another run may have ended while this one started.
            rows, missing = _survey(request, keys)
            with view.showing(rows):
                _Run(request, keys, rows, view, clock).execute(missing)
    else:
        with view.showing(rows):
            view.changed(rows)
    manifest = request.store.manifest(keys[request.until])
    if manifest is None:
        raise InfrastructureError(f"the artifact {keys[request.until]} vanished from {request.store.url}: run again")
    if request.until == "serving":
        put_back(request.expert, request.store, manifest.summary, datetime.fromtimestamp(clock(), UTC))
    return judge(request.expert.metadata.name, request.until, manifest.summary, ran=len(missing))


def work_folder(request_cache: Path, store: ArtifactStore, expert: RepoExpert) -> Path:
    """Where a run keeps progress files and its copy of the manifest: one folder per store and expert."""
    place = hashlib.sha256(store.url.encode()).hexdigest()[:12]
    return request_cache / "runs" / expert.metadata.namespace / f"{expert.metadata.name}-{place}"


def log_file(cache: Path, key: ArtifactKey) -> Path:
    """The log of a stage; all tries of one fingerprint share it."""
    return cache / "logs" / key.namespace / key.name / f"{key.stage}-{key.fingerprint[:8]}.log"


def _survey(request: RunRequest, keys: dict[StageName, ArtifactKey]) -> tuple[list[StageStatus], list[StageName]]:
    manifests = {name: request.store.manifest(key) for name, key in keys.items()}
    complete = [name for name in keys if manifests[name] is not None]
    wanted = STAGES[: STAGES.index(request.until) + 1]
    rows = []
    for name in wanted:
        row = StageStatus(name, keys[name].fingerprint)
        if (manifest := manifests[name]) is not None:
            row.state, row.summary, row.message = "up to date", manifest.summary, brief(manifest.summary)
        rows.append(row)
    known = {name: key.fingerprint for name, key in keys.items()}
    missing = plan_local(known, complete, request.until)
    last = manifests[request.until]
    if request.until == "serving" and last is not None and last.summary.get("promoted"):
        # The model is what all this is for: when somebody removed it, a complete serving stage does not make up for it.
        missing = plan_local(known, complete, "training")
    return [row for row in rows if row.state == "up to date" or row.name in missing], missing


class _Run:
    """The loop over stages."""

    def __init__(
        self,
        request: RunRequest,
        keys: dict[StageName, ArtifactKey],
        rows: list[StageStatus],
        view: View,
        clock: Callable[[], float],
    ) -> None:
        self._request = request
        self._keys = keys
        self._rows = rows
        self._view = view
        self._clock = clock
        self._work = work_folder(request.cache, request.store, request.expert)

    def execute(self, missing: Sequence[StageName]) -> None:
        processes.adopt_orphans()
        with disk(self._work):
            self._work.mkdir(parents=True, exist_ok=True)
            # Children read this copy: the user may edit the file while they run.
            (self._work / "expert.yaml").write_bytes(self._request.file.read_bytes())
        self._view.changed(self._rows)
        rows = {row.name: row for row in self._rows}
        for name in missing:
            self._stage(rows[name], self._keys[name])

    def _stage(self, row: StageStatus, key: ArtifactKey) -> None:
        log = log_file(self._request.cache, key)
        waits = iter(self._request.backoff)
        for attempt in range(1, len(self._request.backoff) + 2):
            row.begin(self._clock(), attempt)
            self._view.changed(self._rows)
            code, ended = self._attempt(row, log)
            if code == 0:
                self._finish(row, key)
                return
            wait = next(waits, None) if code == 75 else None
            if wait is None:
                row.end("failed", self._clock(), message=ended.message)
                self._view.changed(self._rows)
                raise StageRunFailed(ended, str(log), tail(log))
            row.state, row.message = "retrying", f"in {wait:.0f}s: {ended.message}"
            self._view.changed(self._rows)
            self._pause(row, wait)

    def _attempt(self, row: StageStatus, log: Path) -> tuple[int, Termination]:
        request = self._request
        files = ChildFiles(log, self._work / f"{row.name}.progress", self._work / f"{row.name}.termination")
        command = [
            *(*request.command, row.name, "-f", str(self._work / "expert.yaml"), "--store", request.store.url),
            *("--cache", str(request.cache), "--jobs", str(request.jobs)),
        ]
        with disk(log):
            (self._work / STAGE_NOTE).write_text(row.name, encoding="utf-8")
            child = Child(row.name, command, files)
        try:
            while not child.wait(POLL_SECONDS):
                report = child.progress()
                if report is not None and row.report(report):
                    self._view.changed(self._rows)
                else:
                    self._view.ticked(self._rows)
        except KeyboardInterrupt:
            row.message = "stopping"
            self._view.changed(self._rows)
            child.stop()
            raise self._stopped(row) from None
        return child.ended()

    def _pause(self, row: StageStatus, seconds: float) -> None:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            raise self._stopped(row) from None

    def _stopped(self, row: StageStatus) -> Interrupted:
        row.end("stopped", self._clock(), message="finished work is kept")
        self._view.changed(self._rows)
        return Interrupted(
            f"stopped in stage {row.name}; finished work is kept. Go on with the same command:\n"
            f"  repoexpert run -f {self._request.file} --store {self._request.store.url}"
        )

    def _finish(self, row: StageStatus, key: ArtifactKey) -> None:
        manifest = self._request.store.manifest(key)
        if manifest is None:
            raise InfrastructureError(f"stage {row.name} ended well, but {key} is not in {self._request.store.url}")
        row.end("done", self._clock(), message=brief(manifest.summary), summary=manifest.summary)
        self._view.changed(self._rows)


@contextlib.contextmanager
def _exclusive(request: RunRequest) -> Iterator[None]:
    metadata = request.expert.metadata
    try:
        with request.store.hold(metadata.namespace, metadata.name):
            yield
    except Locked as error:
        raise InfrastructureError(
            f"another run of {metadata.name} on {request.store.url} is at work: process {error.holder}. Wait for it "
            f"(`repoexpert status` shows how far it is), or stop it with `kill {error.holder}`"
        ) from error


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and a closed terminal stop a run just as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    previous = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
