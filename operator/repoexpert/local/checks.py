"""What a machine has, check by check. Called by `repoexpert doctor`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from repoexpert.stages.tools import command_version

FREE_GIGABYTES = 15
"""Environment, base model, checkpoints and the candidate of a small student."""
MEMORY_GIGABYTES = 12


@dataclass(frozen=True)
class Check:
    """One thing: `missing` stops `repoexpert run`, `absent` stops only the backend named in `needed_for`."""

    name: str
    needed_for: str
    state: Literal["ok", "missing", "absent"]
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """For `doctor --json`."""
        return {"name": self.name, "neededFor": self.needed_for, "state": self.state,
                "found": self.found, "remedy": self.remedy}  # fmt: skip


def examine(cache: Path, store: str) -> list[Check]:
    """All checks, what `repoexpert run` needs first."""
    return [
        _command("git", "every stage", "install it: apt-get install git"),
        _command("uv", "environment", "install it: pip install uv"),
        _bubblewrap(),
        *_pythons(),
        _module("swift", "training", "install repoexpert[train]"),
        _module("torch", "training", "install repoexpert[train]"),
        _module("transformers", "training", "install repoexpert[train]"),
        _module("minisweagent", "rollout", "install repoexpert[experience]"),
        _module("vllm", "evaluation", "install repoexpert[local] (or repoexpert[serve] where there is a GPU)"),
        _disk("cache", cache),
        *([] if "://" in store else [_disk("store", Path(store).expanduser().absolute())]),
        _memory(),
        _module("s3fs", "s3:// stores", "install repoexpert[core]", required="://" in store),
        _gpus(),
        _docker(),
        _kubernetes(),
    ]


def _command(name: str, needed: str, remedy: str) -> Check:
    version = command_version(name) or (command_version(str(Path(sys.executable).with_name(name))))
    return Check(name, needed, "ok" if version else "missing", version or "not found", "" if version else remedy)


def _module(name: str, needed: str, remedy: str, *, required: bool = True) -> Check:
    """Whether it could be imported; importing it would take half a minute."""
    spec = importlib.util.find_spec(name)
    if spec is not None:
        return Check(name, needed, "ok", "installed")
    return Check(name, needed, "missing" if required else "absent", "not installed", remedy)


def _bubblewrap() -> Check:
    name, needed = "bubblewrap", "sandboxes"
    path = shutil.which("bwrap")
    if path is None:
        return Check(name, needed, "missing", "not found", "install it: apt-get install bubblewrap")
    command = [path, "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, needed, "missing", f"does not start: {error}", "see the message; try it by hand")
    if done.returncode == 0:
        return Check(name, needed, "ok", command_version("bwrap") or "works")
    return Check(
        name,
        needed,
        "missing",
        f"does not work: {(done.stderr.strip().splitlines() or ['no message'])[-1]}",
        "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu 24.04 also "
        "kernel.apparmor_restrict_unprivileged_userns=0); inside a container it must run privileged",
    )


def _pythons() -> Iterator[Check]:
    """Interpreters that a repository's environment can be made of."""
    found: dict[str, str] = {}
    for minor in range(6, 16):
        path = shutil.which(f"python3.{minor}")
        if path:
            found[f"3.{minor}"] = path
    found.setdefault(f"{sys.version_info.major}.{sys.version_info.minor}", sys.executable)
    for version in _uv_pythons():
        found.setdefault(version, "uv")
    versions = sorted(found, key=lambda version: int(version.split(".")[1]))
    yield Check(
        "python", "environment: a repository needs a version it ran on at its cutoff", "ok", ", ".join(versions)
    )


def _uv_pythons() -> list[str]:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        return []
    command = [uv, "python", "list", "--only-installed", "--offline"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("cpython-3.")]
    return [".".join(name.split("-")[1].split(".")[:2]) for name in names]


def _disk(name: str, folder: Path) -> Check:
    """Room and permission at the folder, or where it would be made."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return Check(f"{name} folder", "every stage", "missing", f"{existing} is not writable", "choose another folder")
    enough = free >= FREE_GIGABYTES
    remedy = "" if enough else f"free some space: {FREE_GIGABYTES} GB is comfortable for a small student"
    return Check(
        f"{name} folder", "every stage", "ok" if enough else "missing", f"{free:.0f} GB free at {existing}", remedy
    )


def _memory() -> Check:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    found = f"{total:.0f} GB, {os.cpu_count()} cores"
    if total >= MEMORY_GIGABYTES:
        return Check("memory", "training", "ok", found)
    return Check("memory", "training", "missing", found, f"{MEMORY_GIGABYTES} GB train and serve a small student")


def _gpus() -> Check:
    name, needed = "gpu", "megatron training, large students"
    path = shutil.which("nvidia-smi")
    if path is None:
        return Check(name, needed, "absent", "none: training and serving run on the CPU")
    command = [path, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Check(name, needed, "absent", "nvidia-smi does not answer")
    lines = done.stdout.strip().splitlines()
    return Check(name, needed, "ok" if lines else "absent", "; ".join(lines) or "none")


def _docker() -> Check:
    host = os.environ.get("DOCKER_HOST", "")
    socket = Path(host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock")
    if host and not host.startswith("unix://"):
        return Check("docker", "docker sandboxes", "ok", host)
    if socket.exists() and os.access(socket, os.W_OK):
        return Check("docker", "docker sandboxes", "ok", str(socket))
    why = f"{socket} is not writable" if socket.exists() else "no daemon"
    return Check("docker", "docker sandboxes", "absent", why, "start a Docker daemon that you may use")


def _kubernetes() -> Check:
    """A configuration only; whether the cluster answers is not asked."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    places = [Path(named).expanduser()] if named else [Path("~/.kube/config").expanduser()]
    places.append(Path("/var/run/secrets/kubernetes.io/serviceaccount/token"))
    found = next((place for place in places if place.exists()), None)
    if found is not None:
        return Check("kubernetes", "the operator", "ok", str(found))
    return Check("kubernetes", "the operator", "absent", "no configuration", "set KUBECONFIG")
