"""Directions in which serving may never move, over random parts and every model we know."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpubench import catalogue
from gpubench.errors import DoesNotFit
from gpubench.model import Accelerator, Engine, Figure, LanguageModel
from gpubench.roofline import calibration, llm
from gpubench.roofline.calibration import Parameters
from gpubench.units import Quantity

MID = calibration.load().mid
MODELS = [model for model in catalogue.load().models.values() if model.layers]
PEAKS = ("peak_fp16", "peak_fp8", "peak_fp32")
RATES = (*PEAKS, "memory_bandwidth", "interconnect_bandwidth", "board_power")
BETTER = (*RATES, "memory_capacity")
UNITS = {"memory_bandwidth": "B/s", "interconnect_bandwidth": "B/s", "board_power": "J/s"}
UNITS |= {"memory_capacity": "B", "boost_clock": "1/s", "pcie_generation": "1"}
OVERHEADS = (
    *("layer_overhead_s", "step_overhead_s", "sequence_overhead_s", "vocabulary_overhead_s"),
    *("serving_sync_s", "link_latency_s", "network_latency_s"),
)


def number(name: str, value: float) -> Figure:
    return Figure(Quantity(value, UNITS.get(name, "FLOP/s")), "s", "A")


SLOW = Accelerator(
    "slow",
    "Slow part",
    "v",
    "f",
    {
        name: number(name, value)
        for name, value in {
            "peak_fp16": 3e14,
            "peak_fp8": 6e14,
            "peak_fp32": 3e13,
            "memory_bandwidth": 3.31e11,
            "memory_capacity": 4.3e10,
            "board_power": 500.0,
            "boost_clock": 1.5e9,
            "pcie_generation": 4.0,
        }.items()
    },
)


@st.composite
def parts(draw: st.DrawFn) -> Accelerator:
    """Anything from a small card on PCI Express to more than anyone builds."""
    fp16 = draw(st.floats(5e13, 5e15))
    values = {
        "peak_fp16": fp16,
        "peak_fp8": fp16 * draw(st.sampled_from([1.0, 2.0])),
        "peak_fp32": draw(st.floats(1e13, 3e14)),
        "memory_bandwidth": draw(st.floats(3e11, 2e13)),
        "memory_capacity": draw(st.floats(2.4e10, 1e12)),
        "board_power": draw(st.floats(70, 2000)),
        "boost_clock": draw(st.floats(1e9, 3e9)),
        "pcie_generation": float(draw(st.integers(3, 5))),
    }
    figures = {name: number(name, value) for name, value in values.items()}
    if draw(st.booleans()):
        rate = draw(st.floats(1e11, 4e12))
        figures["interconnect_bandwidth"] = number("interconnect_bandwidth", rate)
        link = draw(st.sampled_from(["NVLink 3", "NVLink 5", "NVLink 4 bridge (pairs)", "mesh"]))
        figures["interconnect"] = Figure(link, "s", "A")
    if draw(st.booleans()):
        node = draw(st.sampled_from(sorted(calibration.load().energy_per_flop)))
        figures["process_node"] = Figure(node, "s", "A")
    return Accelerator("x", "Part X", "v", "f", figures)


requests = st.builds(
    llm.Request,
    st.sampled_from(MODELS),
    st.sampled_from(["fp16", "fp8", "int4"]),
    st.sampled_from(["fp16", "fp8"]),
    st.integers(0, 20_000),
    st.integers(1, 8192),
)
groups = st.sampled_from([1, 2, 4, 8])


def scaled(part: Accelerator, names: Iterable[str], factor: float) -> Accelerator:
    known = {name: part.value(name) for name in names if name in part.figures}
    figures = {name: number(name, value * factor) for name, value in known.items()}
    return replace(part, figures={**part.figures, **figures})


engines = st.sampled_from(
    [
        *llm.USUAL,
        Engine(sequences=8192, tokens=1024),
        Engine(sequences=8192, tokens=16384),
        Engine(joins_queries=False),
        Engine(pipeline=2),
        Engine(sequences=256, tokens=1024, pipeline=5),
    ]
)


def rate(
    part: Accelerator,
    gpus: int,
    asked: llm.Request,
    with_: Parameters = MID,
    engine: Engine = llm.USUAL[0],
) -> float:
    """Output tokens a second of as many sequences as fit; 0 where none do.

    `gpus` share each layer, in as many stages as the engine has.
    """
    machine = llm.Machine(part, gpus * engine.pipeline, asked, with_, engine)
    try:
        return machine.run("max").output_rate
    except DoesNotFit:
        return 0.0


@pytest.mark.parametrize("name", BETTER)
@given(part=parts(), asked=requests, gpus=groups, engine=engines, factor=st.floats(1.001, 10))
@example(
    # Prompts shorter than a chunk, answers shorter than what an iteration's tokens need.
    part=SLOW,
    asked=llm.Request(catalogue.load().model("llama-3-70b"), "int4", "fp16", 1, 1),
    gpus=2,
    engine=Engine(sequences=8192, tokens=1024),
    factor=10.0,
)
@settings(max_examples=60, deadline=None)
def test_more_of_anything_never_lowers_a_prediction(
    name: str, part: Accelerator, asked: llm.Request, gpus: int, engine: Engine, factor: float
) -> None:
    better = scaled(part, [name], factor)
    assert rate(better, gpus, asked, MID, engine) >= rate(part, gpus, asked, MID, engine) * (
        1 - 1e-9
    )


@given(part=parts(), asked=requests, gpus=groups, engine=engines, factor=st.floats(1.001, 10))
@settings(max_examples=60, deadline=None)
def test_nothing_gains_more_than_every_rate_does(
    part: Accelerator, asked: llm.Request, gpus: int, engine: Engine, factor: float
) -> None:
    same = rate(part, gpus, asked, MID, engine)
    faster = rate(scaled(part, RATES, factor), gpus, asked, MID, engine)
    assert faster <= same * factor * (1 + 1e-9)


@given(part=parts(), asked=requests, gpus=groups, engine=engines)
@settings(max_examples=200, deadline=None)
def test_twice_of_every_rate_and_half_of_every_overhead_is_exactly_twice_as_fast(
    part: Accelerator, asked: llm.Request, gpus: int, engine: Engine
) -> None:
    twice = scaled(part, RATES, 2.0)
    generation = number("pcie_generation", part.value("pcie_generation") + 1)
    twice = replace(twice, figures={**twice.figures, "pcie_generation": generation})
    halves = {name: getattr(MID, name) / 2 for name in OVERHEADS}
    # The network between nodes is no figure of a part.
    quicker = replace(MID, **halves, network_efficiency=2 * MID.network_efficiency)
    same = rate(part, gpus, asked, MID, engine)
    assert rate(twice, gpus, asked, quicker, engine) == pytest.approx(2 * same, rel=1e-9)


@given(part=parts(), asked=requests, gpus=groups, engine=engines, more=st.integers(1, 5000))
@settings(max_examples=200, deadline=None)
def test_longer_requests_hold_no_more_sequences_and_longer_prompts_take_longer(
    part: Accelerator, asked: llm.Request, gpus: int, engine: Engine, more: int
) -> None:
    longer = replace(asked, input_tokens=asked.input_tokens + more)
    same = rate(part, gpus, asked, MID, engine)
    assert rate(part, gpus, longer, MID, engine) <= same * (1 + 1e-9)


@given(part=parts(), asked=requests, batch=st.integers(1, 4096), gpus=groups)
@settings(max_examples=200, deadline=None)
def test_no_step_is_faster_than_its_bytes_and_its_flop(
    part: Accelerator, asked: llm.Request, batch: int, gpus: int
) -> None:
    machine = llm.Machine(part, gpus, asked, MID)
    shape, peak = (
        machine.shape,
        part.value("peak_fp8" if asked.precision == "fp8" else "peak_fp16") * gpus,
    )
    step = machine.decode(batch, asked.input_tokens).seconds
    assert step >= shape.body * machine.weight_size / (part.value("memory_bandwidth") * gpus)
    assert step >= 2 * batch * shape.body / peak


@given(model=st.sampled_from(MODELS), part=parts())
@settings(max_examples=60, deadline=None)
def test_parts_of_an_iteration_add_up_to_it(model: LanguageModel, part: Accelerator) -> None:
    machine = llm.Machine(part, 2, llm.Request(model, "fp8", "fp8", 512, 512), MID)
    steps: tuple[Callable[[], llm.Timed], ...] = (
        lambda: machine.decode(7, 600),
        lambda: machine.prefill(3),
    )
    for timed in (step() for step in steps):
        named = timed.compute + timed.memory + timed.wire + timed.overhead
        # Element-wise work is charged to compute, as the vector units are part of it.
        assert named == pytest.approx(timed.seconds, rel=1e-9)
        assert timed.binding in ("compute", "memory bandwidth", "links", "overhead")


def test_random_parts_reach_both_kinds_of_limit() -> None:
    """The properties would say little if every part were bound by the same thing."""
    small = llm.Request(MODELS[0], "fp16", "fp16", 128, 128)
    h100 = catalogue.load().accelerator("nvidia-h100-sxm5")
    slow = scaled(h100, ["memory_bandwidth"], 0.1)
    found = {llm.Machine(part, 1, small, MID).decode(1, 128).binding for part in (h100, slow)}
    found |= {llm.Machine(scaled(h100, PEAKS, 0.01), 1, small, MID).prefill(8).binding}
    assert {"memory bandwidth", "compute"} <= found
