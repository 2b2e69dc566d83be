"""Cleaning an environment that a hostile build could write: nothing outside of it is read, written or removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from repoexpert.errors import StageFailed
from repoexpert.repository import leaks

TEXT = "x = 1\n" * 100


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of this machine with installed packages that no build may touch."""
    package = tmp_path / "machine/python3.11/site-packages/pkg"
    package.mkdir(parents=True)
    (package / "core.py").write_text(TEXT)
    (tmp_path / "machine/secret").write_text("secret\n")
    return tmp_path / "machine"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    (tmp_path / "env/lib/python3.11/site-packages").mkdir(parents=True)
    return tmp_path / "env"


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("place", ["lib", "lib/python3.11", "lib/python3.11/site-packages"])
def test_a_link_in_the_place_of_site_packages_is_refused(place: str, environment: Path, machine: Path) -> None:
    target = {"lib": machine, "lib/python3.11": machine / "python3.11"}.get(place, machine / "python3.11/site-packages")
    link = environment / place
    for folder in sorted([link, *link.rglob("*")], reverse=True):
        folder.rmdir()
    link.symlink_to(target)
    before = _tree(machine)
    with pytest.raises(StageFailed, match="link in their place"):
        leaks.remove_copies(environment, {"pkg/core.py"}, ("",), ("pkg",))
    with pytest.raises(StageFailed, match="link in their place"):
        leaks.write_path_file(environment, ("",), "/testbed")
    assert _tree(machine) == before


def test_an_environment_without_site_packages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="removed its environment"):
        leaks.site_packages(tmp_path)


def test_links_in_the_environment_are_never_followed(environment: Path, machine: Path) -> None:
    site = environment / "lib/python3.11/site-packages"
    info = site / "evil-1.dist-info"
    info.mkdir()
    (info / "uv_cache.json").write_text("{}")
    for link, target in {
        site / "repoexpert.pth": machine / "secret",
        info / "RECORD": machine / "secret",
        info / "METADATA": machine / "secret",
        site / "ns": machine / "python3.11/site-packages",
        site / "__pycache__": machine / "python3.11",
    }.items():
        link.symlink_to(target)
    (site / "folder.py").mkdir()
    before = _tree(machine)
    assert leaks.remove_copies(environment, {"ns/pkg/core.py"}, ("",), ("ns/pkg", "ns", "../../..")) == ((), {})
    leaks.write_path_file(environment, ("src",), "/testbed")
    leaks.drop_volatile(environment)
    assert leaks.find_copies(environment, {leaks.blob_id(TEXT.encode()): "pkg/core.py"}) == ()
    assert leaks.installed(environment) == ()
    assert _tree(machine) == before
    assert (site / "repoexpert.pth").read_text() == "/testbed/src\n"
    assert not (site / "repoexpert.pth").is_symlink()
