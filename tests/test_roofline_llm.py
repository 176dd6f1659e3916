"""Serving against closed forms, and the directions in which it may never move."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import catalogue
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, Figure, LanguageModel
from gpubench.roofline import calibration, capacity, llm
from gpubench.units import Quantity

CATALOGUE = catalogue.load()
MID = calibration.load().mid
IDEAL = replace(
    MID,
    memory_efficiency=1.0,
    hbm3e_share=1.0,
    elementwise_operations=0.0,
    smoothness=16.0,
    layer_overhead_s=0.0,
    step_overhead_s=0.0,
    sequence_overhead_s=0.0,
    vocabulary_overhead_s=0.0,
)
H100, H200, H20 = (
    CATALOGUE.accelerator(name)
    for name in ("nvidia-h100-sxm5", "nvidia-h200-sxm", "nvidia-h20-96gb")
)
LLAMA = CATALOGUE.model("llama-2-70b")
MODELS = [CATALOGUE.model(name) for name in ("llama-3-8b", "mixtral-8x7b", "gpt-j-6b")]


def request(
    model: LanguageModel = LLAMA, precision: str = "fp8", isl: int = 1024, osl: int = 1024
) -> llm.Request:
    return llm.Request(model, precision, precision, isl, osl)


def with_bandwidth(part: Accelerator, factor: float) -> Accelerator:
    faster = Quantity(part.value("memory_bandwidth") * factor, "B/s")
    figures = {**part.figures, "memory_bandwidth": Figure(faster, "s", "A")}
    return replace(part, figures=figures)


def test_decode_at_batch_1_without_overheads_is_weights_over_bandwidth() -> None:
    machine = llm.Machine(H200, 1, request(), IDEAL)
    shape = capacity.shape(LLAMA)
    read = shape.body + 2 * shape.head  # the head stays in 16 bits
    seconds = machine.decode(1, 0).seconds
    assert seconds == pytest.approx(read / 4.8e12, rel=0.01)


def test_the_cache_adds_its_bytes_to_each_step() -> None:
    machine = llm.Machine(H200, 1, request(), replace(IDEAL, cache_read_efficiency=1.0))
    added = machine.decode(8, 20_000).seconds - machine.decode(8, 0).seconds
    assert added == pytest.approx(8 * 20_000 * 163_840 / 4.8e12, rel=0.02)


def test_a_few_tokens_touch_few_experts_and_many_touch_all() -> None:
    machine = llm.Machine(H200, 1, request(CATALOGUE.model("mixtral-8x7b")), IDEAL)
    shape = machine.shape
    one, many = machine.matrices(1), machine.matrices(64)
    assert one.seconds == pytest.approx((shape.body + 2 * shape.expert) / 4.8e12, rel=0.02)
    assert many.memory >= (shape.body + 7.9 * shape.expert) / 4.8e12


def test_prefill_of_a_long_prompt_is_two_flop_a_weight_and_token() -> None:
    machine = llm.Machine(
        H200, 1, request(isl=8192), replace(IDEAL, tile_columns=0.0, tile_tokens=0.0)
    )
    floor = 2 * capacity.shape(LLAMA).body * 8192 / machine.flop_rate
    attention = 4 * 80 * 8192**2 / 2 * 64 * 128 / machine.attention_rate
    assert machine.prefill(1).seconds == pytest.approx(floor + attention, rel=0.02)


def test_more_shards_than_kv_heads_hold_heads_twice() -> None:
    model = replace(LLAMA, kv_heads=4)
    assert llm.Machine(H200, 8, request(model), MID).cache_copies == 2
    assert llm.Machine(H200, 8, request(), MID).cache_copies == 1


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
@given(factor=st.floats(1.01, 4.0), batch=st.integers(1, 512), isl=st.integers(1, 4096))
@settings(max_examples=25, deadline=None)
def test_more_bandwidth_is_never_slower(
    model: LanguageModel, factor: float, batch: int, isl: int
) -> None:
    asked = request(model, isl=isl)
    slow = llm.Machine(H100, 1, asked, MID).serve(batch).output_rate
    fast = llm.Machine(with_bandwidth(H100, factor), 1, asked, MID).serve(batch).output_rate
    assert slow * (1 - 1e-9) <= fast <= slow * factor * (1 + 1e-9)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
@given(batch=st.integers(1, 1000), more=st.integers(1, 1000), gpus=st.sampled_from([1, 2, 8]))
@settings(max_examples=25, deadline=None)
def test_more_batch_never_lowers_throughput(
    model: LanguageModel, batch: int, more: int, gpus: int
) -> None:
    machine = llm.Machine(H200, gpus, request(model), MID)
    assert machine.serve(batch + more).output_rate >= machine.serve(batch).output_rate * (1 - 1e-9)


@given(isl=st.integers(1, 8192), more=st.integers(1, 8192), batch=st.integers(1, 256))
@settings(max_examples=50, deadline=None)
def test_longer_prompts_are_never_faster(isl: int, more: int, batch: int) -> None:
    short = llm.Machine(H200, 1, request(isl=isl), MID).serve(batch)
    long = llm.Machine(H200, 1, request(isl=isl + more), MID).serve(batch)
    assert long.output_rate <= short.output_rate
    assert long.prefill.seconds >= short.prefill.seconds


@given(
    isl=st.sampled_from([128, 500, 1000, 2048, 5000]),
    osl=st.sampled_from([128, 500, 2000, 4096]),
    gpus=st.sampled_from([2, 4, 8]),
)
@settings(max_examples=40, deadline=None)
def test_the_h200_uplift_lies_between_1_and_bandwidth_times_capacity(
    isl: int, osl: int, gpus: int
) -> None:
    def best(part: Accelerator) -> tuple[int, float]:
        machine = llm.Machine(part, gpus, request(isl=isl, osl=osl), MID)
        batch, limit = machine.batch("max")
        return batch, machine.serve(batch, limit).output_rate

    (large, fast), (small, slow) = best(H200), best(H100)
    assert 1 <= fast / slow <= 4.8 / 3.35 * large / small


def test_an_h20_prefills_far_slower_and_decodes_faster_than_an_h100() -> None:
    asked = request(CATALOGUE.model("llama-3-8b"), isl=4096)
    h20, h100 = (llm.Machine(part, 1, asked, MID) for part in (H20, H100))
    assert h20.prefill(1).seconds > 4 * h100.prefill(1).seconds
    assert h20.decode(4, 4096).seconds < h100.decode(4, 4096).seconds


def test_a_stated_batch_that_does_not_fit_is_refused_with_what_does() -> None:
    machine = llm.Machine(H100, 2, request(), MID)
    fits = machine.most_sequences()
    with pytest.raises(DoesNotFit, match=f"hold {fits} beside"):
        machine.batch(fits + 1)
    assert machine.batch(fits) == (fits, "stated")


def test_the_engine_caps_a_batch_that_memory_would_allow() -> None:
    machine = llm.Machine(H200, 8, request(isl=16, osl=16), MID)
    assert machine.batch("max") == (llm.ENGINE_SEQUENCES, "engine")


def test_a_group_keeps_fewer_in_flight_than_its_cache_holds() -> None:
    alone, group = (llm.Machine(H200, gpus, request(osl=8192), MID) for gpus in (1, 8))
    assert alone.batch("max")[0] == alone.most_sequences()
    kept = group.most_sequences() / (1 + 7 * MID.group_batch_loss)
    assert group.batch("max") == (int(kept), "memory capacity")


def test_smaller_chunks_read_the_weights_more_often() -> None:
    whole, parts = (llm.Machine(H100, 2, request(), MID, tokens) for tokens in (8192, 2048))
    assert parts.prefill(8).seconds > whole.prefill(8).seconds
    assert parts.most_sequences() >= whole.most_sequences()


def test_a_part_with_bf16_alone_attends_in_bf16() -> None:
    gaudi = CATALOGUE.accelerator("intel-gaudi2")
    assert "peak_fp16" not in gaudi.figures
    # Intel's page: 57 ms to the first token of Llama-2-7B in FP8 after 2048 tokens, nobody fitted.
    machine = llm.Machine(gaudi, 1, request(CATALOGUE.model("llama-2-7b"), isl=2048), MID)
    assert machine.prefill(1).seconds == pytest.approx(0.0563, rel=0.2)


@pytest.mark.parametrize(("gpus", "near"), [(3, 4), (5, 4), (7, 8), (12, 16)])
def test_devices_that_do_not_divide_the_heads_are_refused_with_the_nearest(
    gpus: int, near: int
) -> None:
    with pytest.raises(CannotEstimate, match=f"64 attention heads .* {gpus} devices: use {near},"):
        llm.Machine(H200, gpus, request(), MID)


def test_a_sequence_that_is_too_long_is_refused_with_the_longest_that_fits() -> None:
    with pytest.raises(DoesNotFit, match="tokens would") as caught:
        llm.Machine(H200, 1, request(isl=10_000_000), MID).most_sequences()
    longest = int(re.findall(r"(\d+) tokens would", str(caught.value))[0])
    assert llm.Machine(H200, 1, request(isl=longest - 1024), MID).most_sequences() == 1
    with pytest.raises(DoesNotFit):
        llm.Machine(H200, 1, request(isl=longest - 1023), MID).most_sequences()
