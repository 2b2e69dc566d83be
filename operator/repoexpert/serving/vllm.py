"""vLLM's command line and environment. Pure; the process itself is in `server.py`.

One builder for CPU and GPU, so that what is judged is what is served. Flags: vLLM 0.32 engine arguments; environment:
`vllm/envs.py`. `python -m vllm.entrypoints...` rather than `vllm serve`, which refuses to start from the CPU wheel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repoexpert.api.serving import Sampling

ENTRY_MODULE = "repoexpert.serving.entry"
"""vLLM's `vllm.entrypoints.launchers.api_server.entry` with a faster start."""
API_KEY_VARIABLE = "VLLM_API_KEY"
"""vLLM reads its key from there; on a command line every user of the machine could read it."""

Device = Literal["cpu", "gpu"]
Dtype = Literal["bfloat16", "float32", "auto"]

_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "VIRTUAL_ENV",
              "VLLM_CACHE_ROOT", "NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "REPOEXPERT_VLLM_START")  # fmt: skip
"""Nothing else of ours reaches the server: a teacher's key has no business there."""


@dataclass(frozen=True)
class Launch:
    """How a server is started."""

    model_dir: Path
    name: str
    """Model name that clients use."""
    port: int
    context_tokens: int
    sampling: Sampling | None = None
    """Becomes the server's default; a request's own values win."""
    host: str = "127.0.0.1"
    device: Device = "cpu"
    dtype: Dtype = "auto"
    concurrency: int = 16
    """Sequences at once."""
    kv_cache_gib: int = 1
    """CPU only."""
    cores: int = 2
    """CPU only."""


def command(launch: Launch, python: str) -> list[str]:
    """The argument vector. Holds no secret."""
    arguments = [
        python,
        "-m",
        ENTRY_MODULE,
        "--model",
        str(launch.model_dir),
        "--served-model-name",
        launch.name,
        "--host",
        launch.host,
        "--port",
        str(launch.port),
        "--max-model-len",
        str(launch.context_tokens),
        "--max-num-seqs",
        str(launch.concurrency),
        "--dtype",
        launch.dtype,
        # The model's own generation_config.json must not decide: it is not part of what was judged.
        "--generation-config",
        "vllm",
        "--disable-uvicorn-access-log",
    ]
    if launch.sampling is not None:
        arguments += ["--override-generation-config", json.dumps(sampling_values(launch.sampling), sort_keys=True)]
    if launch.device == "cpu":
        # Compiling takes longer than all it could save on a model that fits a CPU.
        arguments.append("--enforce-eager")
        # vLLM 0.32 rewinds a seeded request's generator when a prompt is read in parts, which torch's CPU generator cannot
        # do: the engine dies. So prompts are read whole here.
        arguments += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(launch.context_tokens)]
    return arguments


def sampling_values(sampling: Sampling) -> dict[str, float | int]:
    """The sampling as vLLM names it, in a request and as a server's default. vLLM has -1 for "all tokens", or 0."""
    return {
        "temperature": float(sampling.temperature),
        "top_p": float(sampling.top_p),
        "top_k": sampling.top_k,
        "repetition_penalty": float(sampling.repetition_penalty),
    }


def environment(launch: Launch, inherited: Mapping[str, str], api_key: str = "") -> dict[str, str]:
    """The child's whole environment."""
    kept = {name: inherited[name] for name in _INHERITED if name in inherited}
    kept |= {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_PLUGINS": "",
        "VLLM_LOGGING_COLOR": "0",
    }
    if launch.device == "cpu":
        kept |= {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": str(launch.kv_cache_gib),
            "CUDA_VISIBLE_DEVICES": "",
            # One core is left to server and engine. A thread more would spin for the core that they need: measured 40
            # times slower on two busy cores.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(max(1, launch.cores - 1)),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
    if api_key:
        kept[API_KEY_VARIABLE] = api_key
    return kept


def cpu_dtype(cpu_flags: frozenset[str]) -> Dtype:
    """bfloat16 where the processor multiplies it in hardware, else float32.

    Measured with SmolLM2-135M on two cores with AMX: 23 / 160 / 270 tokens/s at 1 / 8 / 16 requests against
    16 / 87 / 128 in float32, and a prompt of 3,900 tokens in 3.7 s against 12.0 s.
    """
    return "bfloat16" if cpu_flags & {"amx_bf16", "avx512_bf16"} else "float32"


def kv_cache_gib(bytes_per_token: int, context_tokens: int, concurrency: int) -> int:
    """Room for `concurrency` conversations of full length, between 1 and 4 GiB: more than that a laptop has not."""
    wanted = -(-bytes_per_token * context_tokens * concurrency // (1 << 30))
    return max(1, min(4, wanted))
