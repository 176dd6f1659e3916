"""The work of a pass is what the model of serving divides by its rates, for any architecture."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import catalogue
from gpubench.model import Engine, LanguageModel
from gpubench.roofline import calibration, capacity, llm, steps

KNOWN = catalogue.load()
PART = KNOWN.accelerators["nvidia-h200-sxm"]


def ideal() -> calibration.Parameters:
    """No overhead, no padding, no loss: what is left is work over rate."""
    mid = calibration.load().mid
    zero = ("tile_tokens", "tile_columns", "cache_operations", "elementwise_operations")
    zero += ("softmax_operations",)
    zero += tuple(f.name for f in fields(mid) if f.name.endswith("overhead_s"))
    one = ("cache_read_efficiency", "attention_efficiency")
    return replace(mid, **dict.fromkeys(zero, 0.0), **dict.fromkeys(one, 1.0))


@st.composite
def architectures(draw: Any) -> LanguageModel:
    layers, kv = draw(st.integers(1, 90)), draw(st.sampled_from([1, 2, 8]))
    group, dim = draw(st.sampled_from([1, 4, 8])), draw(st.sampled_from([64, 128]))
    hidden, ffn = 128 * draw(st.integers(1, 64)), 128 * draw(st.integers(1, 200))
    vocabulary, experts = draw(st.integers(1000, 200_000)), draw(st.sampled_from([0, 4, 8, 64]))
    window = draw(st.sampled_from([0, 512, 4096]))
    attention = hidden * dim * (2 * kv * group + 2 * kv) + 2 * hidden
    each = 3 * hidden * ffn
    router = hidden * experts
    body = layers * (attention + (router if experts else each)) + hidden
    return LanguageModel(
        id="drawn",
        name="drawn",
        parameters=float(body + layers * experts * each + 2 * vocabulary * hidden),
        active_parameters=0.0,
        layers=layers,
        hidden=hidden,
        heads=kv * group,
        kv_heads=kv,
        head_dim=dim,
        ffn_hidden=0 if experts else ffn,
        vocabulary=vocabulary,
        source="",
        experts=experts,
        experts_per_token=min(2, experts),
        expert_hidden=ffn if experts else 0,
        sliding_window=window,
        sliding_layers=layers if window else 0,
    )


def seconds(model: LanguageModel, precision: str, chunk: float, of: str, how: Any) -> float:
    """What `llm.Machine` says a pass takes where one rate is 1 and the other is endless."""
    request = llm.Request(model, precision, "fp8" if precision == "fp8" else "fp16", chunk, 1)
    machine = llm.Machine(PART, 1, request, ideal(), Engine(tokens=chunk))
    endless = float("inf")
    flops, bytes_ = (1.0, endless) if of == "flops" else (endless, 1.0)
    machine.flop_rate = machine.wide_rate = machine.attention_rate = flops
    machine.byte_rate = machine.cache_rate = bytes_
    return how(machine).seconds


@given(
    architectures(),
    st.sampled_from(["fp16", "bf16", "fp8"]),
    st.integers(1, 2048),
    st.integers(1, 9000),
)
@settings(deadline=None, max_examples=60)
def test_a_pass_counts_as_the_model_counts(
    model: LanguageModel, precision: str, sequences: int, tokens: int
) -> None:
    kv = "fp8" if precision == "fp8" else "fp16"
    decoded = steps.decode(model, precision, kv, sequences, tokens)
    prefilled = steps.prefill(model, precision, sequences, tokens)
    for of in ("flops", "bytes"):
        chunk = sequences * tokens
        said = seconds(model, precision, chunk, of, lambda m: m.decode(sequences, tokens))
        assert getattr(decoded, of) == pytest.approx(said, rel=1e-9)

        def prefill(machine: llm.Machine) -> Any:
            machine.request = replace(machine.request, input_tokens=tokens)
            return machine.prefill(sequences)

        said = seconds(model, precision, chunk, of, prefill)
        assert getattr(prefilled, of) == pytest.approx(said, rel=1e-9)


@given(architectures(), st.integers(1, 90))
@settings(deadline=None, max_examples=40)
def test_a_part_and_the_rest_make_the_whole(model: LanguageModel, layers: int) -> None:
    if layers > model.layers:
        with pytest.raises(ValueError, match="layers, not"):
            steps.part_of(model, layers)
        return
    part, held = steps.part_of(model, layers), capacity.shape(model)
    few = capacity.shape(part)
    assert few.head == held.head
    assert few.expert * model.layers == pytest.approx(held.expert * layers, rel=1e-9)
    layered = held.body - model.hidden
    assert few.body - model.hidden == pytest.approx(layered * layers / model.layers, abs=1)


def test_the_work_of_llama_2_70b_is_what_its_size_says() -> None:
    model = KNOWN.model("llama-2-70b")
    one = steps.decode(model, "fp16", "fp16", 1, 0)
    without_embedding = model.parameters - model.vocabulary * model.hidden
    assert one.bytes == 2 * without_embedding
    assert one.flops == 2 * without_embedding
    # 2 · 80 layers · 8 heads · 128 values of 2 bytes are 327,680 bytes a token.
    held = steps.decode(model, "fp16", "fp16", 3, 1000)
    assert held.bytes - one.bytes == 3 * 1000 * 327_680
    mixtral = KNOWN.model("mixtral-8x7b")
    assert steps.decode(mixtral, "bf16", "bf16", 1, 0).flops == pytest.approx(
        2 * (mixtral.active_parameters - mixtral.vocabulary * mixtral.hidden)
    )
