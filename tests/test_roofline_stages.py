"""Stages of a serving pipeline: against a simulated one, closed forms, and published results."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpubench import catalogue, cli, roofline
from gpubench.errors import CannotEstimate, DoesNotFit, MissingFigure
from gpubench.model import Engine, LanguageModel
from gpubench.roofline import calibration, capacity, ceilings, llm, splits
from gpubench.roofline.operators import Timed
from gpubench.roofline.stages import Stages

KNOWN = catalogue.load()
MID = calibration.load().mid
H200, H20 = (KNOWN.accelerator(name) for name in ("nvidia-h200-sxm", "nvidia-h20-96gb"))
LLAMA = KNOWN.model("llama-2-70b")
FREE = replace(MID, step_overhead_s=0.0, link_latency_s=0.0)
HOST, HOP, WIRE = 3e-4, 2e-4, 1e-6


def of_stages(pipeline: int, layers: int = 80, with_sends: bool = True) -> Stages:
    """Stages with a host and sends that show, or with neither."""
    stages = Stages(H200, replace(LLAMA, layers=layers), pipeline, pipeline, FREE)
    stages.wire = 0.0
    if with_sends and pipeline > 1:
        stages.host, stages.hop, stages.wire = HOST, HOP, WIRE
    return stages


def dealt(
    layers: int, pipeline: int, each: float, head: float, tokens: float = 0.0, sends: bool = True
) -> list[float]:
    """Seconds of the stages: what does not divide goes to any but the last, which has the head.

    Every stage sends on, the last only what it sampled.
    """
    counts = [layers // pipeline + (n < layers % pipeline) for n in range(pipeline)]
    times = [count * each for count in counts]
    if sends and pipeline > 1:
        times = [seconds + HOST + HOP + WIRE * tokens for seconds in times]
        times[-1] -= WIRE * tokens
    times[-1] += head
    return times


def simulated(times: list[float], jobs: list[float], rounds: int = 1) -> float:
    """When the last of the jobs leaves the last stage, each going round `rounds` times.

    A job is as much longer than `times` as its number says, and enters again when it has left; a
    stage does one job at a time, in their order.
    """
    free, ready = [0.0] * len(times), [0.0] * len(jobs)
    for _ in range(rounds):
        for job, longer in enumerate(jobs):
            for stage, seconds in enumerate(times):
                ready[job] = max(ready[job], free[stage]) + seconds * longer
                free[stage] = ready[job]
    return max(ready)


layers_dealt = st.tuples(st.integers(1, 12), st.integers(12, 130))
seconds = st.floats(1e-5, 1e-2)


@given(split=layers_dealt, each=seconds, head=st.floats(0, 1e-2), sequences=st.integers(1, 30))
@example(split=(4, 61), each=1e-3, head=3e-3, sequences=64)
@settings(max_examples=150, deadline=None)
def test_decoding_goes_round_as_a_simulated_pipeline_does(
    split: tuple[int, int], each: float, head: float, sequences: int
) -> None:
    pipeline, layers = split
    stages = of_stages(pipeline, layers)
    streams = stages.streams(sequences)
    assert streams == min(pipeline, sequences)
    step = stages.step(Timed(layers * each), Timed(head), 700, streams).seconds
    times = dealt(layers, pipeline, each, head, 700)
    more, rounds = 40, 40
    around = (
        simulated(times, [1.0] * int(streams), rounds + more)
        - simulated(times, [1.0] * int(streams), rounds)
    ) / more
    assert step == pytest.approx(around, rel=1e-6)


@given(split=layers_dealt, each=seconds, head=st.floats(0, 1e-2), count=st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_passes_follow_each_other_as_in_a_simulated_pipeline(
    split: tuple[int, int], each: float, head: float, count: int
) -> None:
    pipeline, layers = split
    found = of_stages(pipeline, layers).passes(Timed(layers * each), Timed(head), 700, count)
    times = dealt(layers, pipeline, each, head, 700)
    assert found.seconds == pytest.approx(simulated(times, [1.0] * count), rel=1e-9)


@pytest.mark.parametrize("pipeline", [1, 2, 4, 8])
def test_chunks_that_grow_leave_the_stages_waiting_for_the_last(pipeline: int) -> None:
    growing = [1.0 + n / 10 for n in range(11)]
    mean = sum(growing) / len(growing)
    found = of_stages(pipeline, with_sends=False).passes(
        Timed(80e-3 * mean), Timed(0.0), 1, len(growing), longer=80e-3 * (growing[-1] - mean)
    )
    times = dealt(80, pipeline, 1e-3, 0.0, sends=False)
    assert found.seconds == pytest.approx(simulated(times, growing))


def machine(
    pipeline: int, gpus: int, asked: llm.Request, engine: Engine | None = None
) -> llm.Machine:
    built = replace(engine or Engine(), pipeline=pipeline)
    return llm.Machine(H200, gpus, asked, MID, built)


def test_one_request_gains_nothing_from_stages() -> None:
    asked = llm.Request(LLAMA, "fp8", "fp8", 1024, 256)
    for count in (2, 4, 8):
        alone, dealt_out = machine(1, 1, asked), machine(count, count, asked)
        hops = count * MID.link_latency_s + (count - 1) * (MID.step_overhead_s + alone_wire())
        assert dealt_out.decode(1, 1024).seconds == pytest.approx(
            alone.decode(1, 1024).seconds + hops, rel=1e-9
        )


def alone_wire() -> float:
    """Seconds that the hidden vector of one token takes on the links of an H200."""
    return 2 * LLAMA.hidden / (450e9 * MID.link_efficiency)


def test_full_stages_decode_as_fast_as_their_devices_alone_would() -> None:
    """A stage reads its part of the weights while the others read theirs."""
    asked = llm.Request(LLAMA, "fp8", "fp8", 1024, 256)
    one, four = machine(1, 1, asked), machine(4, 4, asked)
    rate = 32 / one.decode(32, 1024).seconds
    together = 4 * 32 / four.decode(4 * 32, 1024).seconds
    # The head belongs to the last stage alone, for which the others wait.
    assert 0.9 * 4 * rate < together < 4 * rate


def test_the_stage_that_fills_up_first_decides_about_the_cache() -> None:
    engine = Engine(sequences=256, tokens=2048, pipeline=4)
    budget = capacity.cache_budget(H200, LLAMA, "fp16", 4, engine, MID)
    usable = H200.value("memory_capacity") * MID.reported_capacity
    table = 2.0 * LLAMA.vocabulary * LLAMA.hidden
    quarter = (2.0 * LLAMA.parameters - 2 * table) / 4
    reserve = capacity.reserve_bytes(LLAMA, engine, 1, MID, samples=False)
    first = usable - quarter - table - reserve
    sampling = MID.logit_buffers * 4 * 256 * LLAMA.vocabulary
    assert budget == pytest.approx(4 * MID.cache_fraction * (first - sampling), rel=1e-9)


@given(
    model=st.sampled_from([m for m in KNOWN.models.values() if m.layers]), count=st.integers(2, 9)
)
@settings(max_examples=80, deadline=None)
def test_all_weights_are_somewhere(model: LanguageModel, count: int) -> None:
    """Where layers divide, the stages hold every weight; a shared table stands on both ends."""
    if model.layers % count:
        model = replace(model, layers=model.layers - model.layers % count)
    first, last = (
        capacity.stage_bytes(model, "fp16", 1, stage) for stage in capacity.stages(model, count)
    )
    held = capacity.shape(model)
    layers = 2.0 * (model.parameters - held.head - held.embedding) / count
    assert first == pytest.approx(layers + 2.0 * model.vocabulary * model.hidden)
    assert last == pytest.approx(layers + 2.0 * held.head)
    once = first + last + (count - 2) * layers
    twice = 2.0 * held.head if model.tied_embeddings else 0.0
    assert once == pytest.approx(capacity.weight_bytes(model, "fp16") + twice)


def test_stages_beyond_the_links_of_a_node_send_over_the_bus() -> None:
    near, far = (Stages(H200, LLAMA, gpus, 2, MID) for gpus in (8, 16))
    vector = 2.0 * LLAMA.hidden
    assert near.wire == pytest.approx(vector / (450e9 * MID.link_efficiency))
    assert far.wire == pytest.approx(vector / (64e9 * MID.pcie_efficiency))


def test_only_layers_that_see_everything_make_the_last_chunk_longer() -> None:
    model = replace(LLAMA, sliding_window=1024, sliding_layers=LLAMA.layers)
    windowed, plain = (
        machine(4, 4, llm.Request(one, "fp16", "fp16", 65_536, 1), Engine(tokens=4096))
        for one in (model, LLAMA)
    )
    chunks = 16
    for each in (windowed, plain):
        attention = sum(each._scores(1)) * each._seconds_a_score
        layers = each.layers(4096) + Timed(attention / chunks)
        even = each.stages.passes(layers, each.head(1 / chunks), 4096, chunks).seconds
        longer = 0.75 * attention / chunks * (1 - 1 / chunks)
        grown = longer if each is plain else 0.0
        assert each.prefill(1).seconds == pytest.approx(even + grown, rel=1e-9)


def test_limits_of_an_engine_hold_for_each_micro_batch() -> None:
    asked = llm.Request(KNOWN.model("llama-3.1-8b"), "fp8", "fp8", 16, 16)
    assert machine(1, 1, asked, Engine(sequences=64)).batch("max") == (64, "engine")
    assert machine(4, 4, asked, Engine(sequences=64)).batch("max") == (256, "engine")


# Published on pages that no parameter was fitted to: a pipeline over a tensor-parallel group.
SGLANG = "https://github.com/lm-sys/lm-sys.github.io/blob/main/blog/2026-01-15-chunked-pipeline.md"


@pytest.mark.parametrize(
    ("model", "tensor", "pipeline", "chunk", "published"),
    [("deepseek-v3", 8, 4, 4096, 3.20), ("qwen3-235b-a22b", 4, 8, 6144, 8 * 0.696)],
)
def test_long_prompts_gain_from_stages_what_sglang_published(
    model: str, tensor: int, pipeline: int, chunk: int, published: float
) -> None:
    """128K tokens on H20 in chunks of one size: throughput of many stages over one, `SGLANG`."""
    asked = llm.Request(KNOWN.model(model), "fp8", "fp16", 131_072, 1)
    alone = llm.Machine(H20, tensor, asked, MID, Engine(tokens=chunk)).prefill(1)
    engine = Engine(tokens=chunk, pipeline=pipeline)
    staged = llm.Machine(H20, tensor * pipeline, asked, MID, engine).prefill(1)
    assert alone.seconds / staged.seconds == pytest.approx(published, rel=0.15)


@pytest.mark.parametrize(
    ("length", "published"),
    [(131_072, 10.54), (262_144, 32.68), (524_288, 114.33), (1_048_576, 420.91)],
)
def test_the_longest_prompts_take_what_sglang_published(length: int, published: float) -> None:
    """Qwen3 235B in FP8 on 32 H20, eight stages of four; nearly all of it is attention."""
    asked = llm.Request(KNOWN.model("qwen3-235b-a22b"), "fp8", "fp16", length, 1)
    engine = Engine(tokens=6144, pipeline=8)
    found = llm.Machine(H20, 32, asked, MID, engine).prefill(1).seconds
    assert found == pytest.approx(published, rel=0.25)


def test_two_stages_decode_slower_than_the_same_devices_side_by_side() -> None:
    """Llama 3.3 70B in BF16 under vLLM on A100 40 GB, about 220 tokens in and out, few requests.

    24.5 ms a token on eight of a node, 43.8 on four of each of two (github.com/surajssd/llm-k8s,
    results_serving_meta-llama-Llama-3.3-70B-Instruct, one request a second); their network is not
    in the model.
    """
    a100 = KNOWN.accelerator("nvidia-a100-40gb-sxm4")
    asked = llm.Request(KNOWN.model("llama-3-70b"), "bf16", "bf16", 220, 214)
    node, nodes = (
        llm.Machine(a100, 8, asked, MID, Engine(pipeline=count)).decode(5, 330).seconds
        for count in (1, 2)
    )
    assert nodes / node == pytest.approx(43.8 / 24.5, rel=0.2)


def test_a_pipeline_serves_half_as_much_again_as_nvidia_published() -> None:
    """Llama 3.1 405B in FP8 on eight H200, eight stages over one group of eight: 1.5 times.

    developer.nvidia.com/blog/boosting-llama-3-1-405b-throughput-by-another-1-5x-on-nvidia-h200-
    tensor-core-gpus-and-nvlink-switch (2024-10); lengths as in the table of the page before it.
    """
    asked = {"model": "llama-3.1-405b", "precision": "fp8", "gpus": 8, "phase": "serving"}
    asked |= {"input_tokens": 2048, "output_tokens": 128}
    rates = [
        roofline.estimate("inference_throughput", H200, {**asked, "pipeline": p}, KNOWN).mid
        for p in (1, 8)
    ]
    assert rates[1] / rates[0] == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({"gpus": 8, "pipeline": 3}, "8 devices do not split into 3 stages: use 3 devices, or a"),
        (
            {"gpus": 81, "pipeline": 81},
            "the 80 layers of Llama 2 70B do not fill 81 stages: use 80",
        ),
        ({"gpus": 9, "pipeline": 3}, "do not split over 3 devices: use 12 devices, 4 a stage"),
        ({"pipeline": 0}, "pipeline must be positive, not 0"),
    ],
)
def test_a_split_that_does_not_work_says_what_does(conditions: dict[str, int], why: str) -> None:
    asked = {"model": "llama-2-70b", "precision": "fp8", **conditions}
    with pytest.raises(CannotEstimate, match=why):
        roofline.estimate("inference_throughput", H200, asked, KNOWN)


def test_what_does_not_fit_in_stages_names_a_split_that_does() -> None:
    asked = llm.Request(KNOWN.model("llama-3.1-405b"), "fp16", "fp16", 128, 128)
    with pytest.raises(DoesNotFit, match="8 devices in 2 stages or fp8 weights would"):
        machine(2, 4, asked).most_sequences()


@pytest.mark.parametrize(
    ("name", "gpus", "stages"),
    [("llama-2-70b", 4, 1), ("llama-3.1-405b", 16, 2), ("deepseek-v3", 16, 2)],
)
def test_a_model_too_large_for_a_node_takes_a_stage_of_each(
    name: str, gpus: int, stages: int
) -> None:
    h100 = KNOWN.accelerator("nvidia-h100-sxm5")
    found = roofline.estimate("inference_throughput", h100, {"model": name}, KNOWN)
    assert (found.details["gpus"], found.details["pipeline"]) == (gpus, stages)
    assert (f"pipeline not stated: {stages} assumed" in found.assumptions) is (stages > 1)
    assert found.error.startswith("validated on") is (stages == 1)


@settings(max_examples=60, deadline=None)
@given(
    stages=st.sampled_from([2, 4, 8, 16]),
    prompt=st.sampled_from([16, 1024, 30000, 120000]),
    answer=st.sampled_from([1, 16, 128, 4096]),
    sequences=st.integers(1, 40),
)
@example(stages=16, prompt=120000, answer=128, sequences=6)
@example(stages=2, prompt=120000, answer=1, sequences=1)
def test_sequences_in_flight_are_not_much_slower_than_the_same_as_one_batch(
    stages: int, prompt: int, answer: int, sequences: int
) -> None:
    asked = llm.Request(KNOWN.model("llama-3.1-405b"), "fp8", "fp8", prompt, answer)
    served = llm.Machine(H200, stages, asked, MID, Engine(pipeline=stages))
    static = served.serve(sequences).output_rate
    assert served.serve_in_flight(sequences).output_rate > 0.85 * static


@settings(max_examples=60, deadline=None)
@given(model=st.sampled_from(sorted(KNOWN.models)), gpus=st.integers(1, 200))
@example(model="llama-2-70b", gpus=12)
@example(model="llama-2-70b", gpus=9)
@example(model="llama-2-70b", gpus=97)
def test_stages_that_nobody_states_stay_within_a_node(model: str, gpus: int) -> None:
    chosen = KNOWN.model(model)
    works = [
        n
        for n in range(1, chosen.layers + 1)
        if gpus % n == 0 and gpus // n <= 8 and chosen.heads % (gpus // n) == 0
    ]
    if gpus <= 8 or not chosen.layers:
        assert splits.default_stages(chosen, gpus) == 1
    elif works:
        assert splits.default_stages(chosen, gpus) == works[0]
    else:
        with pytest.raises(CannotEstimate, match=f"{gpus} devices make no equal stages"):
            splits.default_stages(chosen, gpus)


def test_heads_that_do_not_split_may_be_dealt_to_stages() -> None:
    asked = {"model": "llama-2-70b", "precision": "fp8", "gpus": 6, "pipeline": 1}
    with pytest.raises(CannotEstimate, match="use 8, or deal 6 to 3 stages"):
        roofline.estimate("inference_throughput", H200, asked, KNOWN)
    roofline.estimate("inference_throughput", H200, {**asked, "pipeline": 3}, KNOWN)


def test_a_tensor_group_that_leaves_its_node_waits_for_the_network() -> None:
    inside, beyond = (
        llm.Machine(H200, gpus, llm.Request(LLAMA, "fp8", "fp8", 128, 128), MID) for gpus in (8, 16)
    )
    assert inside.sync_seconds == MID.serving_sync_s
    assert beyond.sync_seconds == pytest.approx(MID.serving_sync_s + 2 * MID.network_latency_s)


@settings(max_examples=40, deadline=None)
@given(
    model=st.sampled_from(["llama-2-70b", "llama-3.1-405b", "deepseek-v3", "mixtral-8x22b"]),
    part=st.sampled_from(sorted(KNOWN.accelerators)),
    gpus=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 1, 2, 3, 7]),
)
@example(model="llama-3.1-405b", part="nvidia-l40s", gpus=1, pipeline=3)
@example(model="llama-3.1-405b", part="biren-br100", gpus=8, pipeline=1)
@example(model="deepseek-v3", part="nvidia-a100-40gb-pcie", gpus=8, pipeline=2)
def test_what_a_refusal_suggests_is_accepted(
    model: str, part: str, gpus: int, pipeline: int
) -> None:
    asked: dict[str, object] = {"model": model, "gpus": gpus * pipeline, "pipeline": pipeline}
    asked |= {"precision": "fp16", "input_tokens": 8, "output_tokens": 8, "batch": 1}
    try:
        roofline.estimate("inference_throughput", KNOWN.accelerator(part), asked, KNOWN)
        return
    except MissingFigure:
        return
    except DoesNotFit as error:
        told = str(error)
    devices = re.search(r"(\d+) devices(?: in (\d+) stages)?(?: or| would)", told)
    weights = re.search(r"(\w+) weights would", told)
    if devices:
        more = {**asked, "gpus": int(devices[1]), "pipeline": int(devices[2] or 1)}
        roofline.estimate("inference_throughput", KNOWN.accelerator(part), more, KNOWN)
    if weights:
        narrower = {**asked, "precision": weights[1]}
        roofline.estimate("inference_throughput", KNOWN.accelerator(part), narrower, KNOWN)
    assert devices or weights or "use a smaller model" in told


def test_a_pipelined_estimate_is_not_called_validated() -> None:
    asked = {"model": "llama-2-70b", "precision": "fp8", "gpus": 4}
    whole, staged = (
        roofline.estimate("inference_throughput", H200, {**asked, "pipeline": p}, KNOWN)
        for p in (1, 2)
    )
    assert whole.error.startswith("validated on")
    assert staged.error.startswith("not validated")
    assert staged.details["pipeline"] == 2


def test_a_rack_and_a_network_carry_what_a_node_does_not() -> None:
    gb200, b200, h100 = (
        KNOWN.accelerator(f"nvidia-{name}") for name in ("gb200", "b200", "h100-sxm5")
    )
    asked = {"model": "deepseek-v3", "precision": "fp8", "gpus": 16, "pipeline": 1}
    rack, node = (
        roofline.estimate("inference_throughput", part, asked, KNOWN).mid for part in (gb200, b200)
    )
    assert rack > 1.2 * node
    wide = {**asked, "gpus": 64, "batch": 1}
    alone = {**asked, "gpus": 8, "batch": 1}
    whole, eighth = (
        roofline.estimate("inference_throughput", gb200, c, KNOWN) for c in (wide, alone)
    )
    assert whole.mid > eighth.mid
    assert "network" not in whole.error
    message = {"gpus": 16, "message": 1e9}
    found = roofline.estimate("all_reduce_time", gb200, message, KNOWN)
    assert found.binding_limit == "links"
    port = ceilings.NETWORK_RATE * MID.network_efficiency
    assert ceilings.wire_rate(b200, 16, 0.8, MID) == pytest.approx(port)
    bus = ceilings.pcie_peak(h100) * MID.pcie_efficiency
    assert ceilings.wire_rate(h100, 16, 0.8, MID) == pytest.approx(min(port, bus))


def test_the_commands_take_stages() -> None:
    parts = ["--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5", "--model", "llama-2-70b"]
    lengths = ["--isl", "2048", "--osl", "512", "--precision", "fp8"]
    split = ["--tp", "2", "--pp", "2"]
    text = CliRunner().invoke(cli.main, ["estimate", *parts, *lengths, *split])
    assert text.exit_code == 0, text.output
    assert "4, in 2 stages" in text.stdout
    document = CliRunner().invoke(cli.main, ["estimate", *parts, *lengths, *split, "--json"])
    found = json.loads(document.stdout)
    assert (found["gpus"], found["pipeline"]) == (4, 2)
    swept = CliRunner().invoke(
        cli.main, ["sweep", *parts, *lengths, *split, "--batch", "max", "--json"]
    )
    (whole, *_) = json.loads(swept.stdout)["groups"]
    assert whole["median"] == pytest.approx(found["vs"]["uplift"]["mid"], rel=1e-9)


def test_stages_alone_take_as_few_devices_as_hold_the_model() -> None:
    words = ["--gpu", "nvidia-h200-sxm", "--model", "llama-2-70b", "--isl", "128", "--osl", "128"]
    result = CliRunner().invoke(cli.main, ["estimate", *words, "--pp", "3"])
    assert "3, in 3 stages" in result.stdout
    assert "- gpus not stated: 3 assumed" in result.stdout
