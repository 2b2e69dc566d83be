"""The bubblewrap backend against real processes: what a command gets, and what it cannot do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from repoexpert.errors import BadInput, InfrastructureError, SandboxLost, StageFailed
from repoexpert.sandbox.bubblewrap import BubblewrapPool
from repoexpert.sandbox.cgroups import ControlGroups
from repoexpert.sandbox.protocol import Sandbox, StartTree
from tests.builders.sandboxes import MIB, PYTHON, make_archive, make_pool

FILES = {"README.md": "hello\n", "pkg/__init__.py": "VALUE = 1\n", ".gitignore": "*.txt\n", "kept.txt": "tracked\n"}
with_control_groups = pytest.mark.skipif(ControlGroups.find() is None, reason="no control groups for us here")


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[BubblewrapPool]:
    async with make_pool(tmp_path / "scratch") as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> StartTree:
    return StartTree(make_archive(tmp_path / "tree.tar", FILES))


@pytest.fixture
async def box(pool: BubblewrapPool, start: StartTree) -> AsyncIterator[Sandbox]:
    async with pool.claim(start) as claimed:
        yield claimed


async def test_commands_share_the_tree_and_tmp_and_nothing_else(box: Sandbox) -> None:
    await box.run("echo 1 > made; echo 2 > /tmp/made; export SET=1; sleep 60 & ", timeout=10)
    result = await box.run("cat made /tmp/made; echo ${SET:-unset}; ps -e -o comm= | grep -c sleep; pwd", timeout=10)
    assert result.output == "1\n2\nunset\n0\n/testbed\n"


async def test_output_joins_both_streams_and_the_exit_code_is_the_shells(box: Sandbox) -> None:
    result = await box.run("echo out; echo err >&2; exit 7", timeout=10)
    assert (result.output, result.exit_code, result.timed_out) == ("out\nerr\n", 7, False)


async def test_a_command_killed_by_a_signal_has_the_shells_code_for_it(box: Sandbox) -> None:
    assert (await box.run("kill -9 $$", timeout=10)).exit_code == 137


async def test_the_user_is_1000_without_any_capability_and_cannot_gain_one(box: Sandbox) -> None:
    result = await box.run("id -u; id -G; grep -E 'Cap(Inh|Prm|Eff)|NoNewPrivs' /proc/self/status", timeout=10)
    lines = result.output.split("\n")
    assert lines[:2] == ["1000", "1000"]
    assert "CapPrm:\t0000000000000000" in lines
    assert "CapEff:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines


async def test_the_environment_holds_nothing_of_this_process(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPOEXPERT_TEACHER_API_KEY", "secret")
    names = set((await box.run("env | sed 's/=.*//'", timeout=10, env={"EXTRA": "1"})).output.split())
    assert "REPOEXPERT_TEACHER_API_KEY" not in names
    assert {"PATH", "HOME", "VIRTUAL_ENV", "PAGER", "EXTRA"} <= names
    everything = await box.run(
        "tr '\\0' '\\n' < /proc/1/environ; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'", timeout=10
    )
    assert "secret" not in everything.output


async def test_a_timeout_kills_every_process_and_keeps_the_output(box: Sandbox) -> None:
    started = time.monotonic()
    result = await box.run("echo before; setsid nohup sleep 61 & sleep 62", timeout=0.5)
    assert (result.output, result.exit_code, result.timed_out) == ("before\n", 124, True)
    assert time.monotonic() - started < 5
    assert not _host_processes("sleep\0" + "61")
    assert not _host_processes("sleep\0" + "62")


async def test_a_background_process_does_not_outlive_its_command_or_hold_it_up(box: Sandbox) -> None:
    started = time.monotonic()
    result = await box.run("setsid nohup sleep 63 & disown; echo started", timeout=30)
    assert result.output == "started\n"
    assert time.monotonic() - started < 5
    assert not _host_processes("sleep\0" + "63")


async def test_killing_everything_ends_only_the_command(box: Sandbox) -> None:
    assert (await box.run("kill -9 -1; echo survived", timeout=10)).exit_code in (0, 137)
    assert (await box.run("cat README.md", timeout=10)).output == "hello\n"


async def test_endless_output_is_capped_and_keeps_both_ends(box: Sandbox) -> None:
    result = await box.run("echo first; yes | head -c 50000000; echo last", timeout=30)
    assert result.truncated
    assert result.output.startswith("first\n")
    assert result.output.endswith("last\n")
    assert len(result.output) < 101_000
    endless = await box.run("yes", timeout=1)
    assert (endless.timed_out, endless.truncated) == (True, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_command_that_fails_on_a_full_disk_is_the_machines_failure(start: StartTree, small_disk: Path) -> None:
    async with make_pool(small_disk / "scratch") as pool, pool.claim(start) as box:
        assert (await box.run("false", timeout=10)).exit_code == 1
        with pytest.raises(InfrastructureError, match="no space left"):
            await box.run("head -c 12000000 /dev/zero > /tmp/much; false", timeout=10)


@with_control_groups
async def test_a_fork_bomb_stops_at_the_process_limit(box: Sandbox) -> None:
    result = await box.run(":(){ :|:& };: ; sleep 1; ls /proc | grep -cE '^[0-9]+$'", timeout=5)
    counted = [
        int(line) for line in result.output.splitlines() if line.isdigit()
    ]  # none: ls itself could not be started
    assert result.timed_out or result.exit_code != 0 or all(count <= 70 for count in counted)
    assert (await box.run("echo fine", timeout=10)).output == "fine\n"


@with_control_groups
async def test_a_memory_hog_is_killed_and_the_sandbox_goes_on(box: Sandbox) -> None:
    result = await box.run(f"{PYTHON} -c 'x = bytearray(2 << 30); print(len(x))'", timeout=30)
    assert result.exit_code != 0
    shared = await box.run("head -c 600M /dev/zero > /dev/shm/big; echo $?", timeout=30)
    assert shared.output.strip() != "0"
    assert (await box.run("echo fine", timeout=10)).output == "fine\n"


async def test_a_disk_filler_is_stopped(box: Sandbox, tmp_path: Path) -> None:
    one = await box.run("head -c 300M /dev/zero > big", timeout=60)
    assert one.exit_code != 0
    many = await box.run("for i in $(seq 1000); do head -c 30M /dev/zero > /tmp/f$i; done", timeout=60)
    assert many.timed_out
    used = sum(path.stat().st_size for path in (tmp_path / "scratch").rglob("*") if path.is_file())
    assert used < 4096 * MIB


async def test_limits_hold_without_control_groups(tmp_path: Path, start: StartTree) -> None:
    pool = make_pool(tmp_path / "plain")
    pool._groups = None
    async with pool, pool.claim(start) as box:
        assert (await box.run(f"{PYTHON} -c 'x = bytearray(1 << 30)'", timeout=30)).exit_code != 0
        bomb = await box.run("for i in $(seq 200); do sleep 5 & done; echo done", timeout=20)
        assert "retry" in bomb.output or "Resource temporarily unavailable" in bomb.output


async def test_the_system_is_read_only_and_mounting_is_impossible(box: Sandbox) -> None:
    attempts = (
        "touch /usr/x", "touch /x", "touch /etc/x", "touch /dev/x", "echo 1 > /etc/passwd", "mkdir /opt/y",
        "mount -t tmpfs none /mnt", "mount --bind / /tmp", "umount /proc", "unshare -U true", "unshare -m true",
        "mknod /tmp/disk b 254 0", "echo x > /proc/sys/kernel/core_pattern", "echo b > /proc/sysrq-trigger",
        "chroot / true", "echo 1 > /proc/sys/user/max_user_namespaces", "hostname other", "dmesg",
    )  # fmt: skip
    for attempt in attempts:
        assert (await box.run(attempt, timeout=10)).exit_code != 0, attempt


async def test_nothing_of_the_machine_is_visible(box: Sandbox) -> None:
    hidden = await box.run("ls /work /home /var /srv /mnt /sys /run/docker.sock /etc/shadow /etc/hostname", timeout=10)
    assert hidden.exit_code != 0
    assert not [line for line in hidden.output.splitlines() if not line.startswith("ls: cannot access")]
    root = set((await box.run("ls -A /", timeout=10)).output.split())
    assert root <= {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "run", "sbin",
                    "testbed", "tmp", "usr"}  # fmt: skip
    python = await box.run(f"{PYTHON} -c 'import sys; print(sys.version_info[:2])'", timeout=10)
    assert python.exit_code == 0
    processes = await box.run("ls /proc | grep -cE '^[0-9]+$'", timeout=10)
    assert int(processes.output) < 8


async def test_writing_and_reading_files_round_trips_bytes(box: Sandbox) -> None:
    content = bytes(range(256)) * 4096
    await box.put("new/deep/file.bin", content)
    await box.put("/tmp/other", b"")
    assert await box.get("new/deep/file.bin") == content
    assert await box.get("/tmp/other") == b""
    for missing in ("nothing", "new", "/tmp/nothing/at/all"):
        with pytest.raises(FileNotFoundError):
            await box.get(missing)


async def test_links_that_a_command_made_lead_nowhere(box: Sandbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    outside.chmod(0o777)
    await box.run(
        f"ln -s {outside} folder; ln -s {outside}/secret file; ln -s /etc/shadow shadow; mkfifo pipe", timeout=10
    )
    for path in ("folder/secret", "file", "shadow", "pipe", f"{outside}/secret"):
        with pytest.raises(FileNotFoundError):
            await box.get(path)
    with pytest.raises(OSError, match="cannot write"):
        await box.put("folder/secret", b"changed")
    await box.put("file", b"replaced the link")
    await box.put("pipe", b"replaced the pipe")
    assert await box.get("pipe") == b"replaced the pipe"
    assert (outside / "secret").read_text() == "secret"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


async def test_long_commands_and_odd_bytes_run(box: Sandbox) -> None:
    assert (await box.run(f"# {'x' * 400_000}\necho long", timeout=10)).output == "long\n"
    assert (await box.run("printf 'a\\377b'", timeout=10)).output == "a\ufffdb"
    assert (await box.run("echo a\0b", timeout=10)).output == "ab\n"
    assert (await box.run("echo caf\u00e9 \udc80", timeout=10)).output == "caf\u00e9 ?\n"


async def test_a_folder_that_is_gone_is_the_commands_failure(box: Sandbox) -> None:
    assert (await box.run("pwd", timeout=10, cwd="/testbed/pkg")).output == "/testbed/pkg\n"
    assert (await box.run("pwd", timeout=10, cwd="/testbed/none")).exit_code == 1


async def test_a_sandbox_that_locks_itself_out_goes_on(box: Sandbox) -> None:
    await box.run("chmod 000 /testbed /tmp pkg; rm -rf /testbed /tmp/home", timeout=10)
    assert (await box.run("echo fine", timeout=10)).output == "fine\n"


async def test_a_vanished_folder_is_a_lost_sandbox(pool: BubblewrapPool, start: StartTree, tmp_path: Path) -> None:
    async with pool.claim(start) as box:
        claimed = next((tmp_path / "scratch").glob("pool-*/[0-9]*"))
        claimed.rename(tmp_path / "gone")
        with pytest.raises(SandboxLost, match="gone"):
            await box.run("true", timeout=10)


async def test_a_bubblewrap_that_cannot_start_is_a_lost_sandbox(pool: BubblewrapPool, start: StartTree) -> None:
    async with pool.claim(start) as box:
        pool._binds.append(type(pool._binds[0])(Path("/nonexistent"), "/opt/x"))
        with pytest.raises(SandboxLost, match="nonexistent"):
            await box.run("exit 0", timeout=10)
        pool._binds.pop()


async def test_nothing_of_a_claim_stays_behind(tmp_path: Path, start: StartTree) -> None:
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('n')\n    os.chdir('n')"
    lock = "chmod 000 /testbed/pkg /testbed/.git"
    async with make_pool(tmp_path / "scratch") as pool:
        async with pool.claim(start) as box:
            assert (await box.run(f'{PYTHON} -c "{deep}" && {lock}', timeout=30)).exit_code == 0
        assert not list((tmp_path / "scratch").glob("pool-*/[0-9]*"))
    assert not list((tmp_path / "scratch").iterdir())
    groups = ControlGroups.find()
    if groups is not None:
        assert not [folder for parent in groups._parents for folder in parent.glob(f"repoexpert-{os.getpid()}-*")]


async def test_what_a_killed_worker_left_is_removed_and_a_living_ones_is_not(tmp_path: Path, start: StartTree) -> None:
    left = tmp_path / "scratch/pool-1-killed/0/testbed"
    left.mkdir(parents=True)
    async with make_pool(tmp_path / "scratch") as first, first.claim(start) as box:
        assert not left.exists()
        async with make_pool(tmp_path / "scratch"):
            assert (await box.run("cat README.md", timeout=10)).output == "hello\n"


async def test_a_cancelled_command_leaves_no_process(box: Sandbox) -> None:
    running = asyncio.create_task(box.run("sleep 64", timeout=60))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _host_processes("sleep\0" + "64")


async def test_many_claims_at_once_stay_apart(pool: BubblewrapPool, start: StartTree) -> None:
    async def one(number: int) -> str:
        async with pool.claim(start) as box:
            await box.run(f"echo {number} > mine; echo {number} > /tmp/mine", timeout=20)
            return (await box.run("cat mine /tmp/mine; git status --short | wc -l", timeout=20)).output

    assert await asyncio.gather(*(one(n) for n in range(12))) == [f"{n}\n{n}\n1\n" for n in range(12)]


class TestStartTree:
    async def test_patches_files_and_overlay_are_laid_in_order(self, pool: BubblewrapPool, tmp_path: Path) -> None:
        patch = "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-hello\n+bye\n"
        start = StartTree(
            make_archive(tmp_path / "tree.tar", FILES),
            overlay=make_archive(
                tmp_path / "overlay.tar",
                {"pkg/fast.so": b"\x7fELF", "pkg/__pycache__/x.pyc": b"old", "README.md": "overlay must not win\n"},
            ),
            patches=(patch,),
            files={"tests/test_new.py": b"def test(): pass\n", "pkg/__init__.py": b"VALUE = 2\n"},
        )
        async with pool.claim(start) as box:
            listing = await box.run(
                "git ls-files; cat README.md pkg/__init__.py; git status --short; ls pkg", timeout=10
            )
            assert listing.output == (
                ".gitignore\nREADME.md\nkept.txt\npkg/__init__.py\ntests/test_new.py\n"
                "bye\nVALUE = 2\n__init__.py\nfast.so\n"
            )

    async def test_equal_trees_have_equal_commits(self, pool: BubblewrapPool, start: StartTree) -> None:
        commits = []
        for _ in range(2):
            async with pool.claim(start) as box:
                commits.append((await box.run("git rev-parse HEAD", timeout=10)).output)
        assert commits[0] == commits[1]

    async def test_without_commit_there_is_no_repository(self, pool: BubblewrapPool, tmp_path: Path) -> None:
        async with pool.claim(StartTree(make_archive(tmp_path / "t.tar", FILES), commit=False)) as box:
            assert (await box.run("ls -A", timeout=10)).output == ".gitignore\nREADME.md\nkept.txt\npkg\n"

    async def test_a_patch_that_does_not_apply_is_said(self, pool: BubblewrapPool, tmp_path: Path) -> None:
        patch = "diff --git a/no.py b/no.py\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-hello\n+bye\n"
        start = StartTree(make_archive(tmp_path / "t.tar", FILES), patches=(patch,))
        with pytest.raises(StageFailed, match="patch 0 does not apply"):
            async with pool.claim(start):
                pass

    @pytest.mark.parametrize("path", ["/etc/passwd", "../outside", ".git/hooks/post-checkout", "a/../../b"])
    async def test_a_file_outside_the_tree_is_refused(self, pool: BubblewrapPool, tmp_path: Path, path: str) -> None:
        start = StartTree(make_archive(tmp_path / "t.tar", FILES), files={path: b""})
        with pytest.raises(BadInput, match="must lie in the tree"):
            async with pool.claim(start):
                pass

    async def test_a_missing_archive_is_said(self, pool: BubblewrapPool, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="missing"):
            async with pool.claim(StartTree(tmp_path / "none.tar")):
                pass


def _host_processes(command_line: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and command_line.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found
