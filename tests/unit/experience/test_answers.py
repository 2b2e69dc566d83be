"""Reading an agent's patch: what counts, what is refused, what is not used."""

from __future__ import annotations

import pytest

from repoexpert.experience.answers import (
    Answer,
    BadAnswer,
    check_tampering,
    read_answer,
    require_tests_only,
    sources_only,
)
from repoexpert.repository.diffs import make_patch
from repoexpert.repository.mining import Layout

_TREE = {"lib.py": b"x = 1\ny = 2\n", "crlf.py": b"a = 1\r\nb = 2\r\n", "end.py": b"a = 1"}
_LINK = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n"


def _refused(patch: str) -> str:
    with pytest.raises(BadAnswer) as caught:
        read_answer(patch, _TREE)
    return caught.value.reason


@pytest.mark.parametrize("path", sorted(_TREE))
def test_a_patch_is_applied_to_the_byte(path: str) -> None:
    new = _TREE[path].replace(b"1", b"3")
    assert read_answer(make_patch({path: (_TREE[path], new)}), _TREE).files == {path: new}


def test_a_patch_without_its_last_newline_is_applied() -> None:
    patch = make_patch({"lib.py": (b"x = 1\ny = 2\n", b"x = 1\ny = 3\n")}).rstrip("\n")
    assert read_answer(patch, _TREE).files == {"lib.py": b"x = 1\ny = 3\n"}


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        pytest.param("", "empty-patch", id="nothing"),
        pytest.param("I fixed it.", "patch-does-not-apply", id="prose"),
        pytest.param(make_patch({"lib.py": (b"q = 1\n", b"q = 2\n")}), "patch-does-not-apply", id="another context"),
        pytest.param(make_patch({"../out.py": (None, b"x\n")}), "unsafe-path", id="a path that leaves the tree"),
        pytest.param(make_patch({"/etc/x": (None, b"x\n")}), "unsafe-path", id="an absolute path"),
        pytest.param(make_patch({".git/hooks/x": (None, b"x\n")}), "unsafe-path", id="a Git folder"),
        pytest.param(make_patch({"a/.GIT/config": (None, b"x\n")}), "unsafe-path", id="a Git folder in capitals"),
        pytest.param(_LINK, "unsafe-path", id="a symbolic link"),
    ],
)
def test_bad_patches_are_refused(patch: str, reason: str) -> None:
    assert _refused(patch) == reason


def test_files_that_steer_pytest_and_tests_with_their_data_are_not_used() -> None:
    paths = ["conftest.py", "sub/conftest.py", "pytest.ini", "pyproject.toml", "tests/helpers.py", "tests/data/a.json"]
    answer = Answer(dict.fromkeys(["lib.py", "lib/data.json", *paths], b""))
    assert sources_only(answer, Layout(test_paths=("tests",))).files == {"lib.py": b"", "lib/data.json": b""}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("sitecustomize.py", b"x = 1\n"),
        ("evil.pth", b"import x\n"),
        ("evil.egg-info/entry_points.txt", b"[pytest11]\nevil = evil\n"),
        ("evil.py", b"def pytest_pyfunc_call(pyfuncitem):\n    return True\n"),
        ("pytest.py", b"x = 1\n"),
        ("src/_pytest/__init__.py", b"x = 1\n"),
        ("lib.py", b"import os\nos._exit(0)\n"),
        ("lib.py", b"import _pytest.runner\n"),
        ("lib.py", b"import sys\nsys.modules['pytest'] = None\n"),
    ],
)
def test_tampering_is_refused(path: str, content: bytes) -> None:
    with pytest.raises(BadAnswer, match="tampering"):
        check_tampering(Answer({path: content}), _TREE, ("src",))


def test_code_that_spoke_of_pytest_before_may_go_on() -> None:
    tree = {"plugin.py": b"def pytest_configure(config): ...\n"}
    check_tampering(Answer({"plugin.py": b"def pytest_configure(config): return 1\n"}), tree, ())


@pytest.mark.parametrize("path", ["lib.py", "tests/conftest.py", "setup.cfg"])
def test_tests_alone_may_change(path: str) -> None:
    with pytest.raises(BadAnswer, match="not-only-tests"):
        require_tests_only(Answer({path: b"", "tests/test_x.py": b""}), Layout(test_paths=("tests",)))
    require_tests_only(Answer({"tests/test_x.py": b""}), Layout(test_paths=("tests",)))
