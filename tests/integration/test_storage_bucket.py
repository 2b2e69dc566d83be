"""The S3 backend against a moto server on loopback, rivals in processes of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from repoexpert.errors import BadInput, InfrastructureError
from repoexpert.storage.records import ArtifactKey
from repoexpert.storage.store import ArtifactStore, CorruptArtifact, open_store
from tests.fakes.writer import KEY
from tests.integration.test_storage_faults import finish, first_line, writer

NOW = datetime(2024, 3, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    return boto3.client("s3")


@pytest.fixture
def url(client: Any, tmp_path: Path) -> str:
    bucket = f"experts-{tmp_path.name.replace('_', '-')[:40].strip('-')}".lower()
    client.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team"


@pytest.fixture
def store(url: str, tmp_path: Path) -> ArtifactStore:
    return open_store(url, tmp_path / "cache")


def write(store: ArtifactStore, which: ArtifactKey, content: dict[str, bytes]) -> None:
    with store.draft(which) as draft:
        for path, data in content.items():
            (draft.path / path).parent.mkdir(parents=True, exist_ok=True)
            (draft.path / path).write_bytes(data)
        draft.complete(summary={"n": len(content)}, upstream={}, tools={}, now=NOW)


def objects(client: Any, url: str) -> list[str]:
    found = client.list_objects_v2(Bucket=url.split("/")[2]).get("Contents", [])
    return [item["Key"] for item in found]


def test_an_artifact_written_on_one_machine_is_read_on_another(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    content = {"a/b.txt": b"one", "deep/er/ü": b"two", "bb/empty": b"", "big": os.urandom(3 << 20)}
    write(store, KEY, content)
    other = open_store(url, tmp_path / "other")
    folder = other.fetch(KEY)
    assert {path: (folder / path).read_bytes() for path in content} == content
    assert other.fetch(KEY) == folder
    assert other.verify(KEY) == []
    assert [str(manifest.key) for manifest in other.list("default", "ledger")] == [str(KEY)]


def test_a_finished_draft_is_read_without_downloading(store: ArtifactStore, client: Any, url: str) -> None:
    write(store, KEY, {"a": b"one"})
    for name in objects(client, url):
        if not name.endswith("manifest.json"):
            client.delete_object(Bucket=url.split("/")[2], Key=name)
    assert (store.fetch(KEY) / "a").read_bytes() == b"one"
    assert store.verify(KEY) == ["a is missing"], "verify judges the bucket, not the cache"


def test_writers_on_several_machines_end_with_one_whole_artifact(url: str, client: Any, tmp_path: Path) -> None:
    writers = [writer(url, tmp_path / str(number), "slow") for number in range(4)]
    assert {finish(process)[0] for process in writers} == {0}
    fresh = open_store(url, tmp_path / "fresh")
    manifest = fresh.manifest(KEY)
    assert manifest is not None
    authors = {path.read_text().split()[2] for path in fresh.fetch(KEY).glob("*.txt")}
    assert authors == {str(manifest.summary["by"])}
    assert len(objects(client, url)) == 21, "the losers' uploads are gone"


def test_a_killed_writer_leaves_a_draft_that_its_machine_resumes(url: str, tmp_path: Path) -> None:
    victim = writer(url, tmp_path / "cache", "hang")
    assert first_line(victim) == "half"
    victim.kill()
    finish(victim)
    store = open_store(url, tmp_path / "cache")
    assert store.manifest(KEY) is None
    with store.draft(KEY) as draft:
        assert (draft.path / "10.txt").exists()
    assert finish(writer(url, tmp_path / "cache", "whole")) == (0, "wrote\n")


def test_a_damaged_object_is_found_and_removed_by_the_command_in_the_message(
    store: ArtifactStore, url: str, client: Any, tmp_path: Path
) -> None:
    write(store, KEY, {"a": b"one", "b": b"two"})
    name = next(name for name in objects(client, url) if name.endswith("/a"))
    client.put_object(Bucket=url.split("/")[2], Key=name, Body=b"onX")
    other = open_store(url, tmp_path / "other")
    with pytest.raises(CorruptArtifact, match=rf"a has other content.*artifacts rm {KEY} --store {url}"):
        other.fetch(KEY)
    assert not list((tmp_path / "other").rglob("a")), "nothing damaged stays in the cache"
    other.remove(KEY)
    assert objects(client, url) == []


def test_a_damaged_cache_is_mended_from_the_bucket(store: ArtifactStore) -> None:
    write(store, KEY, {"a": b"one"})
    path = store.fetch(KEY) / "a"
    path.chmod(0o644)
    path.write_bytes(b"onX")
    assert (store.fetch(KEY) / "a").read_bytes() == b"one"


def test_a_file_over_the_multipart_size_survives(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 120
    write(store, KEY, {"model.safetensors": data})
    assert (open_store(url, tmp_path / "other").fetch(KEY) / "model.safetensors").read_bytes() == data


def test_an_artifact_without_files_is_an_artifact(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    write(store, KEY, {})
    assert list(open_store(url, tmp_path / "other").fetch(KEY).iterdir()) == []


def test_records_are_replaced_and_absent_ones_are_none(store: ArtifactStore) -> None:
    assert store.read_record("default", "ledger", "current") is None
    store.write_record("default", "ledger", "current", {"model": "x", "old": 1})
    store.write_record("default", "ledger", "current", {"model": "y"})
    assert store.read_record("default", "ledger", "current") == {"model": "y"}


def test_half_written_artifacts_are_listed_as_partial_and_removed(store: ArtifactStore, client: Any, url: str) -> None:
    client.put_object(Bucket=url.split("/")[2], Key=f"team/{KEY}/files-x/a", Body=b"half")
    assert [(str(item.key), item.state) for item in store.states()] == [(str(KEY), "partial")]
    store.remove(KEY)
    assert store.states() == []
    with pytest.raises(BadInput, match="has no artifact"):
        store.remove(KEY)


@pytest.mark.usefixtures("client")
def test_a_missing_bucket_is_bad_input(tmp_path: Path) -> None:
    store = open_store("s3://nobody-made-this/x", tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        store.manifest(KEY)
    with pytest.raises(BadInput, match="does not exist"):
        store.states()


def test_an_unreachable_endpoint_is_an_infrastructure_failure(
    client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InfrastructureError, match=r"cannot be reached.*AWS_ENDPOINT_URL"):
        open_store("s3://experts/x", tmp_path).manifest(KEY)


def test_missing_credentials_are_bad_input(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(BadInput, match="no credentials"):
        open_store(url, tmp_path).manifest(KEY)


def test_the_command_lists_a_bucket(store: ArtifactStore, url: str, tmp_path: Path) -> None:
    import sys

    write(store, KEY, {"a": b"one"})
    command = [sys.executable, "-m", "repoexpert.cli.main", "artifacts", "ls", "--store", url, "--json"]
    done = subprocess.run(
        [*command, "--cache", str(tmp_path / "c")], capture_output=True, text=True, check=True, timeout=60
    )
    assert f'"artifact": "{KEY}"' in done.stdout
