"""Serving against closed forms, and the directions in which it may never move."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import catalogue
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, Engine, Figure, LanguageModel
from gpubench.roofline import calibration, capacity, llm
from gpubench.units import Quantity
from gpubench.validating import validation

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
    scores = 80 * 8192**2 / 2 * 64
    products = scores * 4 * 128 / machine.wide_rate
    softmax = scores * MID.softmax_operations / H200.value("peak_fp32")
    assert machine.prefill(1).seconds == pytest.approx(floor + products + softmax, rel=0.02)


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
        served = machine.run("max")
        return served.batch, served.output_rate

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
    assert machine.batch("max") == (2048, "engine")
    small = llm.Machine(H200, 8, request(isl=16, osl=16), MID, Engine(sequences=256))
    assert small.batch("max") == (256, "engine")


def test_a_group_keeps_fewer_in_flight_than_its_cache_holds() -> None:
    alone, group = (llm.Machine(H200, gpus, request(osl=8192), MID) for gpus in (1, 8))
    assert alone.batch("max")[0] == alone.most_sequences()
    kept = group.most_sequences() / (1 + 7 * MID.group_batch_loss)
    assert group.batch("max") == (int(kept), "memory capacity")


def test_smaller_chunks_read_the_weights_more_often() -> None:
    engines = [Engine(tokens=tokens) for tokens in (8192, 2048)]
    whole, parts = (llm.Machine(H100, 2, request(), MID, engine) for engine in engines)
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


def test_prompts_ride_along_and_need_no_iterations_of_their_own() -> None:
    machine = llm.Machine(H100, 2, request(), MID)
    apart, along = machine.serve(64), machine.serve_in_flight(64)
    assert along.steps == apart.steps == 1024
    assert along.decode.seconds == pytest.approx(apart.decode.seconds)
    assert along.prefill.seconds < apart.prefill.seconds
    assert along.output_rate < 64 / (along.decode.seconds / along.steps)


def test_a_short_iteration_lets_fewer_decode_at_once() -> None:
    # 1,024 tokens an iteration, eight of nine of them prompts: at most 114 sequences decode.
    asked = request(isl=2048, osl=256)
    machine = llm.Machine(H200, 4, asked, MID, Engine(tokens=1024))
    served = machine.serve_in_flight(1000)
    assert served.steps == pytest.approx(1000 * 2304 / 1024)
    alone = machine.decode(1024 * 256 / 2304, 2048 + 128)
    assert served.decode.seconds / served.steps == pytest.approx(alone.seconds)
    assert machine.serve_in_flight(2000).output_rate == pytest.approx(served.output_rate)


def test_the_end_of_a_queue_costs_the_more_the_shorter_it_is() -> None:
    machine = llm.Machine(H200, 1, request(), MID)
    rates = [machine.run("max", queued).output_rate for queued in (600, 3000, 30_000, 0)]
    assert rates == sorted(rates)
    assert rates[-1] / rates[-2] < 1.01


def test_a_queue_that_fits_at_once_is_a_batch_and_one_more_request_changes_little() -> None:
    machine = llm.Machine(H200, 1, request(), MID)
    fits = machine.batch("max")[0]
    fewer, exactly, more = (machine.run("max", fits + n).output_rate for n in (-1, 0, 1))
    assert fewer < exactly == machine.serve(fits).output_rate
    assert more == pytest.approx(exactly, rel=0.02)


def test_queries_that_are_not_joined_take_the_vector_units() -> None:
    apart = Engine(joins_queries=False)
    model = CATALOGUE.model("llama-3-8b")
    joined, alone = (llm.Machine(H100, 1, request(model), MID, e) for e in (Engine(), apart))
    values = 2 * 8 * 128 * 32 * 64 * 2048  # keys and values of 8 heads, 32 layers, 64 sequences
    added = alone.decode(64, 2048).seconds - alone.decode(64, 0).seconds
    operations = MID.cache_operations * 4 * values  # four queries a head
    assert added == pytest.approx(operations / H100.value("peak_fp32"))
    assert added > 2 * (joined.decode(64, 2048).seconds - joined.decode(64, 0).seconds)


def test_the_usual_engines_are_tried_and_the_first_says_why_none_fits() -> None:
    def room(engine: Engine) -> int:
        return llm.Machine(H100, 1, request(isl=2048), MID, engine).most_sequences()

    few, more = llm.by_engine(room)
    assert 0 < few < more
    with pytest.raises(DoesNotFit, match=f"hold {more} beside"):
        llm.by_engine(
            lambda engine: llm.Machine(H100, 1, request(isl=2048), MID, engine).batch(999)
        )
    huge = request(CATALOGUE.model("llama-3.1-405b"))
    with pytest.raises(DoesNotFit, match="weights"):
        llm.by_engine(lambda engine: llm.Machine(H100, 1, huge, MID, engine).most_sequences())


def test_decoding_pays_for_the_softmax_of_joined_queries() -> None:
    """So many operations a score of every query head, beside the products, where memory is fast."""
    slow = replace(MID, softmax_operations=1e4, smoothness=16.0)
    machine = llm.Machine(H100, 1, request(), slow)
    scores = 80 * 32 * 4096 * 64
    alone = machine.decode(32, 0).seconds
    assert machine.decode(32, 4096).seconds - alone == pytest.approx(
        scores * 1e4 / H100.value("peak_fp32"), rel=0.02
    )


def test_a_model_whose_architecture_nobody_published_says_so() -> None:
    with pytest.raises(CannotEstimate, match="nobody has published the architecture of GPT-4"):
        llm.Machine(H200, 2, request(CATALOGUE.model("gpt-4")), MID)


def test_memory_in_use_is_weights_buffers_and_cache() -> None:
    machine = llm.Machine(H200, 2, request(), MID)
    weights = LLAMA.vocabulary * LLAMA.hidden * 2  # the embedding is whole on each
    weights += (capacity.weight_bytes(LLAMA, "fp8") - weights) / 2
    reserve = capacity.reserve_bytes(LLAMA, Engine(), 2, MID)
    cached = 7 * 2048 * 2 * LLAMA.kv_heads * LLAMA.head_dim * LLAMA.layers / 2
    assert machine.device_bytes(7) == pytest.approx(weights + reserve + cached)


@pytest.mark.parametrize("pipeline", [1, 3])
def test_as_many_sequences_fit_as_the_share_of_free_memory_for_the_cache_holds(
    pipeline: int,
) -> None:
    machine = llm.Machine(H200, 2 * pipeline, request(), MID, Engine(pipeline=pipeline))
    usable = H200.value("memory_capacity") * MID.reported_capacity
    fits = machine.most_sequences()
    # All of what is free, not the engine's share of it, would hold so many more.
    assert machine.device_bytes(fits) < usable
    assert machine.device_bytes((fits + 1) / MID.cache_fraction) > usable


def test_lines_are_listed_by_why_they_were_skipped() -> None:
    told = validation.lines_by_reason([(2, "odd"), (3, ""), (4, "late"), (5, "odd")])
    assert list(told.items()) == [("odd", (2, 5)), ("late", (4,))]


def test_an_engine_is_built_for_the_batch_that_is_stated_and_at_most_for_the_default() -> None:
    assert {e.sequences for e in llm.usual(1)} == {2048}
    assert {e.sequences for e in llm.usual(2, 8)} == {8}
    assert {e.sequences for e in llm.usual(1, 5000)} == {2048}
    assert (
        {e.sequences for e in llm.usual(1, 8, 64)}
        == {e.sequences for e in llm.usual(1, "max", 64)}
        == {64}
    )
