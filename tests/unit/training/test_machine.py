"""What the machine can do, and what the trainer is told of the world."""

from __future__ import annotations

from pathlib import Path

import pytest

from repoexpert.errors import BadInput
from repoexpert.training.machine import device_for, has_bf16, require_rank, trainer_environment
from repoexpert.training.nll import NllRow, summarize
from repoexpert.training.recipe import Device, Recipe

_CPU = Recipe(backend="transformers")


def test_bfloat16_units_are_detected_by_name(tmp_path: Path) -> None:
    cases = {"flags : sse amx_bf16": True, "flags\t: avx512_bf16 x": True, "flags : avx2 xbf16": False, "": False}
    assert {text: has_bf16(text) for text in cases} == cases
    (tmp_path / "cpuinfo").write_text("flags : avx2\n", encoding="utf-8")
    assert device_for(_CPU, 0, 1, tmp_path / "cpuinfo") == Device(gpus=0, nodes=1, bf16=False)
    assert device_for(_CPU, 0, 4, tmp_path / "absent") == Device(gpus=0, nodes=1, bf16=False)
    assert device_for(_CPU, 2, 1, tmp_path / "cpuinfo") == Device(gpus=2, nodes=1, bf16=True)


def test_the_trainer_never_asks_the_network_and_sees_a_gpu_only_when_it_was_given_one() -> None:
    cpu, gpu = trainer_environment(Device(), Path("/s")), trainer_environment(Device(gpus=1), Path("/s"))
    for variables in (cpu, gpu):
        assert [variables[name] for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")] == [
            "1"
        ] * 3
        assert variables["HF_DATASETS_CACHE"].startswith("/s/")
    assert cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in gpu


def test_means_weigh_tokens_or_trajectories_and_leave_out_what_counts_nothing() -> None:
    rows = [NllRow(id="a", tokens=10, nll=1.0), NllRow(id="b", tokens=30, nll=2.0), NllRow(id="c", tokens=0, nll=0.0)]
    report = summarize("m", "d", "chatml", rows)
    assert (report.token_weighted, report.per_trajectory, report.n_tokens) == (1.75, 1.5, 40)
    assert summarize("m", "d", "chatml", []).n_tokens == 0


def test_several_nodes_need_to_know_which_one_this_is() -> None:
    require_rank(1, {})
    require_rank(2, {"PET_NODE_RANK": "0", "PET_MASTER_ADDR": "10.0.0.1"})
    with pytest.raises(BadInput, match="nodes is 2"):
        require_rank(2, {})
