"""A whole run on a GPU, rehearsed: every benchmark's code for CUDA, on a card made of host memory.

The card's torch is the real one with its CUDA part played; its kernels are torch calls, and its
tensors know that they lie on it. What only silicon shows stays untested, but no line of a benchmark
runs there for the first time.
"""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from gpubench import benchmarks, catalogue, measuring
from gpubench.benchmarks import (
    _kernels,
    _streams,
    bandwidth,
    gemm,
    host_copy,
    intensity,
    size_sweep,
    sparse_gemm,
)
from gpubench.errors import DeviceLost
from gpubench.measuring import Device, Reading, Trials, sampling
from gpubench.model import Measurement
from gpubench.quantities import QUANTITIES
from gpubench.records import RunRecord
from gpubench.report import experiments, rates
from gpubench.running import beginning, campaign
from tests.placed import placing

REHEARSED = ("bandwidth", "gemm", "host_copy", "intensity", "launch", "size_sweep", "sparse_gemm")
INDEX = 1
UNITS = 2
EMPTY = torch.empty


class PlayedCuda:
    """torch.cuda, where host memory is the card's, and all work is done when it is queued."""

    OutOfMemoryError = torch.cuda.OutOfMemoryError

    def __init__(self, memory: int) -> None:
        self.memory, self.entered, self.emptied = memory, 0, 0
        self.lost = False

    @contextlib.contextmanager
    def device(self, index: int) -> Iterator[None]:
        assert index == INDEX
        self.entered += 1
        yield
        self.entered -= 1

    def is_available(self) -> bool:
        return True

    def synchronize(self, index: int = INDEX) -> None:
        assert index == INDEX
        if self.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def empty_cache(self) -> None:
        self.emptied += 1
        self.synchronize()

    def mem_get_info(self, index: int) -> tuple[int, int]:
        assert index == INDEX
        return self.memory, self.memory

    def _sleep(self, ticks: int) -> None:
        assert isinstance(ticks, int)

    def Event(self, enable_timing: bool) -> PlayedEvent:  # noqa: N802, torch's name
        assert enable_timing
        return PlayedEvent()

    def CUDAGraph(self) -> object:  # noqa: N802, torch's name
        return object()

    def current_stream(self) -> str:
        return "default"

    @contextlib.contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        assert stream == "default"
        yield

    def graph(self, _graph: object) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")


class PlayedEvent:
    def record(self) -> None:
        self.at = time.perf_counter()

    def query(self) -> bool:
        return False

    def synchronize(self) -> None:
        """All work is done when it is queued."""

    def elapsed_time(self, later: PlayedEvent) -> float:
        return 1e3 * (later.at - self.at)


@dataclass(frozen=True)
class PlayedConfig:
    name: str

    def programs(self, units: int) -> int:
        assert units == UNITS
        return 4 * units


def played_kernels(cuda: PlayedCuda) -> types.SimpleNamespace:
    """The module of kernels, as torch calls that check how they are called."""
    broken, wide, narrow, large = map(PlayedConfig, ("broken", "wide", "narrow", "large"))

    class OutOfResources(Exception):
        __module__ = "triton.runtime.errors"

    def kernel(compute: Callable[..., Any]) -> Callable[..., None]:
        def launch(out: Any, *inputs: Any, programs: int, config: PlayedConfig) -> None:
            assert cuda.entered, "launched on another device than the one that is measured"
            if config is large:
                raise OutOfResources
            if config is broken:
                raise RuntimeError("PassManager::run failed")
            if out.numel() == programs:
                out.copy_(compute(*inputs).reshape(programs, -1).sum(1))
            else:
                out.copy_(compute(*inputs))

        return launch

    return types.SimpleNamespace(
        CONFIGS=(broken, wide, narrow, large),
        DEFAULT=wide,
        read=kernel(lambda a: a),
        write=kernel(lambda s: torch.tensor(s)),
        copy=kernel(lambda a: a),
        mul=kernel(lambda a, s: s * a),
        add=kernel(lambda a, b: a + b),
        triad=kernel(lambda b, c, s: b + s * c),
        dot=kernel(lambda a, b: a * b),
    )


def played_products(cuda: PlayedCuda) -> types.SimpleNamespace:
    """The module of matrix products, as torch calls; one configuration does not compile."""
    slow, fast, broken = PlayedConfig("slow"), PlayedConfig("fast"), PlayedConfig("broken")

    def multiply(
        c: Any, a: Any, b: Any, *, programs: int, config: PlayedConfig, tf32: bool
    ) -> None:
        assert cuda.entered, "launched on another device than the one that is measured"
        assert programs == UNITS
        assert not tf32 or a.dtype is torch.float32
        if config is broken:
            raise RuntimeError("PassManager::run failed")
        c.copy_((a.double() @ b.double()).to(c.dtype))

    def configs(capability: str, out: str) -> tuple[PlayedConfig, ...]:
        assert capability == "9.0"
        assert hasattr(torch, out)
        return slow, fast, broken

    return types.SimpleNamespace(multiply=multiply, configs=configs)


def played_steps(cuda: PlayedCuda) -> types.SimpleNamespace:
    """The module of the fused kernel, as torch calls."""

    def apply(sums: Any, a: Any, s: float, t: float, *, steps: int, programs: int) -> None:
        assert cuda.entered
        v = a.clone()
        for _ in range(steps):
            v.mul_(s).add_(t)
        sums.copy_(v.reshape(programs, -1).sum(1))

    return types.SimpleNamespace(apply=apply, DEFAULT=PlayedConfig("default"))


def play_cusparselt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of torch's that lead to cuSPARSELt, carried out densely."""

    def compress(a: Any) -> Any:
        assert int((a.reshape(-1, 4).float() != 0).sum(1).max()) <= 2, "not pruned 2:4"
        return a

    def product(kept: Any, b: Any, out_dtype: Any = None, alg_id: int = 0) -> Any:
        assert alg_id == 7
        assert (out_dtype is None) == (kept.element_size() > 1)  # as torch asks for
        return (kept.double() @ b.double()).to(out_dtype or kept.dtype)

    played = types.SimpleNamespace(is_available=lambda: True, version=lambda: 702)
    monkeypatch.setattr(torch.backends, "cusparselt", played)
    monkeypatch.setattr(torch, "_cslt_compress", compress)
    monkeypatch.setattr(torch, "_cslt_sparse_mm_search", lambda *_, **__: 7)
    monkeypatch.setattr(torch, "_cslt_sparse_mm", product)


class PlayedTelemetry:
    def read(self) -> Reading:
        return Reading({"sm_clock_hz": 1.98e9, "memory_clock_hz": 3.2e9, "power_w": 500.0})

    def card(self) -> Reading:
        return Reading({})


DEVICE = Device(
    "cuda",
    "NVIDIA H200",
    INDEX,
    capability="9.0",
    accelerator="nvidia-h200-sxm",
    memory_total=2**24,
    memory_free=2**24,
    cache_bytes=2**17,
    units=UNITS,
    memory_bus_bits=6144,
    max_memory_clock_hz=3.201e9,
    card={"max_pcie_generation": 5, "max_pcie_width": 16, "pcie_generation": 1, "pcie_width": 1},
    telemetry=PlayedTelemetry(),
)
RECORD = RunRecord("0123abcd", "2026-01-31T09:30:00Z", "nvidia-h200-sxm", {}, complete=False)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedCuda]:
    """Puts the played card in place, and plans of a blink."""
    played = PlayedCuda(memory=3 * 2**30)
    kernels = played_kernels(played)
    monkeypatch.setattr(torch, "cuda", played)
    monkeypatch.setattr(torch, "empty", _empty(played))
    ours = {"stream": kernels, "gemm": played_products(played), "intensity": played_steps(played)}
    monkeypatch.setattr(_kernels, "load", ours.__getitem__)
    play_cusparselt(monkeypatch)
    for module in (sparse_gemm, intensity):
        monkeypatch.setattr(module, "_SIZE", 64)
    small = {"quick": (64,), "standard": (32, 64, 96), "full": (32, 64, 96)}
    monkeypatch.setattr(gemm, "_LADDER", small)
    monkeypatch.setattr(gemm, "_REFERENCE_SIZE", 64)
    monkeypatch.setattr(gemm, "_TILE", (16, 32))
    monkeypatch.setattr(gemm, "_DEPTH", 64)
    monkeypatch.setattr(size_sweep, "_SMALLEST_BYTES", 2**18)
    monkeypatch.setattr(host_copy, "_BYTES", 2**20)
    monkeypatch.setattr(host_copy, "_QUICK_BYTES", 2**20)
    for name, plan in sampling.PLANS.items():
        blink = replace(
            plan, limit_s=0.02, block_s=1e-3, warmup_s=2e-3, warmup_limit_s=0.02, sample_s=1e-4
        )
        monkeypatch.setitem(sampling.PLANS, name, replace(blink, heat_s=min(plan.heat_s, 0.01)))
    with placing(DEVICE.torch_name):
        yield played
    played.lost = False
    _streams.release()


def _empty(cuda: PlayedCuda) -> Callable[..., Any]:
    def empty(*size: Any, **more: Any) -> Any:
        more.pop("pin_memory", None)
        if size[0] and isinstance(size[0], int) and size[0] > cuda.memory - 2**26:
            raise cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        if more.get("dtype") is torch.uint8:
            return None  # memory that nobody writes to
        return EMPTY(*size, **more)

    return empty


@pytest.mark.usefixtures("cuda")
def test_what_is_left_on_the_host_would_be_seen() -> None:
    there, here = torch.ones(4, device="cuda:1"), torch.ones(4)
    assert (there.device, (there + there).device) == (torch.device("cuda:1"),) * 2
    assert (there + there).cpu().tolist() == [2.0] * 4
    with pytest.raises(RuntimeError, match="on the same device"):
        there + here
    for generator, tensor in ((torch.Generator(), there), (torch.Generator("cuda:1"), here)):
        with pytest.raises(RuntimeError, match="generator"):
            tensor.normal_(generator=generator)


@pytest.mark.parametrize("suite", ["quick", "standard", "full"])
def test_a_whole_suite_runs_on_a_second_gpu(cuda: PlayedCuda, suite: str) -> None:
    saved: list[RunRecord] = []
    record = replace(RECORD, suite=suite)
    done = campaign.measure_all(record, DEVICE, saved.append, only=REHEARSED)
    assert done.complete
    assert done.failures == {}
    assert len(done.measurements) == sum(
        len(step.planned.phases) for step in campaign.steps(DEVICE, suite, REHEARSED)
    )
    assert {m.case.benchmark for m in done.measurements} >= {"bandwidth", "host_copy", "launch"}
    assert all(m.verification for m in done.measurements)
    searched = [m.choices["search"] for m in done.measurements if "search" in m.choices]
    for table in searched:
        every = {t["name"]: t for t in table}
        ran = {name for name, t in every.items() if t["seconds"]}
        assert ran in ({"wide", "narrow"}, {"slow", "fast"})
        assert {name for name, t in every.items() if "failed" in t} >= {"broken"}
        assert all(bool(t["seconds"]) != ("failed" in t) for t in table)
        assert "does not compile for this device" in every["broken"]["failed"]
    assert cuda.entered == 0
    quantities = {benchmarks.figure(m.case) for m in done.measurements}
    assert {"memory_bandwidth", "peak_fp16", "peak_bf16"} <= quantities
    if suite == "full":
        assert {f"peak_{p}" for p in ("fp8", "int8", "tf32", "fp32", "fp64_tensor")} <= quantities
        assert {f"peak_{p}_sparse" for p in ("fp16", "bf16", "fp8", "int8")} <= quantities
    for m in done.measurements:
        twins = [o for o in done.measurements if (o.case, o.phase) != (m.case, m.phase)]
        twins = [o for o in twins if o.case.parameters == m.case.parameters]
        same = [o.case.method for o in twins if (o.case.benchmark, o.phase) == _what(m)]
        assert list(m.in_turn_with) == same


def _what(found: Measurement) -> tuple[str, str]:
    return found.case.benchmark, found.phase


def test_what_hung_the_device_before_is_tried_no_more(cuda: PlayedCuda) -> None:
    assert cuda
    bad = ("gemm PlayedConfig(name='fast')", "read PlayedConfig(name='wide')")
    record = replace(RECORD, suite="quick", suspects=bad)
    done = campaign.measure_all(
        record, replace(DEVICE, trials=Trials()), lambda _: None, only=("gemm", "bandwidth")
    )
    assert done.failures == {}
    found = {
        (m.case.benchmark, m.case.parameters.get("pattern")): m.choices["search"]
        for m in done.measurements
        if "search" in m.choices
    }
    slow, fast, broken = found["gemm", None]
    assert slow["seconds"] > 0
    assert (fast["seconds"], "hung or crashed" in fast["failed"]) == (None, True)
    assert "PassManager" in broken["failed"]
    ran = {
        pattern: [tried["name"] for tried in found["bandwidth", pattern] if tried["seconds"]]
        for pattern in ("read", "copy")
    }
    assert ran == {"read": ["narrow"], "copy": ["wide", "narrow"]}


def test_the_report_tells_what_was_found(cuda: PlayedCuda) -> None:
    assert cuda
    done = campaign.measure_all(
        replace(RECORD, suite="full"), DEVICE, lambda _: None, only=("gemm", "intensity")
    )
    known = catalogue.load()
    turns = experiments.in_turn_table(done)
    assert len(turns.rows) == sum(m.case.method == "triton" for m in done.measurements) - 9
    assert all(row[2].endswith(" %") for row in turns.rows)
    data = experiments.data_table(done, known)
    assert {row[1] for row in data.rows} == {"normal", "zeros", "ones", "signs"}
    assert {row[4] for row in data.rows if row[1] == "normal"} == {"100.0 %"}
    assert all(row[5:7] == ["1980 MHz", "500 W"] for row in data.rows)
    heat = experiments.heat_table(done)
    assert {row[2] for row in heat.rows} == {"burst", "sustained"}
    assert {row[0] for row in heat.rows} > {"gemm fp8 64 × 64 × 64", "gemm fp16 64 × 64 × 64"}
    assert {row[3] for row in heat.rows} == {"1980 to 1980, least 1980"}
    assert {row[4] for row in heat.rows} == {"500 to 500, least 500"}
    assert [row[:2] for row in experiments.roof_table(done, known).rows][1::2] == [
        ["fused", "data sheet"],
        ["product", "data sheet"],
    ]
    assert experiments.roof_table(done, known).rows[3][4] == "206 FLOP/B"
    assert len(experiments.point_table(done).rows) == 18
    absent = {row[0] for row in experiments.transfer_table(done, known).rows}
    assert "NVIDIA H20 96GB" in absent
    assert not any("H200 SXM" in name or "A100" in name for name in absent)


def test_the_link_is_held_against_what_it_can_do_and_not_what_it_does_asleep() -> None:
    copies = [step.planned.case for step in campaign.steps(DEVICE, "quick", ["host_copy"])]
    limits = measuring.Ceilings(wire=32e9 / 8 * 128 / 130 * 16)
    assert [host_copy.ceilings(case, DEVICE) for case in copies] == [limits, limits]


def test_a_card_that_is_lost_is_told_though_its_memory_cannot_be_given_back(
    cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = bandwidth.prepare

    def prepare(*arguments: Any) -> Any:
        found = prepared(*arguments)
        cuda.lost = len(saved) > 0
        return found

    saved: list[RunRecord] = []
    monkeypatch.setattr(bandwidth, "prepare", prepare)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        campaign.measure_all(
            replace(RECORD, suite="quick"), DEVICE, saved.append, only=["bandwidth"]
        )
    assert len(saved[-1].measurements) == 2  # two methods in turn


def test_arrays_of_one_size_go_before_those_of_the_next_come(cuda: PlayedCuda) -> None:
    first = _streams.kept_arrays("cpu", 1000, 0)
    assert _streams.kept_arrays("cpu", 1000, 0) is first
    before = cuda.emptied
    _streams.kept_arrays("cpu", 2000, 0)
    assert (len(_streams._kept), cuda.emptied) == (1, before + 1)


@pytest.mark.usefixtures("cuda")
def test_the_memory_that_can_be_had_is_found_and_recorded() -> None:
    record = replace(RECORD, device_figures={"memory_capacity": 3.0 * 2**30})
    figures = beginning.with_allocatable(record, DEVICE).device_figures
    found = figures["allocatable_memory"]
    assert 0 <= 3 * 2**30 - 2**26 - found < 2**24
    assert "allocatable_memory" not in QUANTITIES  # no claim is judged by it
    shown = dict(rates.figure_table(replace(record, device_figures=figures)).rows)
    assert shown["allocatable memory"] == "3.15 GB"
    shared = replace(DEVICE, card={"other_processes": 2})
    untold = beginning.with_allocatable(record, shared)
    assert "allocatable_memory" not in untold.device_figures
    assert [caution.code for caution in untold.cautions] == ["not-allocated"]
    assert "2 other processes" in untold.cautions[0].remedy
    asleep = replace(record, device_figures={})  # a slice, or a processor
    assert beginning.with_allocatable(asleep, DEVICE) is asleep
