"""Converts a GGUF file to Hugging Face format: `python -m repoexpert.training.gguf FILE FOLDER`.

Run as a child process by `students`, so that the weights' memory is given back. Written in bfloat16: a quantised file
holds no more than that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def convert(gguf: Path, target: Path) -> None:
    """Dequantise `gguf` and save model, tokenizer and chat template in `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
