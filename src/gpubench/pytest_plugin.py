"""The fixture `gpu_benchmark`: our clock and guards for anybody's kernels, in pytest-benchmark.

    def test_my_kernel(gpu_benchmark):
        gpu_benchmark(my_kernel, x, y, bytes=3 * x.nbytes, check=lambda: torch.equal(y, 2 * x))

Times come from device events (the host's clock on a processor), work is queued ahead of the clock,
warm-up goes on until the times stand still, and sampling until the 95 % interval is narrow. The
caches are emptied between calls unless told otherwise. What is faster than the hardware can be
fails the test. The times join pytest-benchmark's own table, files and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gpubench.measuring import Device
    from gpubench.model import Measurement


@pytest.fixture
def gpu_benchmark(request: pytest.FixtureRequest) -> GpuBenchmark:
    """Times a call on the GPU present, else on the processor; see GpuBenchmark."""
    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.fail("gpu_benchmark needs pytest-benchmark: pip install pytest-benchmark")
    return GpuBenchmark(request.getfixturevalue("benchmark"), request.node.name)


class GpuBenchmark:
    """Times a call and hands the samples to pytest-benchmark. `measurement` is the latest one."""

    def __init__(self, benchmark: Any, name: str) -> None:
        self._benchmark, self._name = benchmark, name
        self.measurement: Measurement | None = None

    def __call__(
        self,
        function: Callable[..., Any],
        *args: Any,
        bytes: float = 0.0,
        flops: float = 0.0,
        check: Callable[[], bool] | None = None,
        flush: bool = True,
        device: str = "auto",
        plan: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Call `function` once, check, then measure it; returns what the first call returned.

        Args:
            bytes: what a call reads and writes at the least; then rates are told, and a rate above
                the memory's own fails the test.
            flops: what it computes, for the same reason.
            check: whether the first call's answer is right; a wrong one is never timed.
            flush: empty the caches before each call, as for data met for the first time.
            device: "auto", "cpu" or "cuda:N".
            plan: how long and how precisely, a `gpubench.measuring.Plan`; by default the quick one.

        Raises:
            pytest's failure: the check says no, or the rate is implausible.
            gpubench.errors.CannotMeasure: the device cannot be measured, with the reason.
        """
        from gpubench import measuring
        from gpubench.measuring import PLANS, Prepared, clock_for, current, measure, synchronize
        from gpubench.measuring.flush import FlushingClock
        from gpubench.model import Case, Work

        if self._benchmark._mode:
            pytest.fail(f"{self._name}: gpu_benchmark measures one call a test")
        self._benchmark._mode = "gpu_benchmark(...)"  # else its owner warns that nobody used it
        found = measuring.find(device) or measuring.find("cpu")
        assert found is not None

        def call() -> None:
            function(*args, **kwargs)

        with current(found):
            result = function(*args, **kwargs)
            synchronize(found)
            if check is not None and not check():
                pytest.fail(f"{self._name}: the answer is wrong, so it is not timed")
            if not self._benchmark.enabled:
                return result
            case = Case("pytest", "gpu_benchmark", {"name": self._name, "flush": flush})
            prepared = Prepared(case, 1, Work(flops=flops, bytes=bytes), call)
            clock = FlushingClock(found) if flush else clock_for(found)
            self.measurement = measure(prepared, clock, plan or PLANS["quick"], found.telemetry)
        self._judge(found, flush)
        self._hand_over()
        return result

    def _judge(self, device: Device, flush: bool) -> None:
        """Add what the guards say, and fail on what cannot be."""
        from gpubench.measuring import Ceilings, guards

        assert self.measurement
        # Data that stays in a cache may well pass the memory's rate.
        limits = Ceilings(bandwidth=device.peak_bandwidth if flush else None)
        told = guards.inspect(self.measurement, limits, card=device.card)
        self.measurement = guards.cautioned(self.measurement, told)
        for caution in self.measurement.cautions:
            if caution.code == "implausible":
                pytest.fail(f"{self._name}: {caution.fact}; {caution.remedy}")

    def _hand_over(self) -> None:
        """Give pytest-benchmark the samples, and the rest as extra information."""
        from gpubench.measuring import timing

        found = self.measurement
        assert found
        stats = self._benchmark._make_stats(found.calls_per_sample)
        for block in found.blocks:
            for seconds in block.seconds:
                stats.update(seconds * found.calls_per_sample)
        interval = timing.of(found).seconds
        told: dict[str, Any] = {
            "median_low_s": interval.low,
            "median_high_s": interval.high,
            "blocks": len(found.blocks),
            "cautions": [caution.fact for caution in found.cautions],
        }
        if found.work.bytes:
            told["bytes_per_second"] = timing.bandwidth(found).mid
        if found.work.flops:
            told["flops_per_second"] = timing.throughput(found).mid
        self._benchmark.extra_info.update(told)
