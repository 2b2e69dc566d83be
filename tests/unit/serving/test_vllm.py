"""vLLM's command line and environment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from repoexpert.api.serving import Sampling
from repoexpert.errors import BadInput
from repoexpert.serving import hardware, vllm
from repoexpert.serving.vllm import Launch

CPU = Launch(Path("/models/m"), "expert", 8000, 6144, sampling=Sampling(), dtype="bfloat16", kv_cache_gib=2)
GPU = Launch(Path("/models/m"), "expert", 8000, 48000, device="gpu", concurrency=256)

SWITCHES = ("--enforce-eager", "--disable-uvicorn-access-log", "--no-enable-chunked-prefill")


def options(launch: Launch) -> dict[str, str]:
    arguments = vllm.command(launch, "python")[3:]
    pairs = [item for item in arguments if item not in SWITCHES]
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def test_the_command_line_on_a_cpu() -> None:
    command = vllm.command(CPU, "python")
    assert command[:3] == ["python", "-m", "repoexpert.serving.entry"]
    assert "--enforce-eager" in command
    assert "--no-enable-chunked-prefill" in command, "a seeded request would end vLLM on a CPU"
    assert options(CPU) == {
        "--model": "/models/m",
        "--served-model-name": "expert",
        "--host": "127.0.0.1",
        "--port": "8000",
        "--max-model-len": "6144",
        "--max-num-seqs": "16",
        "--max-num-batched-tokens": "6144",
        "--dtype": "bfloat16",
        "--generation-config": "vllm",
        "--override-generation-config": '{"repetition_penalty": 1.05, "temperature": 1.0, "top_k": 20, "top_p": 0.8}',
    }


def test_a_gpu_compiles_and_chooses_its_own_number_format() -> None:
    assert "--enforce-eager" not in vllm.command(GPU, "python")
    assert options(GPU)["--dtype"] == "auto"
    assert "VLLM_TARGET_DEVICE" not in vllm.environment(GPU, {})


def test_the_key_is_in_the_environment_and_never_among_the_arguments() -> None:
    assert vllm.environment(CPU, {}, "secret")["VLLM_API_KEY"] == "secret"
    assert "secret" not in " ".join(vllm.command(CPU, "python"))


def test_the_server_gets_nothing_of_ours_that_it_does_not_need() -> None:
    inherited = {
        "PATH": "/bin",
        "REPOEXPERT_TEACHER_API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "VLLM_API_KEY": "x",
    }
    found = vllm.environment(CPU, inherited)
    assert found["PATH"] == "/bin"
    assert not {"REPOEXPERT_TEACHER_API_KEY", "AWS_SECRET_ACCESS_KEY", "VLLM_API_KEY"} & found.keys()


def test_the_server_asks_nobody_on_the_network() -> None:
    found = vllm.environment(CPU, {})
    assert (found["HF_HUB_OFFLINE"], found["VLLM_NO_USAGE_STATS"]) == ("1", "1")


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (16, "15")])
def test_one_core_is_left_to_the_server_itself(cores: int, threads: str) -> None:
    assert vllm.environment(replace(CPU, cores=cores), {"OMP_NUM_THREADS": "64"})["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx2"}, "float32"),
        ({"avx2", "avx512_bf16"}, "bfloat16"),
        ({"amx_bf16", "amx_tile"}, "bfloat16"),
        (set(), "float32"),
    ],
)
def test_bfloat16_is_for_processors_that_multiply_it(flags: set[str], dtype: str) -> None:
    assert vllm.cpu_dtype(frozenset(flags)) == dtype


@pytest.mark.parametrize(
    ("bytes_per_token", "context", "concurrency", "gib"),
    [(23_040, 6144, 1, 1), (23_040, 8192, 16, 3), (10**6, 48000, 16, 4)],
)
def test_the_cache_has_room_for_what_runs_at_once_within_bounds(
    bytes_per_token: int, context: int, concurrency: int, gib: int
) -> None:
    assert vllm.kv_cache_gib(bytes_per_token, context, concurrency) == gib


def test_the_limits_of_a_model_come_from_its_configuration(tmp_path: Path) -> None:
    values = {
        "max_position_embeddings": 8192,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "hidden_size": 576,
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert hardware.model_limits(tmp_path) == (8192, 23_040)


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_a_folder_without_a_model_is_bad_input(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInput, match=r"config\.json"):
        hardware.model_limits(tmp_path)


def test_the_processor_tells_its_flags(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert hardware.cpu_flags(file) == {"fpu", "amx_bf16"}
