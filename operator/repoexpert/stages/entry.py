"""One stage, start to end: the same in a terminal, as a child of the local runner, and in a Kubernetes Job.

Called by `repoexpert stage NAME`. Knows nothing of where it runs: what it needs comes as arguments, what it tells goes
to a progress file, a termination message and the exit code (0 done, 42 permanent, 75 worth another try, 1 a bug).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from repoexpert.api.expert import RepoExpert
from repoexpert.errors import Interrupted, RepoExpertError
from repoexpert.graph.definitions import DEFINITIONS
from repoexpert.progress import Progress
from repoexpert.stages import processes, resolution
from repoexpert.stages.context import StageContext
from repoexpert.stages.plan import Inputs, make_plan, stage_name
from repoexpert.stages.registry import Registry, load
from repoexpert.stages.termination import Termination, encode, kind_of
from repoexpert.stages.tools import tool_versions
from repoexpert.storage.problems import disk_problem, is_full
from repoexpert.storage.records import Manifest
from repoexpert.storage.store import ArtifactStore

GRACE_SECONDS = 10.0
"""For what a stage started, between SIGTERM and SIGKILL."""
LAST_SECONDS = 25.0
"""After a signal the stage itself has this long, less than the 30 s that Kubernetes and the local runner give."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageRequest:
    """What a stage is started with."""

    name: str
    expert: RepoExpert
    store: ArtifactStore
    cache: Path
    progress: Progress
    registry: Registry
    jobs: int = 2
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def run_stage(request: StageRequest) -> Manifest:
    """Make the stage's artifact, or find it made. Raises RepoExpertError; anything else is a bug of the stage."""
    name = stage_name(request.name)
    store = request.store
    resolved = resolution.ensure(request.expert, store, request.cache)
    keys = make_plan(request.expert, resolved)
    complete = store.manifest(keys[name])
    if complete is not None:
        log.info("%s is complete: %s", name, keys[name])
        return complete
    with store.draft(keys[name], waiting=lambda holder: _tell_waiting(request.progress, holder)) as draft:
        if draft.done:
            return draft.complete(summary={}, upstream={}, tools={}, now=request.now())
        context = StageContext(
            expert=request.expert,
            resolution=resolved,
            store=store,
            inputs=Inputs(name, keys, store),
            work=draft.path,
            cache=request.cache,
            progress=request.progress,
            now=request.now,
            jobs=request.jobs,
        )
        with _readable_disk_errors(draft.path):
            summary = load(request.registry, name)(context)
        return draft.complete(
            summary=summary,
            upstream={earlier: keys[earlier].fingerprint for earlier in DEFINITIONS[name].upstream},
            tools=tool_versions(),
            now=request.now(),
        )


def stage_process(build: Callable[[], StageRequest], name: str, *, message: Path | None = None) -> int:
    """Body of a stage's process: signals, error boundary, termination message. Returns the exit code.

    `build` runs inside the boundary, so that bad arguments end as a termination message as well.
    """
    processes.adopt_orphans()
    try:
        with _signals():
            request = build()
            manifest = run_stage(request)
        ended = Termination(kind="complete", stage=name, fingerprint=manifest.key.fingerprint, summary=manifest.summary)
        code = 0
    except KeyboardInterrupt:
        error = Interrupted("stopped by a signal; finished work is kept, running again goes on from there")
        ended, code = _failure(name, error), error.stage_exit_code
    except RepoExpertError as error:
        ended, code = _failure(name, error), error.stage_exit_code
    except Exception as error:  # noqa: BLE001 - the boundary: a bug must reach the termination message as well
        ended, code = _failure(name, error), 1
    finally:
        if leftover := processes.end_descendants(grace=GRACE_SECONDS):
            log.warning("ended %d processes that the stage had left running", leftover)
    if code:
        log.error("%s", ended.message)
    if message is not None:
        _write_message(message, encode(ended))
    return code


def _failure(name: str, error: Exception) -> Termination:
    kind = kind_of(error)
    if kind != "bug":
        return Termination(kind=kind, stage=name, message=str(error))
    trace = "".join(traceback.format_exception(error))
    log.error("%s", trace)
    return Termination(kind=kind, stage=name, message=f"{type(error).__name__}: {error}", log=trace[-1500:])


def _tell_waiting(progress: Progress, holder: str) -> None:
    text = f"waiting for process {holder or 'unknown'}, which is making the same artifact"
    log.info("%s", text)
    progress.update(done=0, message=text)


def _write_message(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        log.error("cannot write the termination message %s: %s", path, error.strerror)


@contextlib.contextmanager
def _readable_disk_errors(where: Path) -> Iterator[None]:
    """A full disk under a stage's own writes is an infrastructure failure; any other OSError is the stage's bug."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise disk_problem(error, where) from error
        raise


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """The first SIGTERM or SIGINT raises KeyboardInterrupt in the main thread (asyncio lets that one through, and no
    `except Exception` of a stage can take it for a failed task); later ones are ignored while the stage cleans up.

    Python runs handlers in the main thread only, which may be deep in a numeric library: the kernel's own wake-up byte
    starts a clock in a thread, and a stage that is not gone when it ends is killed with all it started.
    """
    main, other = socket.socketpair()
    other.setblocking(False)
    previous_wakeup = signal.set_wakeup_fd(other.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_last_resort, args=(main,), name="last-resort", daemon=True).start()
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        if not stopped:
            for number, handler in previous.items():
                signal.signal(number, handler)
        signal.set_wakeup_fd(previous_wakeup)
        other.close()


def _last_resort(wakeup: socket.socket) -> None:
    with wakeup:
        while number := wakeup.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                break
        else:
            return
    time.sleep(LAST_SECONDS)
    while left := processes.descendants(os.getpid()):
        processes.send(left, signal.SIGKILL)
        time.sleep(0.02)
    os._exit(75)
