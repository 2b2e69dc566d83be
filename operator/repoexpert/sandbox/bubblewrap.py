"""The bubblewrap backend: every command is a fresh set of namespaces (about 5 ms) over the claim's /testbed and /tmp.

Between two commands nothing of a sandbox runs; when one ends, its process namespace goes and every process with it.
Called by the stages and the local runner; needs bubblewrap 0.8, util-linux, git, tar and zstd on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from repoexpert.errors import InfrastructureError, SandboxLost, StageFailed
from repoexpert.sandbox import start_tree
from repoexpert.sandbox.arguments import Bind, bubblewrap_arguments, command_environment
from repoexpert.sandbox.cgroups import ControlGroup, ControlGroups
from repoexpert.sandbox.identity import UserNamespace
from repoexpert.sandbox.process import Ended, launch_script, run_bubblewrap
from repoexpert.sandbox.protocol import ENVIRONMENT, PROBE, TESTBED, Limits, Result, Sandbox, StartTree
from repoexpert.sandbox.system import system_binds, system_view
from repoexpert.storage.problems import disk_problem

_ARGV_BYTES = 100_000
"""A longer command travels as a file: one argument may have 128 KiB."""
_COMMAND_FILE = "/run/repoexpert/command"
_MOST_FILES = 1_000_000
"""Files that the disk may gain while one command runs, before that command is stopped."""
_START_SECONDS = 600.0
_TRANSFER_SECONDS = 120.0
_FULL_BYTES = 16 << 20
"""With less room than this left on the disk, a command that fails is the machine's failure."""
_GET_BYTES = 256 << 20
_PUT = 'mkdir -p -- "${1%/*}" && cat > "$1.put~" && mv -fT -- "$1.put~" "$1"'
_GET = '[ -f "$1" ] || exit 44; cat -- "$1" 2>/dev/null'


@dataclass
class _Slot:
    """What a sandbox may reuse from an earlier one: its user namespace and its place in the numbering."""

    index: int
    namespace: UserNamespace | None


class BubblewrapPool:
    """Gives out bubblewrap sandboxes; `async with pool:` or `close()` frees what it holds.

    `environment_dir`, an unpacked virtual environment, appears read-only at /opt/repoexpert/env (writable with
    `environment_writable`, for installing), `probe_dir` at /opt/repoexpert/probe, the interpreter's `python_prefix` at
    its own path. `scratch` gets one folder a claim and must not be on a size-limited tmpfs. `network` leaves the
    machine's network in place: only for installing, never for an agent.
    """

    def __init__(
        self,
        environment_dir: Path | None,
        probe_dir: Path | None,
        python_prefix: Path,
        limits: Limits,
        scratch: Path,
        *,
        network: bool = False,
        environment_writable: bool = False,
        binds: Sequence[Bind] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._bwrap = _tool("bwrap", "bubblewrap")
        self._setpriv = _tool("setpriv", "util-linux")
        self._prlimit = _tool("prlimit", "util-linux")
        self.limits = limits
        self._network = network
        self._environment = dict(environment or {})
        self._system = system_view(python_prefix)
        self._groups = ControlGroups.find()
        self._free: list[_Slot] = []
        self._numbers = itertools.count()
        self._root, self._lock = _own_folder(scratch)
        self._closed = False
        self._binds = [*binds, *system_binds(self._system, self._root, binds, network)]
        if environment_dir is not None:
            self._binds.append(Bind(environment_dir.absolute(), ENVIRONMENT, writable=environment_writable))
        if probe_dir is not None:
            self._binds.append(Bind(probe_dir.absolute(), PROBE))
        if self._groups is not None:
            self._groups.sweep()

    @property
    def bounded_by(self) -> str:
        """`control groups` or `rlimits`: what holds memory and process counts."""
        return "control groups" if self._groups is not None else "rlimits"

    def claim(self, start: StartTree) -> AbstractAsyncContextManager[Sandbox]:
        """A fresh sandbox with this start tree. StageFailed when a patch does not apply, SandboxLost, BadInput."""
        return self._claim(start)

    async def __aenter__(self) -> BubblewrapPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back namespaces and the scratch folder. Claims must have ended."""
        for slot in self._free:
            if slot.namespace is not None:
                slot.namespace.close()
        self._free.clear()
        if not self._closed:
            self._closed = True
            _remove_now(self._root)
            os.close(self._lock)

    @contextlib.asynccontextmanager
    async def _claim(self, start: StartTree) -> AsyncIterator[Sandbox]:
        work = start_tree.prepare(start)
        slot = self._free.pop() if self._free else await asyncio.to_thread(self._new_slot)
        folder = self._root / f"{next(self._numbers)}"
        group: ControlGroup | None = None
        try:
            try:
                _make_folders(folder, slot)
                if self._groups is not None:
                    group = self._groups.create(f"{folder.parent.name}-{folder.name}", self.limits)
            except OSError as error:
                raise SandboxLost(f"cannot prepare a sandbox in {folder}: {error}") from error
            box = BubblewrapSandbox(self, slot, folder, group)
            await box.make_start_tree(work)
            yield box
        finally:
            await asyncio.shield(self._release(slot, folder, group))

    async def _release(self, slot: _Slot, folder: Path, group: ControlGroup | None) -> None:
        if group is not None:
            await asyncio.to_thread(group.remove)
        await asyncio.to_thread(_remove_now, folder)
        self._free.append(slot)

    def _new_slot(self) -> _Slot:
        index = next(self._numbers)
        return _Slot(index, UserNamespace(index) if os.geteuid() == 0 else None)

    def options(
        self,
        slot: _Slot,
        binds: Sequence[Bind],
        *,
        environment: Mapping[str, str],
        status_fd: int,
        data: Mapping[str, int],
    ) -> bytes:
        """bubblewrap's options for one command, as it reads them from `--args`; `data` are paths inside to descriptors."""
        options = bubblewrap_arguments(
            self._system,
            [*self._binds, *binds],
            environment=command_environment({**self._environment, **environment}),
            network=self._network,
            user_namespace_fd=slot.namespace.fd if slot.namespace is not None else None,
            status_fd=status_fd,
            data=data,
        )
        return b"".join(option.encode("utf-8", "replace") + b"\0" for option in options)

    def launcher(self, slot: _Slot, group: ControlGroup | None, options_fd: int) -> list[str]:
        """What comes before the command inside. Options go by descriptor: a command can read its parents' arguments."""
        joined = group.procs if group is not None else ()
        arguments = ["/bin/sh", "-c", launch_script(self.limits, joined), "sh", self._bwrap, "--args", str(options_fd)]
        if slot.namespace is not None:
            arguments += [self._setpriv, "--reuid", "1000", "--regid", "1000", "--clear-groups"]
        if group is None:
            arguments += [self._prlimit, f"--nproc={self.limits.processes}"]
        return arguments


class BubblewrapSandbox:
    """One claim. Commands may run side by side; each has its own namespaces over the same folders."""

    def __init__(self, pool: BubblewrapPool, slot: _Slot, folder: Path, group: ControlGroup | None) -> None:
        self._pool = pool
        self._slot = slot
        self._folder = folder
        self._group = group

    async def run(
        self, command: str, *, timeout: float, env: Mapping[str, str] | None = None, cwd: str = TESTBED
    ) -> Result:
        """Run `command` with bash, without its NUL characters; a command in a folder that is gone answers like a shell would, with exit code 1."""
        folder = "" if cwd == TESTBED else f"cd -- {shlex.quote(cwd)} || exit 1\n"
        body = (folder + command).replace("\0", "").encode("utf-8", "replace")
        inline = len(body) <= _ARGV_BYTES
        ended = await self._execute(
            ["/bin/bash", "-c", body] if inline else ["/bin/bash", _COMMAND_FILE],
            timeout=timeout,
            environment=env or {},
            data={} if inline else {_COMMAND_FILE: body},
        )
        return Result(
            output=ended.output.decode("utf-8", "replace"),
            exit_code=ended.exit_code,
            timed_out=ended.timed_out,
            truncated=ended.truncated,
            seconds=ended.seconds,
        )

    async def put(self, path: str, content: bytes) -> None:
        """Write a file, replacing what is there; runs inside, so no link leads out. Raises OSError."""
        ended = await self._execute(
            ["/bin/bash", "-c", _PUT, "put", _inside(path)], timeout=_TRANSFER_SECONDS, stdin=content
        )
        if ended.exit_code != 0:
            raise OSError(errno.EIO, f"cannot write: {ended.output.decode('utf-8', 'replace').strip()}", path)

    async def get(self, path: str) -> bytes:
        """Read a regular file of at most 256 MiB; runs inside. Raises FileNotFoundError, OSError (EFBIG)."""
        ended = await self._execute(
            ["/bin/bash", "-c", _GET, "get", _inside(path)], timeout=_TRANSFER_SECONDS, output_bytes=_GET_BYTES
        )
        if ended.truncated:
            raise OSError(errno.EFBIG, f"larger than {_GET_BYTES} bytes", path)
        if ended.exit_code != 0:
            raise FileNotFoundError(errno.ENOENT, "no regular readable file in the sandbox", path)
        return ended.output

    async def make_start_tree(self, work: start_tree.Preparation) -> None:
        """Unpack and commit the start tree. StageFailed when a patch does not apply or an archive is broken."""
        ended = await self._execute(
            ["/bin/bash", "-c", work.script],
            timeout=_START_SECONDS,
            binds=work.binds,
            data={f"{start_tree.INPUTS}/{name}": content for name, content in work.contents.items()},
        )
        if ended.exit_code != 0:
            said = ended.output[-2000:].decode("utf-8", "replace").strip()
            raise StageFailed(f"cannot make a start tree (exit code {ended.exit_code}): {said}")

    async def _execute(
        self,
        command: Sequence[str | bytes],
        *,
        timeout: float,
        environment: Mapping[str, str] | None = None,
        binds: Sequence[Bind] = (),
        data: Mapping[str, bytes] | None = None,
        stdin: bytes | None = None,
        output_bytes: int | None = None,
    ) -> Ended:
        own = [
            Bind(self._folder / "testbed", TESTBED, writable=True),
            Bind(self._folder / "tmp", "/tmp", writable=True),  # noqa: S108 - a path inside the sandbox
        ]
        try:
            # The agent owns these two and may have taken its own rights away.
            (self._folder / "testbed").chmod(0o755)
            (self._folder / "tmp").chmod(0o1777)
            watch = DiskWatch(self._folder, self._pool.limits.disk_bytes)
        except OSError as error:
            raise SandboxLost(f"the sandbox's folder is gone: {error}") from error
        with contextlib.ExitStack() as stack:
            files = {path: stack.enter_context(_memory_file(content)) for path, content in (data or {}).items()}
            namespace = self._slot.namespace

            options_fd = stack.enter_context(_memory_file(b""))

            def argv(status_fd: int) -> list[str | bytes]:
                options = self._pool.options(
                    self._slot, [*own, *binds], environment=environment or {}, status_fd=status_fd, data=files
                )
                os.pwrite(options_fd, options, 0)
                return [*self._pool.launcher(self._slot, self._group, options_fd), *command]

            ended = await run_bubblewrap(
                argv,
                pass_fds=[options_fd, *files.values(), *([namespace.fd] if namespace is not None else [])],
                timeout=timeout,
                output_bytes=self._pool.limits.output_bytes if output_bytes is None else output_bytes,
                stdin=stdin,
                over_limit=watch.over,
            )
        scratch = self._folder.parent.parent
        if ended.exit_code != 0 and _free(scratch)[0] < _FULL_BYTES:
            # Whatever failed may have failed for this: it says nothing about the repository or the model.
            raise disk_problem(OSError(errno.ENOSPC, "", str(scratch)), scratch)
        return ended


def _inside(path: str) -> str:
    return path if path.startswith("/") else f"{TESTBED}/{path}"


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise InfrastructureError(f"`{name}` is not on this machine; install the package `{package}`")
    return found


def _own_folder(scratch: Path) -> tuple[Path, int]:
    """A folder of this pool's own below `scratch` and the lock that says so; removes those of workers that are gone.

    A lock and not a process id tells who is alive: workers in different containers may share the folder.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    for old in scratch.glob("pool-*"):
        with contextlib.suppress(OSError):
            lock = _lock(old)
            _remove_now(old)
            os.close(lock)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=scratch.absolute()))
    lock = _lock(fresh)
    return fresh.rename(fresh.with_name(f"pool-{os.getpid()}-{fresh.name.removeprefix('.new-')}")), lock


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock; BlockingIOError while a living process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_now(folder: Path) -> None:
    """Remove a tree of any depth and modes."""
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        if folder.exists():
            subprocess.run([*command, "--", str(folder)], check=False, capture_output=True)


def _make_folders(folder: Path, slot: _Slot) -> None:
    folder.mkdir(mode=0o755)
    for name, mode in (("testbed", 0o755), ("tmp", 0o1777)):
        path = folder / name
        path.mkdir()
        if slot.namespace is not None:
            os.chown(path, slot.namespace.outside_id, slot.namespace.outside_id)
        path.chmod(mode)


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[int]:
    """A descriptor, at its start, of a file that lives in memory only."""
    descriptor = os.memfd_create("repoexpert", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


class DiskWatch:
    """Says when a claim's folder has grown past its bound; measures it only when the disk itself has filled a lot."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._free, self._files = _free(folder)

    def over(self) -> bool:
        free, files = _free(self._folder)
        if self._files - files > _MOST_FILES:
            return True
        if self._free - free < self._limit // 4:
            return False
        self._free = free
        return _used_bytes(self._folder) > self._limit


def _free(folder: Path) -> tuple[int, int]:
    """Bytes and files that the disk still has room for."""
    figures = os.statvfs(folder)
    return figures.f_bavail * figures.f_frsize, figures.f_favail


def _used_bytes(folder: Path) -> int:
    answer = subprocess.run(["du", "-sxk", "--", str(folder)], capture_output=True, text=True, check=False)
    return int(answer.stdout.split()[0]) * 1024 if answer.stdout.strip() else 0
