"""A tiny random Qwen3 with a tokenizer trained on the spot: a real Hugging Face model folder in seconds, 0.2 M parameters.

`make_tiny_model(path)` makes it in a child process (torch stays out of the test process) and keeps a copy in the user's
cache, so only the first test of a machine pays. head_dim is 32: vLLM's CPU attention refuses less.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_VERSION = "1"
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tiny_model(path: Path) -> Path:
    """Put the model at `path` (made, if absent) and return it."""
    cached = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "repoexpert-tests" / f"tiny-{_VERSION}"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".tiny-", dir=cached.parent))
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run([sys.executable, __file__, str(aside)], check=True, capture_output=True, env=environment)
        try:
            aside.rename(cached)
        except OSError:  # another test process was faster
            shutil.rmtree(aside)
    shutil.copytree(cached, path, dirs_exist_ok=True)
    return path


def _make(target: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    sources = sorted(Path(os.__file__).parent.glob("[a-d]*.py"))
    tokenizer.train_from_iterator([source.read_text(encoding="utf-8") for source in sources], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = _CHAT_TEMPLATE
    fast.save_pretrained(target)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=2048, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=8192, tie_word_embeddings=True,
        eos_token_id=2, pad_token_id=0, bos_token_id=0,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)
    target.chmod(0o755)


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
