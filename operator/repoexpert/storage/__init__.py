"""Artifact store: directory or S3. Knows nothing of stages, experts or clusters.

The interface everything else uses (implemented in `store.py`):

    store = open_store("file:///data/store" | "/data/store" | "s3://bucket/prefix", cache=Path)
    store.manifest(key) -> Manifest | None          complete artifacts only
    store.fetch(key) -> Path                        local, read-only, every file's sha256 checked (CorruptArtifact)
    with store.draft(key) as draft:                 exclusive among writers of the key; waits for a rival
        draft.done                                  True when a rival completed it while we waited
        draft.path                                  working folder, kept after a crash so that a stage can resume in it
        draft.complete(summary=, upstream=, tools=, now=)    hashes files, writes manifest.json last
    store.list(namespace=None, name=None, stage=None) -> list[Manifest]
    store.remove(key); store.verify(key) -> list[str] of problems
    store.read_record(namespace, name, record) -> dict | None        small mutable JSON: "current", "resolution-HASH"
    store.write_record(namespace, name, record, value)              atomic replace
"""
