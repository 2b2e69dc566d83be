"""`repoexpert run` with fake stages: real processes, real signals, a real repository, a real store."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from repoexpert.graph.definitions import STAGES
from repoexpert.stages.processes import descendants
from tests.builders.histories import Library, make_library

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return make_library(tmp_path_factory.mktemp("library") / "ledger")


class Bench:
    """An expert, a store, and stages that do as told."""

    def __init__(self, folder: Path, library: Library) -> None:
        self.folder = folder
        self.spec = folder / "ledger.yaml"
        self.store = folder / "store"
        self.store_url = str(self.store)
        self.cutoff = library.cutoff
        self.url = library.url
        self.write_spec()
        self.tell({})

    def write_spec(self, **more: str) -> None:
        seed = more.get("seed", "42")
        cutoff = more.get("cutoff", self.cutoff)
        self.spec.write_text(
            "apiVersion: repoexpert.dev/v1alpha1\nkind: RepoExpert\nmetadata: {name: ledger}\nspec:\n"
            f'  repository: {{url: "{self.url}", cutoff: "{cutoff}"}}\n'
            "  experience: {units: {evolutionaryReplay: 4}, teacher: {provider: scripted}}\n"
            f"  training: {{backend: transformers, gpus: 0, seed: {seed}}}\n"
        )

    def tell(self, behaviour: dict[str, dict[str, Any]]) -> None:
        (self.folder / "stages.json").write_text(json.dumps(behaviour))

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"FAKE_STAGES": str(self.folder / "stages.json"), "PYTHONPATH": str(ROOT)}

    def command(self, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "tests.fakes.commands", "run", "-f", str(self.spec), "--store", self.store_url),
            *("--cache", str(self.folder / "cache"), *options),
        ]

    def run(self, *options: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options), env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*options),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def hashes(self) -> dict[str, dict[str, str]]:
        found = {}
        for path in self.store.glob("default/ledger/*/*/manifest.json"):
            files = json.loads(path.read_text())["files"]
            found[path.parent.parent.name] = {name: entry["sha256"] for name, entry in files.items()}
        return found


@pytest.fixture
def bench(tmp_path: Path, library: Library) -> Bench:
    return Bench(tmp_path, library)


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "it never came to that"
        time.sleep(0.05)


def results(output: str) -> dict[str, Any]:
    return dict(json.loads(output.splitlines()[-1]))


def test_a_run_serves_and_a_second_run_is_up_to_date_in_a_moment(bench: Bench) -> None:
    first = bench.run()
    assert (first.returncode, first.stderr) == (0, "")
    assert bench.calls() == list(STAGES)
    started = time.monotonic()
    second = bench.run()
    assert time.monotonic() - started < 5
    assert second.returncode == 0
    assert "ledger is up to date and served" in second.stdout
    assert bench.calls() == list(STAGES), "nothing ran again"


def test_an_edit_runs_only_what_reads_it(bench: Bench) -> None:
    assert bench.run().returncode == 0
    bench.write_spec(seed="43")
    assert bench.run().returncode == 0
    assert bench.calls() == [*STAGES, "training", "evaluation", "serving"]


def test_a_spec_that_goes_back_serves_its_earlier_model_again(bench: Bench) -> None:
    def served() -> str:
        return str(json.loads((bench.store / "default/ledger/current.json").read_text())["model"])

    assert bench.run().returncode == 0
    first = served()
    bench.write_spec(seed="43")
    assert bench.run().returncode == 0
    assert served() != first
    bench.write_spec()
    assert bench.run().returncode == 0
    assert served() == first
    assert len(bench.calls()) == len(STAGES) + 3, "nothing ran again"


def test_a_served_model_that_was_removed_is_made_again(bench: Bench) -> None:
    assert bench.run().returncode == 0
    shutil.rmtree(bench.store / "default/ledger/training")
    shutil.rmtree(bench.store / "default/ledger/tasks")
    assert bench.run().returncode == 0
    assert bench.calls() == [*STAGES, "training"], "what only served to make the model is not made again"


def test_a_gate_that_is_not_passed_is_exit_code_3_with_each_rule(bench: Bench) -> None:
    gate = [{"metric": "heldout.nll", "passed": False, "reason": "ratio 0.97 is above 0.9"}]
    bench.tell({"serving": {"promoted": False, "gate": gate}})
    done = bench.run()
    assert done.returncode == 3
    assert "ledger did not pass the gate: the served model stays as it is" in done.stdout
    assert "✗ heldout.nll: ratio 0.97 is above 0.9" in done.stdout
    assert bench.run().returncode == 3, "an unchanged spec keeps its verdict"


def test_until_stops_after_the_stage(bench: Bench) -> None:
    done = bench.run("--until", "tasks", "--json")
    assert done.returncode == 0
    assert bench.calls() == ["environment", "tasks"]
    assert results(done.stdout)["message"] == "ledger: everything up to tasks is complete"


FAILURES = {
    "a stage that cannot succeed": ("fail", 1, "no tests were found in tests/", 1),
    "bad input found late": ("bad-input", 2, "there is no model hf://nobody/nothing", 1),
    "a bug": ("bug", 1, "ZeroDivisionError: division by zero", 1),
    "infrastructure that stays broken": ("infrastructure", 1, "the registry did not answer", 3),
    "a stage that is killed each time": ("die", 1, "killed by SIGKILL", 3),
    "a link in an artifact": ("link", 1, "an artifact holds plain files only", 1),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_stage_is_named_with_cause_and_log(bench: Bench, kind: str) -> None:
    do, code, said, tries = FAILURES[kind]
    bench.tell({"tasks": {"do": do}})
    done = bench.run()
    assert done.returncode == code
    assert "stage tasks failed: " in done.stderr
    assert said in done.stderr
    assert bench.calls() == ["environment"] + ["tasks"] * tries
    log = next(line.split("log: ")[1] for line in done.stderr.splitlines() if "log: " in line)
    assert Path(log).exists()
    assert "Traceback" not in done.stderr or do == "bug"
    bench.tell({})
    if do == "link":
        remedy = done.stderr.partition("Discard the unfinished artifact with `")[2].partition("`")[0].split()[1:]
        subprocess.run(
            [sys.executable, "-m", "repoexpert.cli.main", *remedy, "--store", str(bench.store)],
            check=True,
            capture_output=True,
        )
    assert bench.run().returncode == 0, "mended, the same command goes on"
    assert bench.calls().count("environment") == 1


@pytest.mark.parametrize("do", ["infrastructure", "die"])
def test_a_passing_failure_is_tried_again_and_resumes(bench: Bench, do: str) -> None:
    bench.tell({"tasks": {"do": do, "tries": 1}})
    done = bench.run("--until", "tasks")
    assert done.returncode == 0, done.stderr
    assert "retrying" in done.stdout
    made = next(bench.store.glob("default/ledger/tasks/*/items/made")).read_text().split()
    assert made == ["0", "1", "2"], "items of the first try were kept"


def test_a_run_killed_with_kill_9_leaves_no_process_and_the_next_one_goes_on(bench: Bench, library: Library) -> None:
    (bench.folder / "calm").mkdir()
    calm = Bench(bench.folder / "calm", library)
    assert calm.run().returncode == 0
    bench.tell({"rollout": {"items": 8, "seconds": 0.2}})
    calm.tell({"rollout": {"items": 8}})
    for stage in ("environment", "rollout"):
        victim = bench.start()
        eventually(lambda stage=stage: stage in bench.calls())  # type: ignore[misc]
        time.sleep(0.4)
        below: set[int] = set()
        eventually(
            lambda seen=below, pid=victim.pid: seen.update(descendants(pid)) or seen
        )  # between two children: none
        victim.kill()
        victim.communicate()
        eventually(lambda below=below: not any(_alive(process) for process in below))  # type: ignore[misc]
    assert bench.run().returncode == 0
    made = next(bench.store.glob("default/ledger/rollout/*/items/made")).read_text().split()
    assert made == [str(number) for number in range(8)], "nothing was made twice"
    mine, theirs = bench.hashes(), calm.hashes()
    assert {name: mine[name] for name in STAGES if name != "rollout"} == {
        name: theirs[name] for name in STAGES if name != "rollout"
    }


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("do", ["child", "stubborn"])
def test_a_killed_run_takes_along_even_children_that_ignore_sigterm(bench: Bench, do: str) -> None:
    bench.tell({"environment": {"do": do}})
    victim = bench.start()
    eventually(lambda: any(bench.store.rglob("ready")))
    below = descendants(victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    eventually(lambda: not any(_alive(process) for process in below), seconds=45)


SIGNALS = {
    "Ctrl-C, with children that ignore SIGTERM": (signal.SIGINT, {"do": "child"}),
    "SIGTERM": (signal.SIGTERM, {"items": 400, "seconds": 0.1}),
    "a closed terminal": (signal.SIGHUP, {"items": 400, "seconds": 0.1}),
}


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_signal_stops_a_run_cleanly_and_says_how_to_go_on(bench: Bench, kind: str) -> None:
    number, behaviour = SIGNALS[kind]
    bench.tell({"tasks": behaviour})
    process = bench.start()
    eventually(lambda: any(bench.store.glob("default/ledger/tasks/*/items/1.txt")))
    if "do" in behaviour:
        eventually(lambda: any(bench.store.rglob("ready")))
    below = descendants(process.pid)
    process.send_signal(number)
    out, said = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "stopped in stage tasks; finished work is kept" in said
    assert f"repoexpert run -f {bench.spec} --store {bench.store}" in said
    assert "stopped" in out
    assert not any(_alive(which) for which in below)
    bench.tell({})
    assert bench.run().returncode == 0
    assert bench.calls().count("environment") == 1


def test_a_second_run_on_the_same_store_is_refused_with_the_process_of_the_first(bench: Bench) -> None:
    bench.tell({"environment": {"items": 400, "seconds": 0.1}})
    first = bench.start()
    eventually(lambda: bench.calls() == ["environment"])
    second = bench.run()
    assert second.returncode == 1
    assert f"another run of ledger on {bench.store} is at work: process {first.pid}" in second.stderr
    status = subprocess.run(
        [
            *(sys.executable, "-m", "repoexpert.cli.main", "status", "-f", str(bench.spec), "--store"),
            *(str(bench.store), "--cache", str(bench.folder / "cache"), "--json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(status.stdout.splitlines()[0])["state"] == "Running"
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=40)


def test_a_truncated_artifact_is_found_by_its_reader_and_mended_as_the_message_says(bench: Bench) -> None:
    assert bench.run("--until", "rollout").returncode == 0
    path = next(bench.store.glob("default/ledger/tasks/*/items/1.txt"))
    path.chmod(0o644)
    path.write_text("tr")
    done = bench.run()
    assert done.returncode == 1
    assert "is damaged: items/1.txt has 2 bytes instead of" in done.stderr
    remedy = done.stderr.partition("Remove it with `repoexpert ")[2].partition("`")[0].split()
    subprocess.run([sys.executable, "-m", "repoexpert.cli.main", *remedy], check=True, capture_output=True)
    assert bench.run().returncode == 0
    assert bench.calls().count("tasks") == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_is_said_and_with_room_the_run_goes_on(bench: Bench, small_disk: Path) -> None:
    bench.store_url = str(small_disk / "store")
    bench.tell({"tasks": {"do": "fill"}})
    done = bench.run("--until", "tasks")
    assert done.returncode == 1
    assert "no space left. Free some space" in done.stderr
    next(small_disk.glob("store/default/ledger/tasks/*/big")).unlink()
    bench.tell({})
    assert bench.run("--until", "tasks").returncode == 0


def test_a_store_on_a_read_only_disk_is_bad_input_and_readable_all_the_same(bench: Bench, small_disk: Path) -> None:
    bench.store_url = str(small_disk / "store")
    assert bench.run("--until", "tasks").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "is up to date" in bench.run("--until", "tasks").stdout
    done = bench.run("--until", "rollout")
    assert (done.returncode, "read-only" in done.stderr, "--store" in done.stderr) == (2, True, True)


def test_a_file_edited_during_a_run_does_not_mix_two_specs(bench: Bench) -> None:
    bench.tell({"environment": {"items": 3, "seconds": 0.5}})
    process = bench.start("--json")
    eventually(lambda: bench.calls() == ["environment"])
    bench.write_spec(seed="7")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert bench.calls() == list(STAGES)
    assert bench.run().returncode == 0
    assert bench.calls() == [*STAGES, "training", "evaluation", "serving"]


BAD_INPUT = {
    "a cutoff before the first commit": ({"cutoff": "2001-01-01"}, "is before the first commit"),
    "a cutoff with no later history": ({"cutoff": "2031-01-01"}, "Move the cutoff back"),
}


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_bad_input_is_exit_code_2_before_anything_starts(bench: Bench, kind: str) -> None:
    change, said = BAD_INPUT[kind]
    bench.write_spec(**change)
    done = bench.run()
    assert (done.returncode, bench.calls()) == (2, [])
    assert said in done.stderr


def test_on_a_terminal_a_table_shows_the_stages_and_ctrl_c_ends_it(bench: Bench) -> None:
    bench.tell({"environment": {"items": 400, "seconds": 0.05}})
    process, screen = _on_terminal(bench)
    seen = _read_until(screen, b"item 1", 20)
    os.write(screen, b"\x03")
    seen += _read_until(screen, b"finished work is kept. Go on", 40)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    os.close(screen)
    for text in ("ledger", "environment", "running", "serving", "waiting", "/400"):
        assert text.encode() in seen


def _on_terminal(bench: Bench) -> tuple[int, int]:
    process, screen = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm-256color"
        os.environ["COLUMNS"], os.environ["LINES"] = "120", "40"
        os.execvpe(sys.executable, bench.command(), bench.environment | {"TERM": "xterm-256color", "COLUMNS": "120"})
    return process, screen


def _read_until(screen: int, wanted: bytes, seconds: float) -> bytes:
    seen = b""
    limit = time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < limit:
        if select.select([screen], [], [], 0.2)[0]:
            try:
                seen += os.read(screen, 65536)
            except OSError:
                break
    assert wanted in seen, seen[-2000:]
    return seen
