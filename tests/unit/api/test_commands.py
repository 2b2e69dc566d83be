"""`repoexpert crd` and `repoexpert validate` as a person or a pipeline calls them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from repoexpert.cli import manifests

SMALLEST = """\
apiVersion: repoexpert.dev/v1alpha1
kind: RepoExpert
metadata: {name: a}
spec:
  repository: {url: "https://example.com/a", cutoff: 2020-12-31}
"""


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    manifests.register(made)
    return made


def test_validate_names_what_is_valid_and_what_it_did_not_check(app: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SMALLEST + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\n")
    result = CliRunner().invoke(app, ["validate", "-f", str(file)])
    assert result.exit_code == 0
    assert result.stdout == (
        f"{file}: RepoExpert a: valid\n{file}: v1 Secret: not checked, it is not of repoexpert.dev\n"
    )


def test_validate_ends_with_2_and_prints_every_problem_of_every_file(app: typer.Typer, tmp_path: Path) -> None:
    first, second, missing = (tmp_path / name for name in ("1.yaml", "2.yaml", "3.yaml"))
    first.write_text(SMALLEST.replace("2020-12-31", "31.12.2020") + "  suspend: please\n")
    second.write_text(SMALLEST)
    result = CliRunner().invoke(app, ["validate", "-f", str(first), str(second), str(missing)])
    assert result.exit_code == 2
    assert result.stdout == f"{second}: RepoExpert a: valid\n"
    assert result.stderr == (
        f'{first}:5: spec.repository.cutoff: must be a day written "YYYY-MM-DD", not "31.12.2020"\n'
        f'{first}:6: spec.suspend: must be true or false, not "please"\n'
        f"{missing}: there is no such file\n"
        "3 problems found\n"
    )


def test_validate_reads_standard_input(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["validate", "-f", "-"], input=SMALLEST.replace("url", "ulr"))
    assert result.exit_code == 2
    assert 'standard input:5: spec.repository.ulr: unknown field; did you mean "url"?' in result.stderr


def test_crd_prints_two_documents(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["crd"])
    assert result.exit_code == 0
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(result.stdout)]
    assert names == ["repoexperts.repoexpert.dev", "repoexpertclasses.repoexpert.dev"]


def test_crd_writes_a_file_each(app: typer.Typer, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "crds"
    result = CliRunner().invoke(app, ["crd", "--output-dir", str(folder)])
    assert result.exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "repoexpert.dev_repoexpertclasses.yaml",
        "repoexpert.dev_repoexperts.yaml",
    ]
