"""Sizes against published architectures and simple arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench import catalogue
from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.roofline import calibration, capacity, memory, splits

MID = calibration.load().mid
CATALOGUE = catalogue.load()
LLAMA = CATALOGUE.model("llama-2-70b")
GPT3 = CATALOGUE.model("gpt-3-175b")
H200 = CATALOGUE.accelerator("nvidia-h200-sxm")
H100 = CATALOGUE.accelerator("nvidia-h100-sxm5")
ALONE = capacity.Stage(1.0, first=True, last=True)


def test_llama_2_70b_keeps_327_680_bytes_a_token_in_fp16() -> None:
    assert capacity.cache_bytes_per_token(LLAMA, "fp16") == 80 * 2 * 8 * 128 * 2 == 327_680
    assert capacity.cache_bytes(LLAMA, 1000, "fp16") == 327_680_000


def test_an_fp8_cache_is_half_as_large() -> None:
    assert capacity.cache_bytes_per_token(LLAMA, "fp8") == 327_680 / 2


def test_latent_attention_keeps_576_values_a_token_and_layer() -> None:
    deepseek = CATALOGUE.model("deepseek-v3")
    assert capacity.cache_bytes_per_token(deepseek, "bf16") == 61 * 576 * 2


def test_sliding_layers_stop_growing_at_their_window() -> None:
    model = CATALOGUE.model("gpt-oss-20b")
    far, farther = (capacity.held_tokens(model, context) for context in (10_000, 20_000))
    assert farther - far == (model.layers - model.sliding_layers) * 10_000


def test_the_body_of_llama_2_70b_is_its_attention_and_feed_forward() -> None:
    attention = 2 * 8192 * 8192 + 2 * 8192 * 1024
    assert capacity.shape(LLAMA).body == pytest.approx(80 * (attention + 3 * 8192 * 28672), 1e-4)


def test_what_mixtral_uses_of_its_experts_are_its_active_parameters() -> None:
    model = CATALOGUE.model("mixtral-8x7b")
    shape = capacity.shape(model)
    used = shape.body + 2 * shape.expert + shape.head + shape.embedding
    assert used == pytest.approx(model.active_parameters, rel=0.01)


def test_a_model_whose_architecture_is_secret_is_refused() -> None:
    with pytest.raises(CannotEstimate, match="nobody has published the architecture of GPT-4"):
        capacity.shape(CATALOGUE.model("gpt-4"))


@pytest.mark.parametrize(
    "model", [m for m in CATALOGUE.models.values() if m.layers], ids=lambda model: model.id
)
def test_every_known_architecture_leaves_a_body_to_compute(model: LanguageModel) -> None:
    shape = capacity.shape(model)
    assert 0 < shape.body < model.parameters


def test_gpt_3_does_not_fit_141_gb_in_fp16_and_does_in_int4() -> None:
    def free(precision: str) -> float:
        return capacity.cache_budget(H200, GPT3, precision, 1, Engine(), MID)

    assert free("fp16") < 0 < free("int4")
    with pytest.raises(DoesNotFit, match="349 GB of weights"):
        splits.check_fits(H200, GPT3, "fp16", 1, Engine(), MID)


def test_embeddings_stay_in_16_bits_when_weights_are_quantised() -> None:
    held = capacity.weight_bytes(LLAMA, "fp8")
    assert held == pytest.approx(LLAMA.parameters + 2 * 32000 * 8192)


def test_full_training_takes_16_bytes_a_parameter() -> None:
    parts = memory.needed(LLAMA, "training", "bf16", "bf16", 1, 2048, 16, 8, MID)
    assert parts["weights and optimizer"] == 16 * LLAMA.parameters


def test_lora_of_gpt_3_is_weights_and_little_more() -> None:
    parts = memory.needed(GPT3, "lora", "fp16", "fp16", 1, 2048, 16, 1, MID)
    assert parts["weights"] > 340e9
    assert parts["adapters"] < 0.03 * parts["weights"]


def test_rank_16_adapters_of_llama_2_7b_match_the_known_count() -> None:
    # Seven projections, rank 16, as peft reports for this model: 39,976,960.
    assert memory.adapter_parameters(CATALOGUE.model("llama-2-7b"), 16) == 39_976_960


def test_a_larger_card_holds_more_sequences() -> None:
    def sequences(part: Accelerator) -> int:
        budget = capacity.cache_budget(part, LLAMA, "fp8", 1, Engine(), MID)
        return capacity.sequences_that_fit(budget, LLAMA, 2048, "fp8")

    assert sequences(H200) > 6 * sequences(H100) > 0


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CannotEstimate, match="use one of fp32"):
        capacity.storage_bytes("int3")


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    model = CATALOGUE.model("llama-3.1-405b")
    with pytest.raises(DoesNotFit, match="16 devices in 2 stages or fp8 weights would"):
        splits.check_fits(H100, model, "fp16", 8, Engine(), MID)
    with pytest.raises(DoesNotFit, match="; use a smaller model"):
        splits.check_fits(
            H100, CATALOGUE.model("deepseek-v3"), "int4", 1, Engine(tokens=0), tiny_memory()
        )


def tiny_memory() -> calibration.Parameters:
    """A part of whose memory drivers report next to nothing."""
    return replace(MID, reported_capacity=0.001)


def test_a_larger_vocabulary_leaves_less_room_on_every_device() -> None:
    small, large = CATALOGUE.model("llama-2-70b"), CATALOGUE.model("llama-3-70b")
    engine = Engine()
    held = [capacity.reserve_bytes(model, engine, 8, MID) for model in (small, large)]
    logits = 4 * engine.sequences * (large.vocabulary - small.vocabulary)
    assert held[1] - held[0] == pytest.approx(MID.logit_buffers * logits)


def test_every_device_holds_the_whole_embedding() -> None:
    whole = capacity.weight_bytes(LLAMA, "fp8")
    table = 2 * 32000 * 8192  # looked up in 16 bits
    assert capacity.stage_bytes(LLAMA, "fp8", 1, ALONE) == whole
    assert 8 * capacity.stage_bytes(LLAMA, "fp8", 8, ALONE) == pytest.approx(whole + 7 * table)


def test_an_engine_built_for_more_leaves_less_room() -> None:
    def budget(engine: Engine) -> float:
        return capacity.cache_budget(H200, LLAMA, "fp8", 1, engine, MID)

    usual = budget(Engine())
    assert budget(Engine(sequences=8192)) < usual
    assert budget(Engine(tokens=16384)) < usual
    assert budget(Engine(cache_fraction=0.99)) == pytest.approx(usual * 0.99 / MID.cache_fraction)


def test_an_engine_that_may_use_part_of_the_memory_has_room_for_less() -> None:
    whole, part = (
        capacity.cache_budget(H200, LLAMA, "fp8", 2, Engine(memory_fraction=share), MID)
        for share in (1.0, 0.9)
    )
    lost = 0.1 * 2 * H200.value("memory_capacity") * MID.reported_capacity
    assert whole - part == pytest.approx(lost * MID.cache_fraction)
