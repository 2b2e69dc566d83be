"""The environment stage on real, and on hostile, repositories: real Git, uv, bubblewrap and pytest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from repoexpert.api.expert import RepoExpert
from repoexpert.errors import StageFailed
from repoexpert.progress import NoProgress
from repoexpert.repository.baseline import read_coverage
from repoexpert.repository.records import Baseline, EnvironmentRecord
from repoexpert.repository.resolving import resolve
from repoexpert.repository.trees import archived_paths
from repoexpert.stages import environment
from repoexpert.stages.context import Resolution, StageContext
from repoexpert.storage.store import ArtifactStore

CUTOFF = "2024-06-30"
LIBRARY = {
    "pyproject.toml": '[build-system]\nrequires=["setuptools"]\nbuild-backend="setuptools.build_meta"\n'
    '[project]\nname="calc-demo"\nversion="1"\n[tool.setuptools]\npackages=["calc"]\n'
    '[tool.pytest.ini_options]\naddopts="-x --cov=calc"\n',
    "calc/__init__.py": "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a - b\n",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def make_repository(path: Path, files: Mapping[str, str]) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    for name, text in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (path / "outside").symlink_to("/etc/passwd")
    (path / os.fsdecode(b"na\xefve.txt")).write_text("x")
    when = {"GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z"}
    git = ["git", "-C", path, "-c", "user.name=A", "-c", "user.email=a@example.invalid"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True, env={**os.environ, **when})


def run_stage(folder: Path, cache: Path, files: Mapping[str, str], **spec: Any) -> Path:
    make_repository(folder / "origin", files)
    body = {
        "apiVersion": "repoexpert.dev/v1alpha1",
        "kind": "RepoExpert",
        "metadata": {"name": "x"},
        "spec": {"repository": {"url": (folder / "origin").as_uri(), "cutoff": CUTOFF}, "environment": spec},
    }
    expert = RepoExpert.model_validate(body)
    found = resolve(expert.spec.repository, None, cache)
    context = StageContext(
        expert=expert,
        resolution=Resolution(url=found.url, cutoff_commit=found.cutoff_commit, until_commit=found.until_commit),
        store=cast(ArtifactStore, None),
        inputs={},
        work=folder / "work",
        cache=cache,
        progress=NoProgress(),
        now=lambda: datetime.now(UTC),
    )
    context.work.mkdir()
    environment.run(context)
    return context.work


def test_a_library_with_every_kind_of_test_becomes_an_environment(tmp_path: Path, cache: Path) -> None:
    tests = (
        "import os, random, time, pytest\nfrom calc import add, sub\n"
        "def test_add(): assert add(1, 2) == 3\n"
        "def test_sub(): assert sub(1, 2) == -1\n"
        "def test_wrong(): assert add(1, 1) == 3\n"
        "def test_flaky(): assert os.urandom(1)[0] % 2 or time.time_ns() // 1000 % 2\n"
        "def test_hangs():\n    while True:\n        try: time.sleep(100)\n        except BaseException: pass\n"
        "def test_kills(): os._exit(0)\n"
        "def test_garbage(): os.write(1, os.urandom(100000)); print('<!ENTITY')\n"
        "def test_skipped(): pytest.skip('no')\n"
        "def test_no_network():\n    import socket\n    with pytest.raises(OSError): socket.create_connection(('1.1.1.1', 53), 2)\n"
    )
    files = {**LIBRARY, "tests/test_calc.py": tests, "tests/test_broken.py": "import not_there\n"}
    # A limit of one test is not in the resource; the total bounds it.
    work = run_stage(tmp_path, cache, files, test={"timeoutSeconds": 24})
    judged = Baseline.model_validate_json((work / "baseline.json").read_text())
    ids = {
        name: f"tests/test_calc.py::test_{name}"
        for name in ("add", "sub", "wrong", "hangs", "kills", "garbage", "skipped")
    }
    assert {ids["add"], ids["sub"], ids["garbage"], "tests/test_calc.py::test_no_network"} <= set(judged.stable)
    assert {ids["wrong"], ids["hangs"], ids["kills"], "tests/test_broken.py"} <= set(judged.failing)
    assert judged.skipped == (ids["skipped"],)
    coverage = read_coverage(json.loads((work / "coverage.json").read_text()))
    assert (coverage[ids["add"]], coverage[ids["sub"]]) == (("calc/__init__.py::add",), ("calc/__init__.py::sub",))
    record = EnvironmentRecord.model_validate_json((work / "environment.json").read_text())
    assert (record.packages, record.test_paths, record.partial) == (("calc",), ("tests",), False)
    carried = archived_paths(work / "env.tar.zst") + archived_paths(work / "overlay.tar.zst")
    assert not [path for path in carried if "/calc/" in f"/{path}" or path.endswith("calc.py")]
    assert not (work / ".state").exists()


def test_a_copying_installation_leaves_no_copy_of_the_sources(tmp_path: Path, cache: Path) -> None:
    files = {
        **LIBRARY,
        "tests/test_calc.py": "import calc\ndef test_home(): assert calc.__file__.startswith('/testbed/')\n",
    }
    work = run_stage(tmp_path, cache, files, install=["pip install ."])
    assert not [path for path in archived_paths(work / "env.tar.zst") if "/calc/" in path]
    assert not [path for path in archived_paths(work / "overlay.tar.zst") if path.startswith("build/")]
    judged = Baseline.model_validate_json((work / "baseline.json").read_text())
    assert judged.stable == ("tests/test_calc.py::test_home",)
    # What a build may write is a place of its repository alone.
    assert not (cache / "uv").exists()
    assert (cache / "installs" / hashlib.sha256((tmp_path / "origin").as_uri().encode()).hexdigest()[:16]).is_dir()


FAILING = {
    "no tests at all": ({}, {}, "finds no tests"),
    "a test configuration that cannot be imported": (
        {"tests/conftest.py": "import not_there\n", "tests/test_a.py": "def test_a(): pass\n"},
        {},
        "No module named 'not_there'",
    ),
    "an installation that fails": ({"tests/test_a.py": ""}, {"install": ["echo broken here; exit 3"]}, "broken here"),
    "only failing tests": ({"tests/test_a.py": "def test_a(): assert 0\n"}, {}, "no test passes"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_repository_cannot_be_used_and_the_message_shows_why(case: str, tmp_path: Path, cache: Path) -> None:
    extra, spec, expected = FAILING[case]
    with pytest.raises(StageFailed, match=expected):
        run_stage(tmp_path, cache, {**LIBRARY, **extra}, **spec)
    assert list((tmp_path / "work/logs").iterdir())
