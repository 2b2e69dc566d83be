"""Turns a tree into the archives of an environment: climbs the ladder, keeps every log, packs the best attempt.

Called by the environment stage. What is finished is written whole, so that a second try goes on from there.
"""

from __future__ import annotations

import errno
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from repoexpert.errors import BadInput, InfrastructureError, StageFailed
from repoexpert.repository import leaks, trees
from repoexpert.repository.buildsettings import BuildSettings
from repoexpert.repository.detection import Detected, detect, wanted_files
from repoexpert.repository.installing import Installed, Workshop, attempt
from repoexpert.repository.ladder import Rung
from repoexpert.repository.mirror import Mirror
from repoexpert.repository.objects import Blobs
from repoexpert.repository.pythons import Interpreter
from repoexpert.repository.records import InstallAttempt
from repoexpert.storage.problems import disk_problem

_COVERAGE = "coverage>=7.6,<7.7"
"""The newest that still runs on Python 3.8."""
_DAY_SECONDS = 86_400
_NO_SPACE = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
_LINES = 12
"""Of a failed command's output, in a message."""
_WIDTH = 240
_BROKEN_SHARE = 0.25
"""Above this share of unreadable test files the next rung may do better."""


class Built(BaseModel):
    """The chosen attempt, as it is kept between two tries of the stage."""

    model_config = ConfigDict(frozen=True)

    rung: str
    attempts: tuple[InstallAttempt, ...]
    tests: tuple[str, ...]
    broken: tuple[str, ...]


def read_repository(mirror: Mirror, commit: str, archive: Path) -> tuple[dict[str, str], Detected]:
    """Write the tree's archive; path to blob id of every file, and what the files say."""
    entries = trees.write_tree(mirror.path, commit, archive)
    blobs = {entry.path: entry.blob for entry in entries}
    readable = [entry.path for entry in entries if not entry.is_link]
    texts = {}
    with Blobs(mirror.path) as contents:
        for path in wanted_files(readable):
            texts[path] = (contents.read(blobs[path]) or b"").decode(errors="replace")
    return blobs, detect(texts, readable)


def need_system_packages(packages: Sequence[str]) -> None:
    """Raises BadInput naming the Debian packages of `environment.systemPackages` that this machine lacks."""
    if not packages:
        return
    if not shutil.which("dpkg-query"):
        raise BadInput("spec.environment.systemPackages can only be checked on Debian; this machine has no dpkg-query")
    names = [re.split("[=:]", package)[0] for package in packages]
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    there = {line.split()[0].partition(":")[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    if missing := [name for name in names if name not in there]:
        raise BadInput(
            f"spec.environment.systemPackages: this machine lacks {', '.join(missing)}; "
            f"install with `apt-get install {' '.join(missing)}`"
        )


def sweep(builds: Path, now: float) -> None:
    """Remove what killed builds left a day ago or earlier; younger folders may belong to a build at work."""
    for folder in builds.iterdir():
        if now - folder.stat().st_mtime > _DAY_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def make_probe(interpreter: Interpreter, uv: Path, settings: BuildSettings, folder: Path, archive: Path) -> None:
    """The pytest plugin and coverage for that interpreter, as `archive`; `folder` is scratch."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = resources.files("repoexpert.repository").joinpath("probe", "repoexpert_probe.py")
    (folder / "repoexpert_probe.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    command = [
        *(
            str(uv),
            "pip",
            "install",
            "--quiet",
            "--no-config",
            "--only-binary",
            ":all:",
            "--target",
            str(folder / "lib"),
        ),
        *("--python", str(interpreter.executable), "--no-python-downloads", _COVERAGE),
    ]
    environment = {
        **settings.variables,
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "UV_CACHE_DIR": f"{folder}.cache",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    shutil.rmtree(f"{folder}.cache", ignore_errors=True)
    if done.returncode:
        raise InfrastructureError(f"cannot install {_COVERAGE} for the probe: {settings.redact(done.stderr)[-1000:]}")
    for bytecode in list(folder.rglob("__pycache__")):
        shutil.rmtree(bytecode)
    trees.pack(folder, archive, keep=lambda path: not path.startswith("lib/bin"))


async def build(shop: Workshop, rungs: Sequence[Rung], folder: Path, work: Path, tell: Callable[[str], None]) -> Built:
    """Climb until an attempt's tests can be read; pack the best into `work`. `folder` is scratch of this process.

    Raises StageFailed when no attempt installs, or none finds a test.
    """
    tried: list[Installed] = []
    records: list[InstallAttempt] = []
    for number, rung in enumerate(rungs, 1):
        tell(f"installing: {rung.name}")
        result = await attempt(shop, rung, folder / f"env-{number}")
        log = f"logs/install-{number}-{re.sub('[^a-z]+', '-', rung.name)}.log"
        (work / log).write_text(result.log, encoding="utf-8", errors="replace")
        records.append(InstallAttempt(name=rung.name, commands=rung.commands, succeeded=result.succeeded, log=log))
        tried.append(result)
        if not result.tests and _NO_SPACE.search(result.last):
            raise disk_problem(OSError(errno.ENOSPC, "", str(folder)), folder)
        files = {test.partition("::")[0] for test in result.tests}
        if result.tests and len(result.broken) <= _BROKEN_SHARE * (len(files) + len(result.broken)):
            break
    best = max(tried, key=lambda result: (result.succeeded, len(result.tests)))
    if not best.succeeded:
        raise StageFailed(
            f"the repository cannot be installed (tried: {_names(records)}). Say how with spec.environment.install and "
            f"spec.environment.python, or move spec.repository.cutoff later. The command that failed last:\n"
            f"{_end(tried[-1].last)}"
        )
    if not best.tests:
        command = " ".join((*shop.test.command, *shop.test.paths))
        raise StageFailed(
            f"`{command}` finds no tests in the repository at the cutoff (installed: {best.rung.name}). Say where they "
            "are with spec.environment.test.paths or how they run with spec.environment.test.command, or move "
            f"spec.repository.cutoff later. Its last lines:\n{_end(best.last)}"
        )
    tell("packing the environment")
    trees.pack(best.environment, work / "env.tar.zst")
    _write_overlay(best, work / "overlay.tar.zst")
    (work / "lock.txt").write_text("".join(f"{line}\n" for line in leaks.installed(best.environment)), encoding="utf-8")
    return Built(rung=best.rung.name, attempts=tuple(records), tests=best.tests, broken=tuple(sorted(best.broken)))


def _names(records: Sequence[InstallAttempt]) -> str:
    return ", ".join(record.name for record in records)


def _end(output: str) -> str:
    """The command and the last lines, short enough for a termination message."""
    lines = [line[:_WIDTH] for line in output.splitlines() if line.strip()]
    if len(lines) > _LINES:
        lines = [*lines[:1], "...", *lines[1 - _LINES :]] if lines[0].startswith("$ ") else lines[-_LINES:]
    return "\n".join(lines) or "(it put out nothing)"


def _write_overlay(best: Installed, target: Path) -> None:
    with trees.writing_archive(target) as archive:
        for path, content in sorted(best.overlay.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.mtime = len(content), 0o644, trees.FILE_TIME
            archive.addfile(member, io.BytesIO(content))


def load_built(file: Path) -> Built | None:
    """The finished installation that an earlier try left, if any."""
    return Built.model_validate_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def save_built(file: Path, built: Built) -> None:
    """Written last: its presence says that the archives are whole."""
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps(built.model_dump(mode="json")), encoding="utf-8")
    aside.replace(file)
