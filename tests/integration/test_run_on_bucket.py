"""`repoexpert run` with a bucket as its store: the same commands, the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repoexpert.graph.definitions import STAGES
from tests.builders.histories import make_library
from tests.integration.test_run_faults import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="experts")
    made = Bench(tmp_path, make_library(tmp_path / "ledger"))
    made.store_url = "s3://experts/team"
    yield made
    server.stop()


def test_a_run_on_a_bucket_serves_and_is_up_to_date_on_another_machine(bench: Any, tmp_path: Path) -> None:
    bench.tell({"tasks": {"do": "die", "tries": 1}})
    first = bench.run(timeout=200)
    assert (first.returncode, first.stderr) == (0, "")
    assert bench.calls() == ["environment", "tasks", *STAGES[1:]]
    (tmp_path / "cache").rename(tmp_path / "gone")
    second = bench.run("--json")
    assert second.returncode == 0
    assert json.loads(second.stdout.splitlines()[-1])["message"] == "ledger is up to date and served"
    assert len(bench.calls()) == len(STAGES) + 1
