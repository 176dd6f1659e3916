"""Training against 6ND, published sizes, and arithmetic of a step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench import catalogue
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.roofline import calibration, training

CATALOGUE = catalogue.load()
MID = calibration.load().mid
GPT3 = CATALOGUE.model("gpt-3-175b")
H100, H200, H20 = (
    CATALOGUE.accelerator(name)
    for name in ("nvidia-h100-sxm5", "nvidia-h200-sxm", "nvidia-h20-96gb")
)
JOB = training.Job(GPT3, "bf16", 1024, 1, 2048, False, 0.0, 50e9)


def test_gpt_3_takes_3_15e23_flop() -> None:
    assert training.training_flops(GPT3, 300e9) == pytest.approx(3.15e23, rel=0.005)


def test_attention_adds_little_at_2048_tokens_and_recomputation_a_third() -> None:
    plain = training.flops_per_token(GPT3, 2048, recomputed=False)
    assert 1.0 < plain / (6 * GPT3.parameters) < 1.03
    assert training.flops_per_token(GPT3, 2048, recomputed=True) == pytest.approx(plain * 4 / 3)


def test_a_stated_utilization_decides_alone() -> None:
    step = training.step(H100, replace(JOB, utilization=0.4), MID)
    rate = step.tokens / step.time.seconds
    peak = H100.value("peak_bf16")
    assert rate == pytest.approx(0.4 * peak * 1024 / (6 * GPT3.parameters))
    assert step.binding == "compute"


def test_the_estimated_utilization_is_one_that_others_report() -> None:
    # Narayanan et al., arXiv:2104.04473: 44-52 % of the peak for 175B on A100.
    a100 = CATALOGUE.accelerator("nvidia-a100-80gb-sxm4")
    step = training.step(a100, JOB, MID)
    flops = step.tokens * 6 * GPT3.parameters / step.time.seconds
    assert 0.35 <= flops / 1024 / a100.value("peak_bf16") <= 0.6


def test_a_model_that_exceeds_memory_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="use more devices"):
        training.step(H100, replace(JOB, gpus=8), MID)


def test_compute_binds_and_memory_changes_little() -> None:
    h100, h200 = (training.step(part, JOB, MID) for part in (H100, H200))
    assert h100.binding == "compute"
    assert 1.0 < h100.time.seconds / h200.time.seconds < 1.1


def test_an_h20_trains_four_to_six_times_slower_than_an_h200() -> None:
    job = replace(JOB, gpus=2048)
    slow, fast = (training.step(part, job, MID).time.seconds for part in (H20, H200))
    assert 4 < slow / fast < 6


def test_a_slower_network_costs_time_only_in_communication() -> None:
    fast, slow = (training.step(H100, replace(JOB, network=rate), MID) for rate in (50e9, 5e9))
    assert slow.time.compute == fast.time.compute
    assert slow.time.wire > fast.time.wire
    assert slow.communication_s > 5 * slow.network_s / 10


def test_one_device_does_not_communicate() -> None:
    job = replace(JOB, model=CATALOGUE.model("llama-3-8b"), gpus=1)
    with pytest.raises(DoesNotFit):
        training.step(H100, job, MID)
    small = replace(job.model, parameters=1e9, active_parameters=1e9, layers=8)
    assert training.step(H100, replace(job, model=small), MID).communication_s == 0


def test_a_utilization_above_one_is_refused() -> None:
    with pytest.raises(CannotEstimate, match="share of the peak"):
        training.step(H100, replace(JOB, utilization=40), MID)
