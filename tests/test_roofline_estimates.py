"""Estimates as they are asked for: defaults named, limits named, intervals honest."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from gpubench import catalogue, cli
from gpubench.errors import CannotEstimate, DoesNotFit, MissingFigure, UnknownName
from gpubench.model import Estimate
from gpubench.quantities import QUANTITIES
from gpubench.roofline import estimate, estimate_ratio, validated
from gpubench.roofline.estimates import _answer
from gpubench.roofline.evaluators import EVALUATORS
from gpubench.units import Quantity, show

CATALOGUE = catalogue.load()
H100, H200, H20, H800, A100, B200, NPU = (
    CATALOGUE.accelerator(name)
    for name in (
        "nvidia-h100-sxm5",
        "nvidia-h200-sxm",
        "nvidia-h20-96gb",
        "nvidia-h800-sxm5",
        "nvidia-a100-80gb-sxm4",
        "nvidia-b200",
        "huawei-ascend-910b3",
    )
)
ESTIMATED = [kind for kind in QUANTITIES.values() if kind.via == "estimate"]
CHAT = {"model": "llama-2-70b", "precision": "fp8", "gpus": 2}


def of(quantity: str, part: Any = H200, **conditions: Any) -> Estimate:
    return estimate(quantity, part, conditions, CATALOGUE)


def ratio(quantity: str, subject: Any = H200, baseline: Any = H100, **given: Any) -> Estimate:
    return estimate_ratio(quantity, subject, baseline, given, CATALOGUE)


def test_every_estimated_quantity_has_an_evaluator_and_no_other() -> None:
    assert set(EVALUATORS) == {kind.name for kind in ESTIMATED}


@pytest.mark.parametrize("kind", ESTIMATED, ids=lambda kind: kind.name)
def test_every_quantity_answers_with_an_ordered_interval_a_limit_and_an_error(kind: Any) -> None:
    needed = {"hourly_rent": 2 / 3600} if kind.name.endswith(("_cost", "cost_per_token")) else {}
    if kind.subject == "none":
        found = of(kind.name, None, **needed)
    elif kind.name == "communication_phase_time":
        found = ratio(kind.name, H800)
    else:
        found = of(kind.name, **needed)
        pair = ratio(kind.name, **needed)
        assert pair.unit == "1"
        assert 0 < pair.low <= pair.mid <= pair.high
    assert 0 < found.low <= found.mid <= found.high
    assert found.binding_limit
    assert "validated" in found.error


def test_what_was_not_stated_is_named_with_the_value_assumed() -> None:
    found = of("inference_throughput", precision="fp8")
    assert "model not stated: llama-2-70b assumed" in found.assumptions
    assert "batch not stated: max assumed" in found.assumptions
    assert not any(text.startswith("precision not stated") for text in found.assumptions)


def test_the_default_number_of_devices_is_one_that_holds_the_model_with_room() -> None:
    found = ratio("inference_throughput", precision="fp16")
    assert found.details["subject"]["gpus"] == found.details["baseline"]["gpus"] == 4


def test_a_ratio_is_known_better_than_its_parts() -> None:
    absolute = of("inference_throughput", **CHAT)
    relative = ratio("inference_throughput", **CHAT)
    assert relative.high / relative.low < absolute.high / absolute.low
    assert "H200/H100 pairs" in relative.error


def test_parts_with_different_compute_have_a_wider_ratio() -> None:
    same = ratio("inference_throughput", **CHAT)
    other = ratio("inference_throughput", H200, H20, **CHAT)
    assert other.high / other.low > same.high / same.low
    assert "different chips" in other.error
    assert "NVIDIA H20 96GB not among them" in other.error


def test_a_family_nobody_compared_is_known_less_well() -> None:
    asked = {"model": "llama-3-8b", "precision": "fp16", "gpus": 1}
    known, foreign = (of("inference_throughput", part, **asked) for part in (A100, NPU))
    assert foreign.high / foreign.low > known.high / known.low
    assert "widened" in foreign.error


def test_prompts_dilute_the_gain_of_bandwidth() -> None:
    chat = ratio("inference_throughput", **CHAT, input_tokens=128, output_tokens=2048).mid
    summary = ratio("inference_throughput", **CHAT, input_tokens=2048, output_tokens=128).mid
    assert 1.0 < summary < 1.15 < 1.3 < chat


def test_a_nearly_full_card_gives_a_large_uplift_and_says_why() -> None:
    found = ratio(
        "inference_throughput",
        model="llama-2-70b",
        precision="fp8",
        gpus=1,
        input_tokens=128,
        output_tokens=2048,
    )
    assert found.low > 2
    assert found.mid > 3
    assert "memory capacity on NVIDIA H100" in found.binding_limit
    assert "nearly full" in found.error


def test_decode_of_one_sequence_gains_what_bandwidth_gains() -> None:
    found = ratio("inference_throughput", **CHAT, batch=1, phase="decode")
    # Launching the kernels of 80 layers takes as long on both, so that a part of the gain is lost.
    assert 1.15 < found.mid < 4.8 / 3.35
    assert found.binding_limit == "memory bandwidth"


def test_prefill_is_bound_by_power_on_a_full_part_and_by_compute_on_a_cut_down_one() -> None:
    assert of("time_to_first_token", H100, **CHAT, input_tokens=4096).binding_limit == "power"
    assert of("time_to_first_token", H20, **CHAT, input_tokens=4096).binding_limit == "compute"


def test_an_equal_batch_that_one_part_cannot_hold_does_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="H100"):
        ratio("inference_throughput", model="llama-2-70b", precision="fp8", gpus=1, batch=64)


def test_gpt_3_in_fp16_does_not_fit_one_h200_and_its_memory_share_says_so() -> None:
    asked = {"model": "gpt-3-175b", "precision": "fp16", "gpus": 1}
    with pytest.raises(DoesNotFit):
        of("inference_throughput", **asked)
    assert of("memory_share", **asked).low > 2
    assert of("memory_share", **{**asked, "precision": "int4"}).high < 1
    assert of("devices_needed", model="gpt-3-175b", precision="fp16").mid == 3


def test_weights_as_large_as_the_printed_capacity_may_fit_what_the_driver_reports() -> None:
    """141.1 GB on an H200, which is sold with 141 GB and reports 143,771 MiB, 150.8 GB."""
    asked = {"model": "llama-3.1-70b", "precision": "bf16"}
    room = of("max_sequences", **asked, gpus=1, input_tokens=128, output_tokens=128)
    assert room.low == 0 < room.mid
    needed = of("devices_needed", **asked, sequences=1, context_tokens=128)
    assert (needed.low, needed.high) == (1, 2)


def test_equal_boards_save_energy_as_they_gain_throughput() -> None:
    faster = ratio("inference_throughput", **CHAT)
    energy = ratio("energy_per_token", **CHAT)
    assert energy.mid == pytest.approx(1 / faster.mid)


def test_memory_does_not_speed_up_gradients_that_wait_for_links() -> None:
    found = ratio("gradient_sync_time", gpus=8)
    assert (found.low, found.mid, found.high) == (1.0, 1.0, 1.0)
    assert found.binding_limit == "links"
    assert of("gradient_sync_time", gpus=1024).binding_limit == "network"


@pytest.mark.parametrize(("network", "limit"), [(10e9, "network"), (60e9, "links")])
def test_beyond_a_node_the_slower_of_links_and_network_is_named(network: float, limit: str) -> None:
    # A ring over 8 H100 takes about a hundredth of a second for 2 GiB; it goes on beside the other.
    asked = {"gpus": 16, "message": 2.0**31}
    found = of("all_reduce_time", H100, **asked, network=network)
    alone = of("all_reduce_time", H100, **{**asked, "gpus": 8})
    assert found.binding_limit == limit
    assert found.mid == pytest.approx(max(alone.mid, found.details["network_s"]))
    assert found.details["network_s"] > alone.mid / 2


def test_a_stated_utilization_leaves_no_communication_to_split_off() -> None:
    asked = {"model": "llama-2-7b", "gpus": 64}
    assert of("communication_share", **asked).mid > 0
    with pytest.raises(CannotEstimate, match="a stated utilization leaves no communication"):
        of("communication_share", **asked, utilization=0.4)


def test_one_device_communicates_with_nobody() -> None:
    with pytest.raises(CannotEstimate, match="one device alone"):
        of("communication_share", B200, model="llama-2-7b", gpus=1)


def test_loading_parameters_follows_bandwidth_only_from_device_memory() -> None:
    assert ratio("parameter_load_time").mid == pytest.approx(3.35 / 4.8)
    assert ratio("parameter_load_time", path="pcie").mid == pytest.approx(1.0)


def test_an_h800_waits_longer_in_phases_bound_by_links() -> None:
    found = ratio("communication_phase_time", H800, bandwidth_bound_share=0.2)
    assert found.mid == pytest.approx(1.25)
    # The share is one of the baseline's phase, whatever its links: 600 GB/s here, cut to 400.
    a800 = CATALOGUE.accelerator("nvidia-a800-80gb-sxm4")
    found = ratio("communication_phase_time", a800, A100, bandwidth_bound_share=0.4)
    assert found.mid == pytest.approx(0.6 + 0.4 * 600 / 400)
    with pytest.raises(CannotEstimate, match="only as a ratio"):
        of("communication_phase_time", H800)


def test_training_gpt_3_takes_the_arithmetic_of_a_stated_utilization() -> None:
    found = of(
        "training_time",
        H100,
        model="gpt-3-175b",
        precision="bf16",
        gpus=1024,
        tokens=300e9,
        utilization=0.4,
    )
    assert found.mid == pytest.approx(3.15e23 / (0.4 * 989.4e12 * 1024), rel=0.01)


def test_cost_is_device_hours_times_rent_and_needs_a_rent() -> None:
    with pytest.raises(CannotEstimate, match="hourly_rent"):
        of("training_cost")
    asked = {"gpus": 64, "tokens": 1e12}
    cost = of("training_cost", **asked, hourly_rent=2 / 3600).mid
    assert cost == pytest.approx(of("training_time", **asked).mid / 3600 * 64 * 2)


def test_the_cost_of_gpt_4_follows_from_its_published_training_flop() -> None:
    asked = {"model": "gpt-4", "precision": "fp16", "hourly_rent": 1 / 3600, "utilization": 0.34}
    found = of("training_cost", A100, **asked)
    hours = CATALOGUE.model("gpt-4").training_flops / (0.34 * 312e12) / 3600
    assert found.mid == pytest.approx(hours, rel=0.01)
    with pytest.raises(CannotEstimate, match="architecture of GPT-4"):
        of("training_throughput", A100, model="gpt-4")


@pytest.mark.parametrize("use", ["inference", "rag", "lora", "training"])
@pytest.mark.parametrize("quantity", ["memory_needed", "memory_share", "devices_needed"])
def test_a_secret_architecture_never_counts_as_no_weights_at_all(quantity: str, use: str) -> None:
    part = None if quantity == "memory_needed" else H200
    with pytest.raises(CannotEstimate, match="nobody has published the architecture of GPT-4"):
        of(quantity, part, model="gpt-4", use=use)


def test_gradients_of_a_secret_architecture_have_no_size() -> None:
    with pytest.raises(CannotEstimate, match="nobody has published the architecture of GPT-4"):
        of("gradient_sync_time", model="gpt-4")


def test_eight_ports_of_400_gigabit_make_400_gb_a_second() -> None:
    found = of("node_network_bandwidth", None, ports=8, port_rate=50e9)
    assert found.low == found.mid == found.high == 400e9


def test_sequences_and_devices_are_whole() -> None:
    for quantity in ("max_sequences", "devices_needed"):
        found = of(quantity)
        assert all(end == int(end) for end in (found.low, found.mid, found.high))


def test_a_condition_the_quantity_does_not_know_is_refused() -> None:
    with pytest.raises(CannotEstimate, match="does not depend on message"):
        of("inference_throughput", message=1.0)


def test_negative_and_absent_things_are_refused_in_a_sentence() -> None:
    with pytest.raises(CannotEstimate, match="input tokens must be positive"):
        of("inference_throughput", input_tokens=-1)
    with pytest.raises(CannotEstimate, match="needs an accelerator"):
        of("memory_share", None)
    with pytest.raises(CannotEstimate, match="not a quantity of the performance model"):
        of("memory_capacity")
    with pytest.raises(UnknownName, match="llama"):
        of("inference_throughput", model="llama-2-70")


def test_a_missing_peak_is_never_guessed() -> None:
    figures = {name: f for name, f in H200.figures.items() if name != "peak_fp8"}
    with pytest.raises(MissingFigure, match="peak fp8"):
        of("inference_throughput", replace(H200, figures=figures), **CHAT)


def test_two_parts_of_one_id_are_not_confused() -> None:
    slower = replace(
        H200, figures={**H200.figures, "memory_bandwidth": H100.figures["memory_bandwidth"]}
    )
    asked = {**CHAT, "batch": 8, "phase": "decode"}
    assert of("inference_throughput", slower, **asked).mid < of("inference_throughput", **asked).mid


def test_an_estimate_asked_for_again_is_not_computed_again() -> None:
    _answer.cache_clear()
    for _ in range(3):
        ratio("inference_throughput", **CHAT, input_tokens=128)
    assert (_answer.cache_info().misses, _answer.cache_info().hits) == (1, 2)


def test_what_throughput_has_room_for_the_other_quantities_have_too() -> None:
    # Beside these weights one sequence fits in shorter iterations alone.
    known = catalogue.load()
    part = known.accelerator("nvidia-h200-sxm")
    asked = {"model": "llama-3-70b", "precision": "fp16", "gpus": 1}
    asked |= {"input_tokens": 2048, "output_tokens": 256}
    served = estimate("inference_throughput", part, {**asked, "batch": "max"}, known)
    room = estimate("max_sequences", part, asked, known)
    assert served.details["batch"] == room.mid == 1
    assert estimate("time_to_first_token", part, asked, known).mid > 0
    step = estimate("time_per_output_token", part, {**asked, "batch": "max"}, known)
    assert step.details["batch"] == 1


def test_a_token_in_flight_waits_for_the_prompts_that_ride_along() -> None:
    known = catalogue.load()
    part = known.accelerator("nvidia-h200-sxm")
    asked = {"model": "llama-2-70b", "precision": "fp8", "gpus": 1, "batch": "max"}
    asked |= {"input_tokens": 2048, "output_tokens": 128}
    found = estimate("inference_throughput", part, asked, known)
    each = found.details["batch"] / found.details["iteration_s"]
    assert each == pytest.approx(found.mid, rel=0.01)
    assert found.details["prefill_share"] > 0.5


def test_a_part_over_itself_is_exactly_one() -> None:
    found = ratio("inference_throughput", H200, H200, **CHAT)
    assert (found.low, found.mid, found.high) == (1, 1, 1)
    assert found.error.startswith("exact")


def test_weights_are_bf16_where_nobody_has_published_an_fp16_peak() -> None:
    gaudi = CATALOGUE.accelerator("intel-gaudi2")
    assert "precision not stated: bf16 assumed" in of("inference_throughput", gaudi).assumptions
    both = ratio("inference_throughput", gaudi, H100)
    assert "precision not stated: bf16 assumed" in both.assumptions
    with pytest.raises(MissingFigure, match="no published peak fp16; use bf16 or fp8"):
        of("inference_throughput", gaudi, precision="fp16")


def test_weights_that_a_part_has_no_units_for_are_said_to_be_widened() -> None:
    asked = {"model": "llama-3-8b", "gpus": 1}
    said = "weights are stored in fp8 and multiplied in fp16 on NVIDIA A100 80GB SXM4"
    assert said in of("inference_throughput", A100, **asked, precision="fp8").assumptions
    assert said in ratio("inference_throughput", H100, A100, **asked, precision="fp8").assumptions
    both = ratio("time_to_first_token", H200, H100, **asked, precision="int4").assumptions
    assert any("multiplied in fp16 on NVIDIA H200 SXM" in text and " and " in text for text in both)
    for precision, part in (("fp8", H100), ("fp16", A100)):
        found = of("inference_throughput", part, **asked, precision=precision)
        assert not any("multiplied" in text for text in found.assumptions)
    stored = of("memory_share", A100, **asked, precision="fp8")
    assert not any("multiplied" in text for text in stored.assumptions)


def test_both_parts_of_a_comparison_have_one_precision() -> None:
    words = ["--gpu", "nvidia-h100-sxm5", "--vs", "intel-gaudi3", "--model", "llama-3.1-8b"]
    result = CliRunner().invoke(cli.main, ["estimate", *words, "--isl", "512", "--osl", "512"])
    assert "- precision not stated: bf16 assumed" in result.stdout
    assert "fp16 assumed" not in result.stdout


def test_more_tokens_than_a_model_is_published_for_are_remarked() -> None:
    for tokens, remarked in ((2048, False), (2049, True)):
        found = of("inference_throughput", **CHAT, input_tokens=2048, output_tokens=tokens)
        assert any("is published for 4096 tokens" in told for told in found.assumptions) is remarked


def test_an_end_of_a_range_at_which_nothing_fits_is_named() -> None:
    """The fewest bytes that are left for a cache, in a pipeline, whose intervals span ranges."""
    asked = {"model": "llama-3.1-405b", "precision": "fp16", "gpus": 12, "pipeline": 6}
    found = of("inference_throughput", H100, input_tokens=1, output_tokens=1, **asked)
    assert "; at the least that a device may report of its capacity nothing fits" in found.error
    assert found.low == 0 < found.mid <= found.high


def test_a_part_with_worse_rows_of_its_own_gets_their_error() -> None:
    own = validated.load()["other_parts"]["amd-mi300x"]
    found = of("inference_throughput", CATALOGUE.accelerator("amd-mi300x"), **CHAT)
    assert math.log(found.mid / found.low) >= own["log_q90"]
    assert f"whose own {own['count']} have a median of" in found.error


def test_fewer_sequences_than_were_ever_compared_are_less_certain() -> None:
    """70B by FP8 on eight H200, one request: NVIDIA prints 268 token/s with Medusa, which it says
    makes up to 1.9 times as much of it (developer.nvidia.com, "Low Latency Inference Chapter 1").
    """
    asked = {**CHAT, "model": "llama-3.1-70b", "precision": "fp8", "gpus": 8}
    asked |= {"input_tokens": 128, "output_tokens": 512}
    one, sixteen = (of("inference_throughput", H200, **asked, batch=batch) for batch in (1, 16))
    assert one.low < 268 / 1.9 < one.high
    assert "none of so few sequences" in one.error
    assert "none of so few sequences" not in sixteen.error
    assert one.high / one.low > sixteen.high / sixteen.low


def test_one_request_at_a_time_is_predicted_within_a_fifth() -> None:
    """70B by FP8 on two H100, 500 and 2,000 tokens: 18.91 ms a token under NIM 1.8.0
    (docs.nvidia.com/nim/benchmarking/llm/1.0.0/performance).
    """
    asked = {**CHAT, "model": "llama-3.1-70b", "batch": 1}
    asked |= {"input_tokens": 500, "output_tokens": 2000}
    found = of("time_per_output_token", H100, **asked)
    assert found.mid == pytest.approx(18.91e-3, rel=0.2)
    assert found.low < 18.91e-3 < found.high


def test_eight_devices_have_an_error_of_their_own() -> None:
    two, eight = (
        of("inference_throughput", H100, **{**CHAT, "batch": "max", "gpus": gpus})
        for gpus in (2, 8)
    )
    assert "(max batch):" in two.error
    assert "(max batch on 8 devices):" in eight.error
    assert eight.high / eight.mid > two.high / two.mid


def test_a_model_that_was_never_compared_is_named_and_one_built_otherwise_is_less_certain() -> None:
    asked = {**CHAT, "precision": "fp8", "gpus": 8, "batch": "max"}
    known, alike, other = (
        of("inference_throughput", H200, **{**asked, "model": model})
        for model in ("llama-3.1-70b", "qwen2.5-72b", "deepseek-v3")
    )
    assert "not among them" not in known.error
    assert "Qwen2.5 72B not among them" in alike.error
    assert alike.high / alike.mid == pytest.approx(known.high / known.mid)
    assert "DeepSeek-V3, and none built like it, not among them; widened by the" in other.error
    assert other.high / other.mid > known.high / known.mid


def test_what_one_silicon_reaches_of_its_peaks_is_no_doubt_about_its_ratio() -> None:
    asked = {"model": "qwen3-30b-a3b", "precision": "fp8", "gpus": 1, "batch": "max"}
    asked |= {"input_tokens": 1024, "output_tokens": 1024, "phase": "serving"}
    same = estimate_ratio("inference_throughput", H200, H100, asked, CATALOGUE)
    apart = estimate_ratio(
        "inference_throughput", H200, A100, {**asked, "precision": "fp16"}, CATALOGUE
    )
    assert "none built like it" in same.error
    assert same.high / same.low < 1.5 < apart.high / apart.low


def test_an_engine_built_for_fewer_sequences_leaves_more_room_and_the_estimate_says_so() -> None:
    card = CATALOGUE.accelerator("nvidia-rtx-4090")
    asked = {"model": "llama-3.1-8b", "precision": "fp16", "gpus": 1, "batch": "max"}
    asked |= {"input_tokens": 512, "output_tokens": 512, "phase": "serving"}

    def throughput(**more: Any) -> Estimate:
        return estimate("inference_throughput", card, {**asked, **more}, CATALOGUE)

    usual, fewer = throughput(), throughput(engine_sequences=64)
    (note,) = [told for told in usual.assumptions if "engines are built for" in told]
    assert fewer.details["batch"] > 3 * usual.details["batch"]
    best = max(fewer.mid, throughput(engine_sequences=256).mid)
    assert note.endswith(f"RTX 4090 would give {show(Quantity(best, 'token/s'))}")
    stated = throughput(batch=fewer.details["batch"], engine_sequences=64)
    assert stated.details["batch"] == fewer.details["batch"]
    assert not any("engines are built" in told for e in (fewer, stated) for told in e.assumptions)
    with pytest.raises(CannotEstimate, match="built for 64 sequences does not take a batch of 65"):
        throughput(batch=65, engine_sequences=64)
    ample = {"model": "llama-3.1-8b", "precision": "fp8", "batch": "max"}
    large = estimate("inference_throughput", H200, ample, CATALOGUE)
    assert not any("engines are built" in told for told in large.assumptions)


def test_a_ratio_that_hangs_on_what_engines_are_built_for_says_so() -> None:
    asked = {"model": "llama-3.1-405b", "precision": "fp8", "gpus": 8, "batch": "max"}
    asked |= {"input_tokens": 2048, "output_tokens": 2048, "phase": "serving"}
    found = estimate_ratio("inference_throughput", H200, H100, asked, CATALOGUE)
    (note,) = [told for told in found.assumptions if "engines are built for" in told]
    other = float(note.split()[-2])
    assert 1.4 < other < 0.9 * found.mid


def test_a_refusal_names_an_engine_that_would_fit() -> None:
    t4 = CATALOGUE.accelerator("nvidia-t4")
    asked = {"model": "gpt-oss-20b", "precision": "fp16", "gpus": 4, "batch": "max"}
    with pytest.raises(DoesNotFit, match="or an engine built for 256 sequences at once would"):
        estimate("inference_throughput", t4, asked, CATALOGUE)
    asked["engine_sequences"] = 256
    assert estimate("inference_throughput", t4, asked, CATALOGUE).mid > 0


def test_training_shows_the_error_that_published_rows_found() -> None:
    given = {"model": "llama-2-70b", "precision": "bf16", "gpus": 64}
    alone = of("training_throughput", H100, **given)
    assert "131 published rows of training (dense): median error 11.2 %" in alone.error
    known = validated.load()["training"]
    assert math.log(alone.high / alone.mid) == pytest.approx(known["absolute"]["dense"]["log_q90"])
    other = ratio("training_time", H20, **given)
    assert "26 published pairs of different chips in training (dense)" in other.error
    assert "NVIDIA H20 96GB not among them" in other.error
    sparse = of("training_throughput", H100, model="mixtral-8x7b", precision="bf16", gpus=64)
    assert "mixture of experts" in sparse.error
    # Nothing was compared of parts alike, nor is there anything to err in a stated utilization.
    for unknown in (
        ratio("training_throughput", **given),
        of("training_throughput", H100, utilization=0.4, **given),
    ):
        assert unknown.error.startswith("not validated")


def test_the_step_s_tokens_decide_how_a_large_cluster_trains() -> None:
    """Llama 3.1 405B took 30.84 million hours of an H100 (its model card), in steps of 16 million
    tokens and up to 16,384 devices (arXiv:2407.21783, table 4).
    """
    given = {"model": "llama-3.1-405b", "precision": "bf16", "gpus": 16384, "tokens": 15.6e12}
    taken = 30.84e6 / 16384 * 3600
    large = of("training_time", H100, batch_tokens=16e6, **given)
    assert large.low < taken < large.high
    assert large.mid == pytest.approx(taken, rel=0.15)
    usual = of("training_time", H100, **given)
    assert usual.mid > 1.5 * large.mid  # a few sequences a copy leave most of a pipeline waiting
    assert "batch tokens not stated: 4 million tokens assumed" in usual.assumptions
    short = of("training_time", H100, batch_tokens=16e6, sequence_tokens=1024, **given)
    assert short.mid < large.mid  # less attention


# --------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("part", CATALOGUE.accelerators.values(), ids=lambda part: part.id)
def test_no_end_of_an_interval_beats_the_data_sheet(part: Any) -> None:
    """A token reads all weights but the embedding, a prompt multiplies with all but the head."""
    model = CATALOGUE.model("llama-3.1-8b")
    table = float(model.vocabulary * model.hidden)
    asked = {"model": model.id, "batch": 1, "gpus": 1, "input_tokens": 2048, "output_tokens": 128}
    try:
        each = of("time_per_output_token", part, **asked)
        prompt = of("time_to_first_token", part, **asked)
        rate = of("inference_throughput", part, **asked)
    except (CannotEstimate, MissingFigure):
        return  # too small, or too little is known of it
    stored = "bf16" if "peak_fp16" not in part.figures else "fp16"
    step = 2 * (model.parameters - table) / part.value("memory_bandwidth")
    begin = 2 * 2048 * (model.parameters - 2 * table) / part.value(f"peak_{stored}")
    assert each.low >= step
    assert prompt.low >= begin
    assert rate.high <= 128 / (begin + 128 * step)
    assert each.low < each.mid < each.high


def test_an_end_that_is_cut_is_told() -> None:
    mi300x = CATALOGUE.accelerator("amd-mi300x")
    asked = {"model": "llama-3.1-8b", "batch": 1, "gpus": 1, "input_tokens": 512}
    found = of("inference_throughput", mi300x, output_tokens=512, **asked)
    assert found.error.endswith("; cut at what data sheets allow")
    assert found.high < 353  # 5.3 TB/s over 15 GB of weights
    many = of("inference_throughput", model="llama-2-70b", precision="fp8", gpus=1)
    assert "cut at" not in many.error


def test_a_model_is_served_as_it_is_published_and_trained_in_sixteen_bits() -> None:
    served = of("inference_throughput", model="gpt-oss-120b")
    assert "precision as gpt-oss-120b is published: fp4" in served.assumptions
    assert of("devices_needed", model="gpt-oss-120b").mid == 1
    assert of("devices_needed", model="gpt-oss-120b", precision="bf16").mid > 1
    trained = of("training_throughput", model="deepseek-v3", gpus=2048)
    assert "precision not stated: fp16 assumed" in trained.assumptions
    kept = of("memory_needed", None, model="deepseek-v3", use="training")
    assert "precision not stated: fp16 assumed" in kept.assumptions


def test_what_wastes_less_holds_more_sequences_and_steps_slower() -> None:
    slow = CATALOGUE.accelerator("nvidia-rtx-4090")
    found = of("time_per_output_token", slow, model="falcon-180b", output_tokens=2048)
    assert "cut at" not in found.error
    assert found.low < found.mid < found.high


def test_what_may_not_fit_begins_at_nothing_though_nothing_is_wasted() -> None:
    slow = CATALOGUE.accelerator("nvidia-rtx-4090")
    found = of("training_throughput", slow, model="llama-3.1-70b", utilization=0.4)
    assert found.low == 0
    assert found.mid == found.high


def test_gradients_have_sixteen_bits_however_weights_are_published() -> None:
    for model in ("deepseek-v3", "gpt-oss-120b"):
        assert (
            "precision not stated: fp16 assumed"
            in of("gradient_sync_time", model=model).assumptions
        )
