"""bubblewrap's options are decided without running it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from repoexpert.sandbox.arguments import Bind, System, bubblewrap_arguments, command_environment
from repoexpert.sandbox.process import CappedOutput, launch_script
from repoexpert.sandbox.protocol import Limits
from repoexpert.sandbox.system import system_view

SYSTEM = System(links=(("usr/bin", "/bin"),), folders=("/usr",), hidden=(), prefix="/root/python")


def _options(*binds: Bind, **options: bool | int) -> str:
    return " ".join(bubblewrap_arguments(SYSTEM, binds, environment={"A": "1"}, **options))  # type: ignore[arg-type]


def test_a_sandbox_has_no_network_and_no_capability_unless_it_is_for_installing() -> None:
    closed = _options()
    for part in (
        "--unshare-net",
        "--unshare-pid",
        "--unshare-ipc",
        "--cap-drop ALL",
        "--die-with-parent",
        "--clearenv",
    ):
        assert part in closed
    assert "--unshare-net" not in _options(network=True)


def test_without_a_namespace_of_ours_bubblewrap_makes_one_and_allows_no_further() -> None:
    assert "--unshare-user --disable-userns --uid 1000 --gid 1000" in _options()
    own = _options(user_namespace_fd=7)
    assert "--userns 7" in own
    assert "--unshare-user" not in own


def test_parents_of_the_interpreter_can_be_passed_and_the_root_is_sealed_last() -> None:
    options = _options(Bind(Path("/data/tree"), "/testbed", writable=True), Bind(Path("/data/probe"), "/opt/r/probe"))
    assert "--perms 0755 --dir /root --ro-bind /root/python /root/python" in options
    assert options.index("--bind /data/tree /testbed") < options.index("--ro-bind /data/probe /opt/r/probe")
    assert options.index("--ro-bind /data/probe") < options.index("--remount-ro / ")


def test_the_environment_is_ours_alone_and_may_be_extended() -> None:
    environment = command_environment({"TZ": "Asia/Tokyo", "EXTRA": "1"})
    assert environment["PATH"].startswith("/opt/repoexpert/env/bin:")
    assert (environment["TZ"], environment["EXTRA"], environment["HOME"]) == ("Asia/Tokyo", "1", "/tmp/home")


def test_packages_of_the_machine_are_hidden(tmp_path: Path) -> None:
    for folder in ("usr/lib/python3/dist-packages", "usr/local/lib", "py/lib/python3.11/site-packages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    view = system_view(tmp_path / "py", tmp_path)
    assert view.links == (("usr/bin", "/bin"),)
    assert {Path(path).relative_to(tmp_path).as_posix() for path in view.hidden} == {
        "usr/lib/python3/dist-packages", "usr/local", "py/lib/python3.11/site-packages",
    }  # fmt: skip


def test_rlimits_stand_in_for_memory_when_there_is_no_control_group() -> None:
    limits = Limits(memory_bytes=1 << 30, file_bytes=1 << 20, cpu_seconds=5)
    assert "ulimit -d 1048576" in launch_script(limits, ())
    joined = launch_script(limits, ["/sys/fs/cgroup/a b/cgroup.procs"])
    assert "ulimit -d" not in joined
    assert "echo $$ > '/sys/fs/cgroup/a b/cgroup.procs'" in joined
    assert "ulimit -f 2048" in joined


@given(st.lists(st.binary(max_size=50), max_size=40), st.integers(2, 60))
def test_capped_output_is_whole_or_its_two_ends(chunks: list[bytes], limit: int) -> None:
    output = CappedOutput(limit)
    for chunk in chunks:
        output.add(chunk)
    whole, half = b"".join(chunks), limit // 2
    if len(whole) <= 2 * half:
        assert (output.value(), output.truncated) == (whole, False)
    else:
        assert output.truncated
        assert output.value() == whole[:half] + b"\n[%d bytes elided]\n" % (len(whole) - 2 * half) + whole[-half:]
