"""Training against 6ND, published sizes, and arithmetic of a step."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from gpubench import catalogue
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Figure
from gpubench.roofline import calibration, steps, training
from gpubench.units import Quantity

CATALOGUE = catalogue.load()
MID = calibration.load().mid
GPT3 = CATALOGUE.model("gpt-3-175b")
H100, H200, H20 = (
    CATALOGUE.accelerator(name)
    for name in ("nvidia-h100-sxm5", "nvidia-h200-sxm", "nvidia-h20-96gb")
)
JOB = training.Job(GPT3, "bf16", 1024, 1, 2048)
SPLIT = replace(JOB, tensor=8, pipeline=2)


def test_gpt_3_takes_3_15e23_flop() -> None:
    assert training.training_flops(GPT3, 300e9) == pytest.approx(3.15e23, rel=0.005)


def test_attention_adds_little_at_2048_tokens_and_recomputation_a_third() -> None:
    plain = steps.training(GPT3, 1, 2048, head=True).flops
    assert 1.0 < plain / (6 * GPT3.parameters) < 1.03
    none, full = (
        training.step(H100, replace(SPLIT, recomputation=again), MID).time.compute
        for again in ("none", "full")
    )
    # The head is not computed again, and attention's backward pass is the dearer one.
    assert 1.30 < full / none < 4 / 3


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
    fast, slow = (training.step(H100, replace(SPLIT, network=rate), MID) for rate in (50e9, 5e9))
    assert slow.time.compute == fast.time.compute
    assert slow.time.wire > fast.time.wire
    assert slow.network_s == pytest.approx(10 * fast.network_s, rel=0.002)  # latency apart
    links = [step.communication_s - step.network_s for step in (fast, slow)]
    assert links[0] == pytest.approx(links[1])


@pytest.mark.parametrize(("copies", "full"), [(9, 8), (12, 8), (15, 8), (17, 16), (23, 16)])
def test_copies_beyond_the_last_full_node_take_the_network_too(copies: int, full: int) -> None:
    model = CATALOGUE.model("llama-2-7b")
    job = training.Job(model, "bf16", copies, 1, 4096, "full", network=5e9, batch=1000, tensor=1)
    more, fewer, whole = (
        training.step(H200, replace(job, gpus=gpus), MID).network_s
        for gpus in (copies, full, full + 8)
    )
    # A ring over one node more; a node that is not full has fewer ports for the same message.
    assert more > fewer
    assert more >= whole > 0


def test_one_device_does_not_communicate() -> None:
    job = replace(JOB, model=CATALOGUE.model("llama-3-8b"), gpus=1)
    with pytest.raises(DoesNotFit):
        training.step(H100, job, MID)
    small = replace(job.model, parameters=1e9, active_parameters=1e9, layers=8)
    assert training.step(H100, replace(job, model=small), MID).communication_s == 0


def test_a_utilization_above_one_is_refused() -> None:
    with pytest.raises(CannotEstimate, match="share of the peak"):
        training.step(H100, replace(JOB, utilization=40), MID)


# --------------------------------------------------------------------------- layouts

LLAMA = CATALOGUE.model("llama-3-70b")
LAID_OUT = training.Job(LLAMA, "bf16", 64, 1, 8192, batch=128, tensor=4, pipeline=8)


def test_a_pipeline_waits_for_its_stages_once_a_step() -> None:
    # 128 sequences over 2 copies are 64 micro-batches; 8 stages add 7, interleaved fivefold 1.4.
    plain = training.step(H100, LAID_OUT, MID).time.compute
    woven = training.step(H100, replace(LAID_OUT, virtual=5), MID).time.compute
    assert plain / woven == pytest.approx((64 + 7) / (64 + 7 / 5))


def test_adapters_cost_two_passes_of_three() -> None:
    whole = replace(LAID_OUT, gpus=8, tensor=8, pipeline=1, batch=8)
    frozen = training.step(H200, replace(whole, adapters=True), MID)
    assert frozen.binding == "compute"
    with pytest.raises(DoesNotFit):
        training.step(H200, whole, MID)
    more = replace(whole, gpus=64, batch=64)
    ratio = training.step(H200, more, MID).time.compute / frozen.time.compute
    # Attention's backward has no weights to be frozen, so the ratio is a little below 3 / 2.
    assert 1.3 < ratio < 1.5


def test_devices_that_share_a_sequence_divide_its_work() -> None:
    one = replace(LAID_OUT, gpus=32, pipeline=8)
    two = replace(one, gpus=64, context=2)
    alone, shared = (training.step(H100, job, MID).time.compute for job in (one, two))
    assert 0.5 < shared / alone < 0.56  # half as long, but smaller products fill fewer tiles


def test_sharded_weights_travel_for_every_micro_batch() -> None:
    job = training.Job(LLAMA, "bf16", 64, 1, 4096, "full", batch=256, tensor=1, sharded=True)
    near, far = (training.step(H100, replace(job, network=rate), MID) for rate in (50e9, 5e9))
    assert far.time.wire > 3 * near.time.wire
    assert far.time.compute == near.time.compute


def test_experts_reached_over_the_network_cost_more_than_those_of_the_node() -> None:
    model = CATALOGUE.model("qwen3-235b-a22b")
    job = training.Job(model, "bf16", 256, 1, 4096, batch=2048, tensor=2, pipeline=8)
    near, far = (training.step(H100, replace(job, expert=n), MID) for n in (8, 16))
    assert near.time.wire < far.time.wire


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tensor": 6, "gpus": 48}, "64 heads, which 6 devices cannot share"),
        ({"gpus": 48}, "48 devices do not split into pipelines of 8 stages of 4"),
        ({"recomputation": "some"}, "recomputation is none, selective, full, not 'some'"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(CannotEstimate, match=why):
        training.step(H100, replace(LAID_OUT, **change), MID)


RESOURCES = ("peak_bf16", "board_power", "memory_bandwidth", "interconnect_bandwidth")


@pytest.mark.parametrize("names", [(name,) for name in RESOURCES] + [RESOURCES])
@pytest.mark.parametrize("job", [JOB, LAID_OUT, replace(LAID_OUT, sharded=True)])
def test_more_of_anything_never_trains_slower(names: tuple[str, ...], job: training.Job) -> None:
    def doubled(figure: Figure) -> Figure:
        assert isinstance(figure.value, Quantity)
        return replace(figure, value=Quantity(2 * figure.value.value, figure.value.unit))

    figures = {**H100.figures, **{name: doubled(H100.figures[name]) for name in names}}
    more = replace(H100, figures=figures)
    before, after = (training.step(part, job, MID).time.seconds for part in (H100, more))
    assert after <= before


def test_what_is_not_stated_is_split_in_the_fastest_way_that_fits() -> None:
    # 16-bit weights and gradients of 70B are 282 GB, beside moments and activations.
    job = training.Job(LLAMA, "bf16", 64, 1, 4096, "full")
    for part, least in ((H100, 4), (H200, 4)):
        tried = training._that_fit(part, job, MID)
        assert min(one.tensor * one.pipeline for one in tried) >= least
        best = training.step(part, job, MID)
        rates = []
        for tensor, stages in product((1, 2, 4, 8), (1, 2, 4, 8)):
            try:
                one = training.step(part, replace(job, tensor=tensor, pipeline=stages), MID)
            except DoesNotFit:
                continue
            rates.append(one.tokens / one.time.seconds)
        assert len(rates) > 4
        assert best.tokens / best.time.seconds == max(rates)


@pytest.mark.parametrize("name", ["llama-2-7b", "llama-2-70b", "gpt-3-175b", "qwen3-30b-a3b"])
@pytest.mark.parametrize("recomputation", training.RECOMPUTATION)
def test_a_larger_memory_never_trains_slower(name: str, recomputation: str) -> None:
    more = replace(H100.figures["memory_capacity"], value=Quantity(160e9, "B"))
    larger = replace(H100, figures={**H100.figures, "memory_capacity": more})
    for gpus in (64, 1024):
        job = training.Job(CATALOGUE.model(name), "bf16", gpus, 1, 2048, recomputation)
        try:
            before = training.step(H100, job, MID)
        except DoesNotFit:
            continue
        after = training.step(larger, job, MID)
        assert after.time.seconds / after.tokens <= 1.001 * before.time.seconds / before.tokens


def test_a_small_model_gains_little_by_a_larger_memory() -> None:
    # Its state need not be split by more than its optimizer on either part.
    job = training.Job(CATALOGUE.model("llama-2-7b"), "fp8", 64, 4, 4096, "full")
    small, large = (training.step(part, job, MID) for part in (H100, H200))
    assert small.tensor_parallel == large.tensor_parallel == 1
    assert 1.0 <= small.time.seconds / large.time.seconds < 1.1
