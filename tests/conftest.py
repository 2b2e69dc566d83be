"""Shared fixtures, and the guard that fails a run which leaves a process or a mount behind."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("repoexpert", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("repoexpert"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "repoexpert")

_MARK = f"REPOEXPERT_TEST_RUN={uuid.uuid4().hex}"
_GRACE_SECONDS = 5.0


def _processes_of_this_run() -> dict[int, str]:
    """Processes other than this one whose environment carries the run's mark (children inherit it)."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if _MARK.encode() in (folder / "environ").read_bytes() and (folder / "cmdline").read_bytes():
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except OSError:
            continue  # gone meanwhile, or somebody else's
    return found


def _mounts_below(path: Path) -> list[str]:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [fields[4] for line in mounts if (fields := line.split())[4].startswith(f"{path}/")]


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run when a process or a mount made by a test outlives it."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        yield
        return
    name, value = _MARK.split("=")
    os.environ[name] = value
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    while (left := _processes_of_this_run()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"processes left behind: {left}"
    mounts = _mounts_below(tmp_path_factory.getbasetemp())
    assert not mounts, f"mounts left behind: {mounts}"


@pytest.fixture(autouse=True)
def no_user_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor depend on the Git configuration and the teacher key of whoever runs them."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.org")
    monkeypatch.delenv("REPOEXPERT_TEACHER_API_KEY", raising=False)
