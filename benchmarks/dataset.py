"""Dataset: rows per second from attempts on disk to training rows, beside tokenizing the same rows alone (the bound).

Run: python -m benchmarks.dataset [ROWS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from repoexpert.dataset.build import Options, build
from repoexpert.dataset.encoding import encode_batch, load_tokenizer
from repoexpert.dataset.export import write_dataset
from repoexpert.dataset.trajectories import read_attempts
from tests.builders.trajectories import task, write_rollout
from tests.fakes.tiny_model import make_tiny_model

ROWS = 1000
TURNS = 20
WORDS = 100
_TEMPLATE = "qwen3_nothinking"


def main(rows: int) -> None:
    """Build a rollout of `rows` verified attempts, time the dataset stage's work on it, print one line."""
    with tempfile.TemporaryDirectory(prefix="repoexpert-bench-") as scratch:
        folder = Path(scratch)
        tokenizer = load_tokenizer(make_tiny_model(folder / "model"))
        tasks = [task(number) for number in range(rows)]
        write_rollout(folder / "rollout", tasks, count=TURNS, words=WORDS)
        options = Options(template=_TEMPLATE, max_length=32768, quotas={})
        started = time.perf_counter()
        built = build(read_attempts(folder / "rollout"), tasks, tokenizer, options)
        description = write_dataset(folder / "out", built, options, repository="r", tokenizer="t", student="s")
        seconds = time.perf_counter() - started
        kept = [*built.train, *built.heldout]
        started = time.perf_counter()
        encode_batch([row.conversation.messages() for row in kept], _TEMPLATE, tokenizer)
        alone = time.perf_counter() - started
    tokens = sum(description["tokens"][side]["total"] for side in ("train", "heldout"))
    print(
        f"dataset: {rows / seconds:,.0f} rows/s ({tokens / seconds:,.0f} tokens/s, {rows} rows of {tokens // rows} tokens,"
        f" {len(kept)} kept); tokenizing alone {rows / alone:,.0f} rows/s: {alone / seconds:.0%} of the time"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
