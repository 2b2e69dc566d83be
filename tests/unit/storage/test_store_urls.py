from __future__ import annotations

from pathlib import Path

import pytest

from repoexpert.errors import BadInput
from repoexpert.storage.store import open_store


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("/data/store", "/data/store"),
        ("file:///data/my%20store", "/data/my store"),
        ("file://localhost/data", "/data"),
        ("s3://bucket/some/prefix/", "s3://bucket/some/prefix"),
        ("s3://bucket", "s3://bucket"),
    ],
)
def test_a_store_says_its_absolute_url(url: str, opened: str, tmp_path: Path) -> None:
    assert open_store(url, tmp_path).url == opened


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("store").url == str(tmp_path / "store")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://bucket/x", "scheme gs:// is not known"),
        ("s3:///prefix", "expected s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket/x", "credentials do not belong"),
        ("file://data/store", "three slashes"),
        ("  ", "path is empty"),
    ],
)
def test_a_bad_url_is_refused_in_words(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        open_store(url, tmp_path)
    assert "secret" not in str(caught.value).replace("AWS_SECRET_ACCESS_KEY", "")
