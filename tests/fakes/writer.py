"""`python -m tests.fakes.writer STORE CACHE MODE`: writes one artifact from a process of its own.

Modes: `whole` writes and completes; `slow` does so file by file; `hang` writes half and waits to be killed;
`big` writes more than fits.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from repoexpert.errors import RepoExpertError
from repoexpert.storage.problems import disk
from repoexpert.storage.records import ArtifactKey
from repoexpert.storage.store import open_store

KEY = ArtifactKey(namespace="default", name="ledger", stage="tasks", fingerprint="c" * 64)


def main(url: str, cache: str, mode: str) -> None:
    store = open_store(url, Path(cache))
    with store.draft(KEY, waiting=lambda holder: print(f"waiting {holder}", flush=True)) as draft:
        if draft.done:
            print("found", flush=True)
            return
        for number in range(20):
            (draft.path / f"{number}.txt").write_text(f"{number} by {os.getpid()}\n" * 100)
            if mode == "slow":
                time.sleep(0.02)
            if mode == "hang" and number == 10:
                print("half", flush=True)
                time.sleep(600)
        if mode == "big":
            with disk(draft.path), (draft.path / "big").open("wb") as file:
                for _ in range(64):
                    file.write(b"x" * (1 << 20))
        draft.complete(summary={"by": os.getpid()}, upstream={}, tools={}, now=datetime.now(UTC))
        print("wrote", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RepoExpertError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(error.exit_code)
