"""Installs the repository for its tests, in a sandbox with the network, as of the end of the cutoff day.

The only place where the repository's build code runs with a network. Called by the environment stage for one rung of
the ladder after another; the virtual environment is made at the path where every sandbox has it.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repoexpert.errors import InfrastructureError
from repoexpert.repository import leaks
from repoexpert.repository.buildsettings import BuildSettings
from repoexpert.repository.ladder import Rung
from repoexpert.repository.pythons import Interpreter
from repoexpert.repository.records import TestCommand, TestResult
from repoexpert.repository.testing import collect_tests
from repoexpert.sandbox.arguments import Bind
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.protocol import ENVIRONMENT, TESTBED, Limits, Result, Sandbox, StartTree

_TOOLS = "/opt/repoexpert/tools"
_CACHE = "/opt/repoexpert/cache"
_GIT = "/opt/repoexpert/git.tar"
_SECONDS = 1800.0
_COLLECT_SECONDS = 300.0
_LIMITS = Limits(memory_bytes=8 << 30, processes=1024, cpu_seconds=7200, file_bytes=4 << 30)
_PIP = '#!/bin/sh\nexec uv pip "$@"\n'
_CHECKOUT = f"mkdir -p .git && tar -xf {_GIT} -C .git && git read-tree HEAD && git update-index -q --refresh || true"
_UNTRACKED = r"find . -name .git -prune -o \( -type f -o -type l \) -print0 > /tmp/files"
_SMOKE = "mkdir -p /tmp/smoke && cd /tmp/smoke && echo 'def test_a(): assert [1] == [1]' > test_a.py && python -m pytest -q -p no:cacheprovider -c /dev/null test_a.py"


@dataclass(frozen=True)
class Workshop:
    """What every attempt at installing one tree shares."""

    tree: Path
    paths: Mapping[str, str]
    """Path of every tracked file to its blob id."""
    git: Path | None
    """A tar of a `.git` folder with the history up to the commit, for projects that read their version from it."""
    interpreter: Interpreter
    exclude_newer: str
    uv: Path
    probe: Path
    settings: BuildSettings
    cache: Path
    scratch: Path
    name: str
    """The project's name on a package index; may be empty."""
    roots: tuple[str, ...]
    packages: tuple[str, ...]
    test: TestCommand


@dataclass(frozen=True)
class Installed:
    """What one attempt gave. `log` is redacted, and so is `last`: the command that failed with what it put out, or,
    after a whole installation, what pytest put out when it was asked for the tests."""

    rung: Rung
    succeeded: bool
    log: str
    last: str
    environment: Path
    overlay: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    tests: tuple[str, ...] = ()
    broken: Mapping[str, TestResult] = field(default_factory=dict)


class _Log:
    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings
        self._parts: list[str] = []

    def add(self, command: str, result: Result) -> None:
        self._parts.append(f"$ {command}\n{self._settings.redact(result.output)}\n[exit code {result.exit_code}]\n")

    def note(self, text: str) -> None:
        self._parts.append(f"# {text}\n")

    @property
    def last(self) -> str:
        return self._parts[-1] if self._parts else ""

    def __str__(self) -> str:
        return "".join(self._parts)


async def attempt(shop: Workshop, rung: Rung, environment: Path) -> Installed:
    """Try one rung into `environment`, a new folder; it holds the virtual environment afterwards.

    A command that fails is an attempt that did not succeed; only the machine's own failures are raised.
    """
    log = _Log(shop.settings)
    _make_open_folder(environment)
    async with _pool(shop, environment) as pool, pool.claim(StartTree(shop.tree, commit=False)) as box:
        if not await _install(box, shop, rung, log):
            return Installed(rung, False, str(log), log.last, environment)
        overlay = await _overlay(box, shop, rung, environment, log)
        await _step(
            box, f"python -m compileall -q -j 2 --invalidation-mode unchecked-hash {ENVIRONMENT}/lib || true", log
        )
        tests, broken, output = await collect_tests(box, shop.test, timeout=_COLLECT_SECONDS)
        log.note(
            f"{len(tests)} tests found, {len(broken)} files cannot be read\n{output if broken or not tests else ''}"
        )
    return Installed(rung, True, str(log), shop.settings.redact(output), environment, overlay, tests, broken)


def _make_open_folder(folder: Path) -> None:
    # The sandbox's user is not ours; the folder above is private.
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def _pool(shop: Workshop, environment: Path) -> BubblewrapPool:
    tools, cache = shop.scratch / "tools", shop.cache / "uv"
    for folder in (tools, cache):
        folder.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o777)
    (tools / "uv").touch()
    (tools / "pip").write_text(_PIP, encoding="utf-8")
    (tools / "pip").chmod(0o755)
    binds = [Bind(tools, _TOOLS), Bind(shop.uv, f"{_TOOLS}/uv"), Bind(cache, _CACHE, writable=True)]
    binds += [Bind(shop.git, _GIT)] if shop.git else []
    binds += [Bind(file, str(file)) for file in shop.settings.files if not file.is_relative_to("/etc/ssl")]
    variables = {
        **shop.settings.variables,
        "PATH": f"{ENVIRONMENT}/bin:{_TOOLS}:/usr/local/bin:/usr/bin:/bin",
        "UV_CACHE_DIR": _CACHE,
        "UV_LINK_MODE": "copy",
        "UV_EXCLUDE_NEWER": shop.exclude_newer,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "SOURCE_DATE_EPOCH": "946684800",
        "PYTHONHASHSEED": "0",
    }
    return BubblewrapPool(
        environment,
        shop.probe,
        shop.interpreter.prefix,
        _LIMITS,
        shop.scratch / "boxes",
        network=True,
        environment_writable=True,
        binds=binds,
        environment=variables,
    )


async def _step(box: Sandbox, command: str, log: _Log, variables: Mapping[str, str] | None = None) -> bool:
    result = await box.run(command, timeout=_SECONDS, env=variables)
    log.add(command, result)
    return result.exit_code == 0


async def _install(box: Sandbox, shop: Workshop, rung: Rung, log: _Log) -> bool:
    commands = [f"uv venv --quiet --python {shlex.quote(str(shop.interpreter.executable))} {ENVIRONMENT}"]
    if shop.git:
        commands.append(_CHECKOUT)
    for command in commands:
        if not await _step(box, command, log):
            return False
    variables = await _pretended_version(box, shop, log) if shop.git else {}
    for command in rung.commands:
        if not await _step(box, command, log, variables):
            return False
    return await _step(box, _SMOKE, log)


async def _pretended_version(box: Sandbox, shop: Workshop, log: _Log) -> dict[str, str]:
    """Where no tag tells a version the build would call itself 0.1, too old for what depends on it: the newest version
    published up to the cutoff is named instead, to the build tools that take one."""
    if not shop.name or (await box.run("git describe --tags", timeout=_SECONDS)).exit_code == 0:
        return {}
    command = f"echo {shlex.quote(shop.name)} | uv pip compile --quiet --no-deps --no-header --no-annotate -"
    result = await box.run(command, timeout=_SECONDS)
    log.add(command, result)
    match = re.search(r"==\s*(\S+)", result.output)
    if result.exit_code or not match:
        return {}
    names = (
        "SETUPTOOLS_SCM_PRETEND_VERSION",
        "PBR_VERSION",
        "PDM_BUILD_SCM_VERSION",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
    )
    return dict.fromkeys(names, match[1])


async def _overlay(box: Sandbox, shop: Workshop, rung: Rung, environment: Path, log: _Log) -> dict[str, bytes]:
    """Clean the environment of the repository's sources and take what installing left in the tree."""
    removed, extensions = leaks.remove_copies(environment, shop.paths.keys(), shop.roots, shop.packages)
    overlay = {path: file.read_bytes() for path, file in extensions.items()}
    if removed:
        log.note(
            f"{len(removed)} copies of the repository's files removed from site-packages, for instance {removed[0]}"
        )
    if removed or rung.path_file:
        leaks.write_path_file(environment, shop.roots, TESTBED)
    leaks.drop_volatile(environment)
    blobs = {blob: path for path, blob in shop.paths.items()}
    for line in leaks.find_copies(environment, blobs):
        log.note(f"a third-party package holds a copy of a tracked file: {line}")
    await box.run(_UNTRACKED, timeout=_SECONDS)
    listing = (await box.get("/tmp/files")).decode(errors="surrogateescape")  # noqa: S108 - private to the sandbox
    untracked = (path.removeprefix("./") for path in listing.split("\0") if path)
    wanted = leaks.overlay_paths(path for path in untracked if path not in shop.paths)
    overlay |= {
        path: content
        for path, content in (await _take(box, wanted)).items()
        if len(content) < 200 or leaks.blob_id(content) not in blobs
    }
    log.note(f"{len(overlay)} files made by installing are kept: {', '.join(list(overlay)[:20])}")
    return overlay


async def _take(box: Sandbox, paths: tuple[str, ...]) -> dict[str, bytes]:
    """Contents of files of the sandbox's tree; links are left out."""
    if not paths:
        return {}
    await box.put("/tmp/wanted", b"\0".join(path.encode(errors="surrogateescape") for path in paths) + b"\0")  # noqa: S108
    made = await box.run("tar --null --no-recursion -T /tmp/wanted -cf /tmp/overlay.tar", timeout=_SECONDS)
    if made.exit_code:
        raise InfrastructureError(f"cannot read what installing left in the tree: {made.output[-500:]}")
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(await box.get("/tmp/overlay.tar")), errors="surrogateescape") as archive:  # noqa: S108
        for member in archive:
            if member.isreg() and (stream := archive.extractfile(member)):
                contents[member.name.removeprefix("./")] = stream.read()
    return contents


def find_uv() -> Path:
    """The uv program: beside this interpreter, else on the search path. Raises InfrastructureError."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise InfrastructureError("uv is not installed; install it with `pip install uv`")
    return Path(found).resolve()
