"""Clocks: how long calls take, on the device's own time or the host's.

A clock owns time altogether, so that a test can hand the engine one whose time is scripted. Nothing
else in gpubench reads a clock.

The device clock keeps the host out of its numbers. Before the first event it queues a kernel that
only spins, so that by the time the device reaches the work all of it is waiting in the queue and no
launch is paid for between two calls. Very short calls are captured into a CUDA graph, which queues
hundreds of them at once. Whether that worked is looked at, not assumed: a sample whose start the
device had reached before the host had queued its end is counted in `host_bound`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from gpubench.measuring.faults import first_line

Call = Callable[[], None]


class Clock(Protocol):
    """What the engine asks of a clock. Times are in seconds.

    `resolution_s` is the least difference it can see; `most_calls` the most calls it puts into one
    sample; `host_bound` the share of the samples of the latest `samples` that may hold host time.
    """

    resolution_s: float
    most_calls: int
    host_bound: float

    def now(self) -> float:
        """Seconds since some fixed moment, for limits. The moment means nothing."""
        ...

    def samples(
        self,
        call: Call,
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        """The time of one call, `count` times over, each averaged over `calls_per_sample` calls.

        `meanwhile` is called once, when half of the work is done where that can be seen, otherwise
        right after it; it is not timed.
        """
        ...

    def release(self) -> None:
        """Let go of what is kept for the latest call."""
        ...


class HostClock:
    """The host's monotonic clock, for calls that return when their work is done."""

    most_calls = 100_000
    host_bound = 0.0

    def __init__(self) -> None:
        self.resolution_s = max(time.get_clock_info("perf_counter").resolution, 1e-9)

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def samples(
        self,
        call: Call,
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        """The time of one call, `count` times over; see Clock."""
        repeats = range(calls_per_sample)
        found = []
        for _ in range(count):
            start = time.perf_counter_ns()
            for _ in repeats:
                call()
            found.append((time.perf_counter_ns() - start) / calls_per_sample * 1e-9)
        if meanwhile:
            meanwhile()
        return found

    def release(self) -> None:
        """Nothing is kept."""


def wait_for_half(events: Sequence[Any], sample_s: float) -> None:
    """Wait until half of the samples between a device's events are done, where one takes so long.

    Not less: while it spins, a card is fast and draws little.
    """
    count = len(events) - 1
    events[count // 2].synchronize()
    if count % 2:
        time.sleep(min(sample_s / 2, _LONGEST_SLEEP_S))


# A call this short, or shorter, spends much of its time on its launch: 1 ms holds twenty of 50 µs.
_GRAPH_FROM_CALLS = 20
# The driver's queue holds about a thousand launches; a fuller one makes the host wait.
_QUEUE_LAUNCHES = 512
# The spin kernel counts ticks of a clock that is the SM's on NVIDIA cards (up to 3 GHz) and may be
# a fixed one of 100 MHz on AMD's. An idle card counts slowly (345 MHz on an H200 that goes up to
# 1980), so what is seen first is multiplied.
_MOST_TICKS_HZ, _IDLE_FACTOR, _TRIAL_TICKS = 3.0e9, 6.0, 200_000
_LEAST_SPIN_S, _MOST_SPIN_S = 50e-6, 50e-3
# How much longer than the host took last time the device is kept busy.
_SPIN_MARGIN = 2.0
# Samples this many times as long as their launches outrun the host once the first is queued.
_OUTRUNS = 3.0
_ATTEMPTS = 3
_LONGEST_SLEEP_S = 1.0


class DeviceClock:
    """The device's event timer, for work that is queued (CUDA, and ROCm through the same calls).

    `cuda` is `torch.cuda`, or something that behaves like it; `index` the device's number.
    """

    resolution_s = 0.5e-6  # of cudaEventElapsedTime, by the CUDA Runtime API's manual
    most_calls = 2000  # nodes of one graph

    def __init__(self, index: int = 0, cuda: Any = None) -> None:
        if cuda is None:
            import torch  # type: ignore[import-not-found, unused-ignore]

            cuda = torch.cuda
        self._cuda, self._index = cuda, index
        self._call: Call | None = None
        self._graph: Any = None
        self._captured = 0
        self._queueing_s = 1e-5  # by one launch, as far as seen
        self._launch_s = 0.0  # of the device's work in one launch, as far as seen
        self._ticks_hz = 0.0
        self.host_bound = 0.0
        self.fallback = ""

    def now(self) -> float:
        """Seconds of the host's monotonic clock."""
        return time.monotonic()

    def samples(
        self,
        call: Call,
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        """The time of one call, `count` times over; see Clock.

        Takes that the host could not queue fast enough are repeated with a longer head start, and
        what stays host-bound after that is told in `host_bound`. When a short call cannot be
        captured into a graph, `fallback` holds the reason and it is launched call by call.
        """
        with self._cuda.device(self._index):
            self._ticks_hz = self._ticks_hz or self._spin_rate()
            launch, launches = self._launcher(call, calls_per_sample)
            per_take = max(1, min(count, _QUEUE_LAUNCHES // (launches + 1)))
            found: list[float] = []
            late = 0
            while len(found) < count:
                size = min(per_take, count - len(found))
                last = len(found) + size == count
                times, behind = self._take(launch, launches, size, meanwhile if last else None)
                found += [seconds / calls_per_sample for seconds in times]
                late += behind
            self.host_bound = late / count
            return found

    def release(self) -> None:
        """Forget the call and its graph, whose memory goes back."""
        self._call, self._graph, self._captured = None, None, 0

    def _take(
        self, launch: Call, launches: int, count: int, meanwhile: Callable[[], None] | None
    ) -> tuple[list[float], int]:
        """(seconds of each sample, how many may hold host time), the best of a few attempts."""
        outruns = self._launch_s > _OUTRUNS * self._queueing_s
        head_start = _SPIN_MARGIN * (1 if outruns else count)
        for attempt in range(_ATTEMPTS):
            first = attempt == 0
            times, behind = self._queued(launch, launches, count, head_start, meanwhile, first)
            if not behind:
                break
            head_start = 3 * max(head_start, _SPIN_MARGIN * count)
        self._launch_s = sum(times) / (launches * count)
        return times, behind

    def _queued(
        self,
        launch: Call,
        launches: int,
        count: int,
        head_start: float,
        meanwhile: Callable[[], None] | None,
        first: bool,
    ) -> tuple[list[float], int]:
        """Queue a spin and `count` samples between events, then wait for all of them.

        The spin lasts as long as the host takes to queue `head_start` samples.
        """
        events = [self._cuda.Event(enable_timing=True) for _ in range(count + 1)]
        spin_s = self._queueing_s * (launches + 1) * head_start
        spin_s = min(max(spin_s, _LEAST_SPIN_S), _MOST_SPIN_S)
        self._cuda._sleep(math.ceil(spin_s * self._ticks_hz))
        events[0].record()
        behind, start = 0, time.perf_counter()
        for before, after in pairwise(events):
            launch()
            after.record()
            behind += bool(before.query())  # the device was there before the host had done
        self._queueing_s = (time.perf_counter() - start) / ((launches + 1) * count)
        if meanwhile and first:
            wait_for_half(events, launches * self._launch_s)
            meanwhile()
        self._cuda.synchronize()
        pairs = pairwise(events)
        return [before.elapsed_time(after) * 1e-3 for before, after in pairs], behind

    def _launcher(self, call: Call, calls: int) -> tuple[Call, int]:
        """(what queues `calls` calls, how many launches that is)."""
        if calls >= _GRAPH_FROM_CALLS:
            if call is not self._call or calls != self._captured:
                self.release()
                self._call, self._captured = call, calls
                self._graph = self._capture(call, calls)
            if self._graph is not None:
                return self._graph.replay, 1

        def queue() -> None:
            for _ in range(calls):
                call()

        return queue, calls

    def _capture(self, call: Call, calls: int) -> Any:
        """A graph of `calls` calls, or None when the call does what no capture allows."""
        self._cuda.synchronize()
        graph = self._cuda.CUDAGraph()
        self.fallback = ""
        # torch leaves its capture stream current when ending a capture fails; the outer one mends.
        with self._cuda.stream(self._cuda.current_stream()):
            try:
                with self._cuda.graph(graph):
                    for _ in range(calls):
                        call()
            except RuntimeError as error:
                self.fallback = first_line(error)
                graph = None
        self._cuda.synchronize()  # raises when it was the device that failed
        if graph is not None:
            graph.replay()  # the first replay uploads the graph
            self._cuda.synchronize()
        return graph

    def _spin_rate(self) -> float:
        """Ticks a second for which a spin is never shorter than it should be."""
        before, after = (self._cuda.Event(enable_timing=True) for _ in range(2))
        self._cuda._sleep(_TRIAL_TICKS)  # the first one loads the kernel
        before.record()
        self._cuda._sleep(_TRIAL_TICKS)
        after.record()
        self._cuda.synchronize()
        seconds: float = max(before.elapsed_time(after) * 1e-3, 1e-6)
        return min(_MOST_TICKS_HZ, _IDLE_FACTOR * _TRIAL_TICKS / seconds)
