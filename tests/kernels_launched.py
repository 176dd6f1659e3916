"""Launches the kernels as the benchmarks do, on a card that holds nothing, and prints what came.

    python tests/kernels_launched.py CARD PART…

CARD is one of `empty_card.UNITS`, a PART one of `PARTS`. One JSON object, from the name of a story
to a `Told`, or to what else that story tells.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

import empty_card
import tune_gemm
from empty_card import UNITS, Card
from gpubench.benchmarks import (
    _decoder_kernels,
    _fastest,
    _inference_run,
    _streams,
    bandwidth,
    gemm,
    hpc,
    inference,
    intensity,
    size_sweep,
)
from gpubench.kernels import gemm as products
from gpubench.kernels import stream, transformer
from gpubench.measuring import Device, Prepared, faults
from gpubench.model import Case

GIB = 2**30
MEMORY = {"h200": 141e9, "a100": 80e9, "b200": 180e9, "l40s": 48e9}
LAYERS = 2


@dataclass
class Told:
    """What a story of one case tells."""

    call: list[dict[str, Any]]  # launches of one call, once all was prepared
    tried: list[dict[str, Any]]  # launches before that, of all configurations of a search
    failed: list[str]  # why configurations did not run
    late: list[str]  # kernels compiled or loaded where time is taken
    anew: list[str]  # kernels compiled for other data, once it was prepared


compiled: list[str] = []
late: list[str] = []


class Clock:
    """Calls as a clock that times does, and finds fastest what launches the most of ours."""

    card: Card
    launched: list[dict[str, Any]]

    def __init__(self, _index: int) -> None:
        pass

    def samples(self, call: Callable[[], None], _calls: int, count: int) -> list[float]:
        Clock.launched += self.card.events()
        found = timed(self.card, call)
        Clock.launched += found
        return [1.0 / (1 + len(found))] * count

    def release(self) -> None:
        pass


def timed(card: Card, call: Callable[[], None]) -> list[dict[str, Any]]:
    """What a call launches that is timed; what is compiled or loaded there comes too late."""
    before = len(compiled)
    call()
    events = card.events()
    late.extend([*compiled[before:], *(event["loaded"] for event in events if "loaded" in event)])
    return launches(events)


def unchecked() -> None:
    """Nothing is computed, so no answer is looked at; the calls that give it are made."""

    def called(call: Callable[[], None], *_: Any) -> str:
        call()
        return ""

    gemm.check = gemm.check_whole = called
    _streams._check = lambda _pattern, call, *_: called(call)
    for module in (intensity, hpc):
        module.verify = lambda *_: ""
    for module in (_fastest, _inference_run):
        module.DeviceClock = Clock


def launches(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if "launched" in event]


def story(card: Card, *prepare: Callable[[], Prepared]) -> dict[str, Any]:
    """What the first of some preparations launches; the others are of the same with other data."""
    Clock.launched, late[:] = [], []
    card.events()
    prepared = prepare[0]()
    tried = launches(Clock.launched + card.events())
    call = timed(card, prepared.call)
    before = len(compiled)
    for again in prepare[1:]:
        again().call()
    return asdict(Told(call, tried, list(failures(prepared.choices)), late[:], compiled[before:]))


def failures(choices: Any) -> Iterator[str]:
    """Every reason why something that was tried did not run."""
    if isinstance(choices, dict):
        yield from [choices["failed"]] if "failed" in choices else []
        choices = list(choices.values())
    if isinstance(choices, list):
        for one in choices:
            yield from failures(one)


def device_of(card: Card) -> Device:
    major, minor = empty_card.CAPABILITIES[card.name]
    memory = int(MEMORY[card.name])
    return Device(
        "cuda",
        card.name,
        index=card.current,
        capability=f"{major}.{minor}",
        units=UNITS[card.name],
        memory_total=memory,
        memory_free=memory,
        cache_bytes=50 * 2**20,
    )


# --------------------------------------------------------------------------- stories


def streams(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """Each pattern on 4 GiB; then other sizes with the default configuration."""
    for pattern in _streams.PATTERNS:
        case = Case("bandwidth", "triton", {"pattern": pattern, "n": GIB})
        yield f"stream {pattern}", story(card, *_seeds(bandwidth.prepare, case, device))
    cases = [
        Case("size_sweep", "triton", {"pattern": "triad", "n": n})
        for n in (2**14, 12_345, 2**32 + 3)
    ]
    yield "sizes", story(card, *(_prepared(size_sweep.prepare, case, device) for case in cases))
    steps = [
        Case("intensity", "triton", {"sweep": "fused", "steps": steps, "n": GIB})
        for steps in (16, 256)
    ]
    yield "steps", story(card, *(_prepared(intensity.prepare, case, device) for case in steps))
    _streams.release()


def simulations(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """What `hpc` launches of ours, on the sizes that it plans."""
    cases = {p.case.parameters["pattern"]: p.case for p in hpc.plan(device, "standard")}
    n, side = cases["triad"].parameters["n"], cases["stencil"].parameters["side"]
    yield "hpc triad", story(card, lambda: _bare(hpc._triad(cases["triad"], device, 0)[0]))

    def stencil() -> Prepared:
        u, v = (torch.empty(side, side, side, dtype=torch.float64, device="cuda") for _ in "uv")
        return _bare(*hpc._tuned_stencil(v, u, device))

    yield "stencil", story(card, stencil, stencil)
    yield "hpc sizes", {"n": n, "side": side}


def dense(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """Products at every shape that ours are measured at; on the H200 in every precision."""
    planned = [p.case for p in gemm.plan(device, "full") if p.case.method == "triton"]
    for name in ("fp16", "fp8", "int8", "tf32") if card.name == "h200" else ("fp16",):
        cases = [case for case in planned if case.parameters["precision"] == name]
        if cases:
            found = story(card, *(_prepared(gemm.prepare, case, device) for case in cases))
            yield name, {**found, "shape": [cases[0].parameters[size] for size in "mnk"]}


def models(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """Two layers of a model, one step of decoding: a large one where its precision is known."""
    wanted = ("llama-2-70b", "fp8", 8) if card.name == "h200" else ("llama-3.1-8b", "fp16", 1)
    case = next(
        planned.case
        for planned in inference.plan(device, "full")
        if (planned.case.method, planned.case.parameters["phase"]) == ("triton", "decode")
        and tuple(planned.case.parameters[key] for key in ("model", "precision", "batch")) == wanted
    )
    case = replace(case, parameters={**case.parameters, "layers": LAYERS})
    yield "model", story(card, *_seeds(_a_pass, case, device))


def _a_pass(case: Case, device: Device, seed: int) -> Prepared:
    """A pass as `inference` prepares it, not captured."""
    p = case.parameters
    weights = inference._kept.weights(p, device, seed)
    state = inference._kept.state(p, device, seed, weights, p["batch"])
    ops, choices = _inference_run.operators(case, device, weights, state)
    run = _inference_run.pass_of(case, ops, weights, state)
    run()
    assert isinstance(ops, _decoder_kernels.Kernels)
    return _bare(run, {**choices, "fallbacks": [{"failed": why} for why in ops.failed.values()]})


def places(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """Two GPUs, of which one is current."""
    with torch.cuda.device(1):
        second = device_of(card)
        matrices = [torch.empty(512, 512, dtype=torch.float16, device="cuda:1") for _ in "abc"]
        card.events()
        products.multiply(*matrices, programs=second.units)
        _triad(second)()
        yield "second GPU", launches(card.events())
        yield "first GPU", _said(_triad(device))


def refusals(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """What is too much for the card, and what is said of it."""
    c, a, b = (torch.empty(512, 512, dtype=torch.float16, device="cuda") for _ in "cab")

    def bound(config: products.Config) -> Callable[[], None]:
        return lambda: products.multiply(c, a, b, programs=device.units, config=config)

    deep = replace(products.DEFAULT, stages=6)
    best, choices = _fastest.fastest("gemm", device, bound, (deep, products.DEFAULT))
    yield "deep", {"best": best == products.DEFAULT, "failed": list(failures(choices))}
    yield "deep again", _said(bound(deep))
    # A grid that CUDA does not have, and one of which Triton's launcher counts no programs at all.
    for name, grid in (("tall", (1, 2**16)), ("vast", (2**16, 2**16))):
        card.events()
        said = _said(lambda grid=grid: _rows(grid))
        yield name, {"said": said, "launches": launches(card.events())}


def tuned(card: Card, device: Device) -> Iterator[tuple[str, Any]]:
    """What the tuning script compiles beforehand, and what is compiled when it times."""
    tune_gemm.find = lambda _: device
    options = type("Options", (), {"precisions": ["fp16"]})
    kernels = products._persistent, products._one_tile
    before = len(compiled)
    card.events()
    tune_gemm.compile_all(options, [0])
    products._persistent, products._one_tile = kernels
    beforehand, launched = compiled[before:], launches(card.events())
    gemm_case = tune_gemm._case("fp16", 8192)
    x = gemm.Matrices(gemm_case, device, 0)
    tune_gemm._multiply(x, tune_gemm.trials(device.capability, ["fp16"])[0], device)()
    yield (
        "tuned",
        {
            "beforehand": beforehand,
            "launched beforehand": launched,
            "then": compiled[before + len(beforehand) :],
            "launched": len(launches(card.events())),
        },
    )


PARTS = {
    part.__name__: part for part in (streams, simulations, dense, models, places, refusals, tuned)
}


def _prepared(prepare: Any, case: Case, device: Device, seed: int = 0) -> Callable[[], Prepared]:
    return lambda: prepare(case, device, seed)


def _seeds(prepare: Any, case: Case, device: Device) -> Iterator[Callable[[], Prepared]]:
    """The same twice, with other data."""
    return (_prepared(prepare, case, device, seed) for seed in (0, 1))


def _bare(call: Callable[[], Any], choices: Any = None) -> Prepared:
    return Prepared(Case("", "", {}), 1, hpc.Work(), call, "", choices=choices or {})


def _triad(device: Device) -> Callable[[], None]:
    a, b, c = (torch.empty(GIB, device=device.torch_name) for _ in "abc")
    return lambda: stream.triad(a, b, c, 0.4, programs=stream.DEFAULT.programs(device.units))


def _rows(grid: tuple[int, int]) -> None:
    x, out = (torch.empty(64, 64, dtype=torch.float16, device="cuda") for _ in "xo")
    flags = {"GATED": False, "QUANTISE": False, "BLOCK": 64, "num_warps": 4}
    transformer._rows[grid](out, x, x, 64, **flags, enable_fp_fusion=True)


def _said(call: Callable[[], None]) -> str:
    """What refuses a call, in words for people where these are known; "" where it is launched."""
    try:
        call()
    except Exception as error:
        return str(faults.as_sentence(error, "trying it") or f"{type(error).__name__}: {error}")
    return ""


def main(name: str, *parts: str) -> None:
    with empty_card.inserted(name) as card:
        from triton import knobs

        knobs.runtime.jit_post_compile_hook = lambda fn, **_: compiled.append(fn.name)
        Clock.card, Clock.launched = card, []
        unchecked()
        device = device_of(card)
        told = dict(one for part in parts for one in PARTS[part](card, device))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
