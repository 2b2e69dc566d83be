"""The forward passes of `nll`, as a process: `python -m repoexpert.training.nll_forward MODEL JSONL TEMPLATE RESULT`.

Logits are made only where a token is counted, and in slices: at 32k tokens the whole of them would be 20 GB.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repoexpert.dataset.encoding import IGNORED, Encoded, encode, load_tokenizer

_SLICE = 512
"""Positions per slice: 300 MB of float32 logits with the largest vocabularies."""


def measure(model_dir: Path, rows: list[dict[str, Any]], template: str) -> Iterator[dict[str, Any]]:
    """One {id, tokens, nll} per row, in order. float32 on a CPU, bfloat16 weights with float32 logits on a GPU."""
    import torch
    from transformers import AutoModelForCausalLM

    gpu = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.bfloat16 if gpu else torch.float32, attn_implementation="sdpa"
    )
    model.to("cuda" if gpu else "cpu").eval()
    tokenizer = load_tokenizer(model_dir)
    for row in rows:
        encoded = encode(row["messages"], template, tokenizer)
        with torch.inference_mode():
            total = _total(model, encoded)
        tokens = encoded.trained
        yield {"id": row["id"], "tokens": tokens, "nll": total / tokens if tokens else 0.0}


def _total(model: Any, encoded: Encoded) -> float:
    """Summed NLL over the counted tokens, each predicted from the position before it."""
    import torch

    ids = torch.tensor([encoded.ids], device=model.device)
    targets = [index for index, label in enumerate(encoded.labels) if label != IGNORED]
    if not targets:
        return 0.0
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
    head = model.get_output_embeddings()
    total = 0.0
    for start in range(0, len(targets), _SLICE):
        part = torch.tensor(targets[start : start + _SLICE], device=model.device)
        logits = head(hidden[part - 1]).float()
        total += torch.nn.functional.cross_entropy(logits, ids[0, part], reduction="sum").double().item()
    return total


def read_rows(heldout: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file. Not by splitlines: a conversation may hold U+2028 and the like unescaped."""
    return [json.loads(line) for line in heldout.read_text(encoding="utf-8").split("\n") if line.strip()]


def main(model_dir: Path, heldout: Path, template: str, result: Path) -> None:
    """Measure every row and append each as it is done."""
    rows = read_rows(heldout)
    with result.open("w", encoding="utf-8") as stream:
        for measured in measure(model_dir, rows, template):
            stream.write(json.dumps(measured) + "\n")
            stream.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
