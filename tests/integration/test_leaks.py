"""No object of the fix or of the future is reachable in a sandbox, by Git, bytecode, an installed copy or the network."""

from __future__ import annotations

import os
import py_compile
import socket
import subprocess
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from repoexpert.sandbox.protocol import Sandbox, StartTree
from tests.builders.sandboxes import PYTHON, make_archive, make_pool

SECRET = "the_fix_uses_this_very_expression"
FUTURE = "this_feature_comes_after_the_cutoff"
BUGGY = "def answer(x):\n    return x\n"
FIXED = f"def answer(x):\n    {SECRET} = x + 1\n    return {SECRET}\n"


@dataclass
class Leaky:
    """A claimed sandbox and what must not be found in it."""

    box: Sandbox
    fixed_blobs: tuple[str, ...]
    future_commits: tuple[str, ...]


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _history(path: Path) -> Path:
    """Bug, then fix (the cutoff tree holds it), then a future; with bytecode and notes lying about."""
    path.mkdir()
    _git(path, "init", "-q", "-b", "main")
    for name, content, message in (
        ("lib.py", BUGGY, "Add answer"),
        ("lib.py", FIXED, "Fix answer"),
        ("feature.py", f"{FUTURE} = 1\n", "Add a feature"),
    ):
        (path / name).write_text(content)
        _git(path, "add", "-A")
        _git(path, "commit", "-q", "-m", message)
    return path


@pytest.fixture
async def leaky(tmp_path: Path) -> AsyncIterator[Leaky]:
    repository = _history(tmp_path / "origin")
    cutoff = _git(repository, "rev-parse", "HEAD~1")
    archive = tmp_path / "tree.tar"
    _git(repository, "archive", "--format=tar", f"--output={archive}", cutoff)
    start_patch = _git(repository, "diff", f"{cutoff}", f"{cutoff}~1", "--", "lib.py") + "\n"
    overlay = _overlay_with_bytecode(tmp_path, repository)
    environment = _environment(tmp_path)
    start = StartTree(archive, overlay=overlay, patches=(start_patch,))
    async with make_pool(tmp_path / "scratch", environment_dir=environment) as pool, pool.claim(start) as box:
        blob = _git(repository, "rev-parse", f"{cutoff}:lib.py")
        yield Leaky(box, (blob,), tuple(_git(repository, "rev-list", "HEAD").split()))


def _overlay_with_bytecode(tmp_path: Path, repository: Path) -> Path:
    """What an installation may have left: compiled copies of the fixed source beside it."""
    _git(repository, "checkout", "-q", "HEAD~1")
    compiled = py_compile.compile(str(repository / "lib.py"), doraise=True)
    with tarfile.open(tmp_path / "overlay.tar", "w") as archive:
        archive.add(compiled, "__pycache__/lib.cpython-311.pyc")
        archive.add(compiled, "build/lib.pyc")
    return tmp_path / "overlay.tar"


def _environment(tmp_path: Path) -> Path:
    folder = tmp_path / "environment"
    (folder / "lib/python3.11/site-packages").mkdir(parents=True)
    return folder


async def test_the_start_tree_holds_the_bug(leaky: Leaky) -> None:
    assert await leaky.box.get("lib.py") == BUGGY.encode()


async def test_git_holds_one_commit_and_only_the_objects_of_its_tree(leaky: Leaky) -> None:
    command = "git cat-file --batch-all-objects --batch-check --unordered"
    objects = [line.split() for line in (await leaky.box.run(command, timeout=20)).output.splitlines()]
    kinds = sorted(kind for _, kind, _ in objects)
    assert kinds == ["blob", "commit", "tree"]
    names = {name for name, _, _ in objects}
    assert not names & {*leaky.fixed_blobs, *leaky.future_commits}
    everything = await leaky.box.run("git cat-file --batch-all-objects --batch", timeout=20)
    assert SECRET not in everything.output
    assert FUTURE not in everything.output


async def test_git_has_no_reflog_alternate_remote_stash_hook_or_other_reference(leaky: Leaky) -> None:
    look = (
        "git reflog; git stash list; git remote; git notes list 2>/dev/null; git for-each-ref --format='%(refname)';"
        "find .git -name hooks -o -name logs -o -name alternates -o -name packed-refs -o -name '*_HEAD' -o -name modules"
    )
    assert (await leaky.box.run(look, timeout=20)).output == "refs/heads/main\n"
    log = await leaky.box.run("git log --all --format='%s %an %ad' --date=iso", timeout=20)
    assert log.output == "Start Developer 2000-01-01 00:00:00 +0000\n"
    assert (await leaky.box.run("git fsck --lost-found --unreachable", timeout=20)).output == ""


async def test_no_file_anywhere_holds_the_fix_or_the_future(leaky: Leaky) -> None:
    search = (
        f"grep -rlaE '{SECRET}|{FUTURE}' / --exclude-dir=proc --exclude-dir=usr 2>/dev/null;"
        "find / -name '*.pyc' -newer /etc/passwd -not -path '/proc/*' 2>/dev/null; true"
    )
    assert (await leaky.box.run(search, timeout=120)).output == ""


async def test_no_other_python_packages_of_the_machine_are_visible(leaky: Leaky) -> None:
    find = (
        "find / -xdev \\( -name site-packages -o -name dist-packages \\) -type d 2>/dev/null"
        ' | while read d; do ls -A $d | sed "s|^|$d/|"; done'
    )
    assert (await leaky.box.run(find, timeout=60)).output == ""
    imported = await leaky.box.run(f"{PYTHON} -c 'import repoexpert'; {PYTHON} -c 'import pytest'", timeout=20)
    assert imported.output.count("ModuleNotFoundError") == 2


async def test_bytecode_is_not_written_beside_sources(leaky: Leaky) -> None:
    assert (await leaky.box.run(f"{PYTHON} -c 'import lib' && ls -A", timeout=20)).output == ".git\nlib.py\n"


@pytest.fixture
def host_server() -> Iterator[int]:
    """A server on the machine's loopback."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                server.accept()[0].close()
            except TimeoutError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    stop.set()
    thread.join()
    server.close()


async def test_the_network_is_closed(leaky: Leaky, host_server: int) -> None:
    with socket.create_connection(("127.0.0.1", host_server), timeout=2):
        pass
    for target in (f"'127.0.0.1', {host_server}", "'1.1.1.1', 53", "'::1', 80", "'169.254.169.254', 80"):
        code = f"import socket; socket.create_connection(({target}), timeout=3)"
        result = await leaky.box.run(f'{PYTHON} -c "{code}"', timeout=20)
        assert "OSError" in result.output or "Error" in result.output, target
        assert result.exit_code == 1, target
    resolve = await leaky.box.run(f"{PYTHON} -c \"import socket; socket.gethostbyname('example.org')\"", timeout=30)
    assert "gaierror" in resolve.output
    interfaces = await leaky.box.run("tail -n +3 /proc/net/dev | cut -d: -f1", timeout=10)
    assert interfaces.output.split() == ["lo"]


async def test_abstract_sockets_of_the_machine_cannot_be_reached(leaky: Leaky) -> None:
    name = f"\0repoexpert-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + {name[1:]!r})"
        result = await leaky.box.run(f'{PYTHON} -c "{code}"', timeout=20)
    assert "ConnectionRefusedError" in result.output


async def test_folders_of_the_machine_cannot_be_read(leaky: Leaky, tmp_path: Path) -> None:
    for path in ("/work", "/root/.ssh", "/root/.bashrc", "/home", "/var", "/sys", str(tmp_path), str(Path.cwd())):
        result = await leaky.box.run(f"ls {path}", timeout=10)
        assert result.exit_code != 0, path
    inside = (await leaky.box.run("find /root 2>/dev/null | grep -v -F /root/.pyenv | wc -l", timeout=20)).output
    assert int(inside) <= 1


async def test_processes_of_the_machine_cannot_be_seen_or_signalled(leaky: Leaky) -> None:
    seen = await leaky.box.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", timeout=10)
    assert "pytest" not in seen.output
    assert (await leaky.box.run(f"kill -0 {os.getpid()}", timeout=10)).exit_code != 0
    traced = await leaky.box.run(
        "cat /proc/1/root/etc/hostname /proc/1/environ /proc/1/mem; ls /proc/1/cwd/", timeout=10
    )
    assert traced.exit_code != 0


async def test_a_second_task_in_the_same_pool_sees_nothing_of_the_first(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "tree.tar", {"a.py": "A = 1\n"})
    mark = "left_by_the_first_task"
    async with make_pool(tmp_path / "scratch") as pool:
        async with pool.claim(StartTree(archive)) as box:
            await box.run(f"echo {mark} | tee a.py /tmp/x ~/x /dev/shm/x; git commit -qam {mark}", timeout=10)
        async with pool.claim(StartTree(archive)) as box:
            found = await box.run(f"grep -rla {mark} /testbed /tmp /dev/shm ~; git log --format=%s", timeout=10)
            assert found.output == "Start\n"
