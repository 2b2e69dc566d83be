from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from repoexpert.local.checks import examine


def test_what_is_there_is_told_with_its_version(tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(tmp_path, "s3://bucket/x")}
    assert checks["git"].state == "ok"
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in checks["python"].found
    assert checks["torch"].state == "ok"
    assert "store folder" not in checks, "a bucket is not a folder"
    assert all(check.remedy for check in checks.values() if check.state == "missing")


def test_a_machine_without_git_and_bubblewrap_is_told_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "repoexpert.cli.main", "doctor", "--cache", str(tmp_path)],
        env={"PATH": str(tmp_path), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "git: install it: apt-get install git" in done.stdout
    assert "bubblewrap: install it: apt-get install bubblewrap" in done.stdout


def test_the_check_loads_no_library_that_it_asks_for() -> None:
    code = (
        "import sys; from pathlib import Path; from repoexpert.local.checks import examine;"
        "examine(Path('/tmp'), 'x'); print(sorted({'torch', 'transformers', 'swift', 'vllm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
