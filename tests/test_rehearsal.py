"""A whole run on a GPU, rehearsed: every benchmark's code for CUDA, on a card made of host memory.

The card's torch is the real one with its CUDA part played; its kernels are torch calls. What only
silicon shows stays untested, but no line of a benchmark runs there for the first time.
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

from gpubench import campaign, measuring
from gpubench import run as running
from gpubench.benchmarks import _streams, bandwidth, host_copy, size_sweep
from gpubench.errors import DeviceLost
from gpubench.measuring import Device, Reading, sampling
from gpubench.quantities import QUANTITIES
from gpubench.records import RunRecord
from gpubench.report import rates

REHEARSED = ("bandwidth", "host_copy", "launch", "size_sweep")
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
    wide, narrow, large = PlayedConfig("wide"), PlayedConfig("narrow"), PlayedConfig("large")

    class OutOfResources(Exception):
        pass

    def kernel(compute: Callable[..., Any]) -> Callable[..., None]:
        def launch(out: Any, *inputs: Any, programs: int, config: PlayedConfig) -> None:
            assert cuda.entered, "launched on another device than the one that is measured"
            if config is large:
                raise OutOfResources
            if out.numel() == programs:
                out.copy_(compute(*inputs).reshape(programs, -1).sum(1))
            else:
                out.copy_(compute(*inputs))

        return launch

    def search(time_one: Any, configs: Any) -> Any:
        table = [(config, time_one(config)) for config in configs]
        return min((t, c.name, c) for c, t in table if t is not None)[2], table

    return types.SimpleNamespace(
        _INTERPRETED=False,
        CONFIGS=(wide, narrow, large),
        DEFAULT=wide,
        search=search,
        triton=types.SimpleNamespace(
            runtime=types.SimpleNamespace(
                errors=types.SimpleNamespace(OutOfResources=OutOfResources)
            )
        ),
        read=kernel(lambda a: a),
        write=kernel(lambda s: torch.tensor(s)),
        copy=kernel(lambda a: a),
        mul=kernel(lambda a, s: s * a),
        add=kernel(lambda a, b: a + b),
        triad=kernel(lambda b, c, s: b + s * c),
        dot=kernel(lambda a, b: a * b),
    )


class PlayedTelemetry:
    def read(self) -> Reading:
        return Reading({"sm_clock_hz": 1.98e9, "memory_clock_hz": 3.2e9, "power_w": 500.0})

    def card(self) -> Reading:
        return Reading({})


DEVICE = Device(
    "cuda",
    "NVIDIA H200",
    INDEX,
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
    monkeypatch.setattr(Device, "torch_name", property(lambda _: "cpu"))
    monkeypatch.setattr(_streams, "_kernels", lambda: kernels)
    monkeypatch.setattr(size_sweep, "_SMALLEST_BYTES", 2**18)
    monkeypatch.setattr(host_copy, "_BYTES", 2**20)
    monkeypatch.setattr(host_copy, "_QUICK_BYTES", 2**20)
    for name, plan in sampling.PLANS.items():
        blink = replace(
            plan, limit_s=0.02, block_s=1e-3, warmup_s=2e-3, warmup_limit_s=0.02, sample_s=1e-4
        )
        monkeypatch.setitem(sampling.PLANS, name, replace(blink, heat_s=min(plan.heat_s, 0.01)))
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


@pytest.mark.parametrize("suite", ["quick", "standard"])
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
    assert all([t["seconds"] is None for t in table] == [False, False, True] for table in searched)
    assert cuda.entered == 0


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
    assert len(saved[-1].measurements) == 1


def test_arrays_of_one_size_go_before_those_of_the_next_come(cuda: PlayedCuda) -> None:
    first = _streams._arrays("cpu", 1000, 0)
    assert _streams._arrays("cpu", 1000, 0) is first
    before = cuda.emptied
    _streams._arrays("cpu", 2000, 0)
    assert (len(_streams._kept), cuda.emptied) == (1, before + 1)


@pytest.mark.usefixtures("cuda")
def test_the_memory_that_can_be_had_is_found_and_recorded() -> None:
    record = replace(RECORD, device_figures={"memory_capacity": 3.0 * 2**30})
    figures = running._with_allocatable(record, DEVICE).device_figures
    found = figures["allocatable_memory"]
    assert 0 <= 3 * 2**30 - 2**26 - found < 2**24
    assert "allocatable_memory" not in QUANTITIES  # no claim is judged by it
    shown = dict(rates.figure_table(replace(record, device_figures=figures)).rows)
    assert shown["allocatable memory"] == "3.15 GB"
    shared = replace(DEVICE, card={"other_processes": 2})
    untold = running._with_allocatable(record, shared)
    assert "allocatable_memory" not in untold.device_figures
    assert [caution.code for caution in untold.cautions] == ["not-allocated"]
    assert "2 other processes" in untold.cautions[0].remedy
    asleep = replace(record, device_figures={})  # a slice, or a processor
    assert running._with_allocatable(asleep, DEVICE) is asleep
