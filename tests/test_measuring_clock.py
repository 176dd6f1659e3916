"""The host's clock for real; the device's on a simulated card with a queue and a slow host."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import pytest
import torch

from gpubench.measuring import clock as clock_module
from gpubench.measuring.clock import DeviceClock, HostClock
from gpubench.measuring.group import EventClock, Group, GroupClock, Place


class SimulatedCuda:
    """What torch.cuda does, in simulated time: the host queues, the card works in order.

    Each launch costs the host `host_s`. Kernels take `kernel_s` on the card, which starts one when
    it has been queued and the one before has ended.
    """

    def __init__(self, host_s: float, kernel_s: float, ticks_hz: float = 1.98e9) -> None:
        self.host_s, self.kernel_s, self.ticks_hz = host_s, kernel_s, ticks_hz
        self.host = self.card = 0.0
        self.capturing: list[float] | None = None
        self.captures_allowed = True
        self.dead = False
        self.streams = ["the default one"]
        self.launches = 0

    def queue(self, seconds: float) -> None:
        if self.capturing is not None:
            if not self.captures_allowed:
                raise RuntimeError(
                    "operation not permitted when stream is capturing\nsee the manual"
                )
            self.capturing.append(seconds)
            return
        self.launches += 1
        self.host += self.host_s
        self.card = max(self.card, self.host) + seconds

    def kernel(self) -> None:
        self.queue(self.kernel_s)

    # ---- the part of torch.cuda that the clock uses

    def _sleep(self, ticks: int) -> None:
        self.queue(ticks / self.ticks_hz)

    def synchronize(self) -> None:
        if self.dead:
            raise RuntimeError("CUDA error: unspecified launch failure")
        self.host = max(self.host, self.card)

    @contextlib.contextmanager
    def device(self, index: int) -> Iterator[None]:
        assert index == 1
        yield

    def current_stream(self) -> str:
        return self.streams[-1]

    @contextlib.contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        before = list(self.streams)
        self.streams.append(stream)
        yield
        self.streams = before

    @contextlib.contextmanager
    def graph(self, graph: SimulatedGraph) -> Iterator[None]:
        """Like torch's, leaves the capture stream behind when capturing fails."""
        self.streams.append("capture")
        self.capturing = []
        try:
            yield
            self.streams.pop()
            graph.seconds = sum(self.capturing)
        finally:
            self.capturing = None

    def CUDAGraph(self) -> SimulatedGraph:  # noqa: N802, torch's name
        return SimulatedGraph(self)

    def Event(self, enable_timing: bool) -> SimulatedEvent:  # noqa: N802, torch's name
        assert enable_timing
        return SimulatedEvent(self)


class SimulatedGraph:
    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda, self.seconds = cuda, 0.0

    def replay(self) -> None:
        self.cuda.queue(self.seconds)


class SimulatedEvent:
    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda, self.at = cuda, 0.0

    def record(self) -> None:
        self.cuda.queue(0.0)
        self.at = self.cuda.card

    def query(self) -> bool:
        return self.at <= self.cuda.host

    def synchronize(self) -> None:
        self.cuda.host = max(self.cuda.host, self.at)

    def elapsed_time(self, later: SimulatedEvent) -> float:
        return 1e3 * (later.at - self.at)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> type[SimulatedCuda]:
    """A card whose host's clock is simulated as well."""
    made: list[SimulatedCuda] = []

    class Simulated(SimulatedCuda):
        def __init__(self, *args: float, **more: float) -> None:
            super().__init__(*args, **more)
            made.append(self)

    class FakeTime:
        perf_counter = staticmethod(lambda: made[-1].host)
        monotonic = staticmethod(lambda: made[-1].host)

        @staticmethod
        def sleep(seconds: float) -> None:
            made[-1].host += seconds

    monkeypatch.setattr(clock_module, "time", FakeTime)
    return Simulated


def test_a_slow_host_does_not_show_in_the_times(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=10e-6, kernel_s=4e-6)
    clock = DeviceClock(1, card)
    times = clock.samples(card.kernel, 5, 20)
    assert times == pytest.approx([4e-6] * 20)
    assert clock.host_bound == 0


def test_without_a_head_start_it_would(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=10e-6, kernel_s=4e-6)
    before = card.Event(enable_timing=True)
    before.record()
    for _ in range(5):
        card.kernel()
    after = card.Event(enable_timing=True)
    after.record()
    assert before.elapsed_time(after) * 1e-3 / 5 > 9e-6


def test_a_wrong_guess_of_the_hosts_speed_is_mended(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=100e-6, kernel_s=4e-6)
    clock = DeviceClock(1, card)
    assert clock.samples(card.kernel, 1, 20) == pytest.approx([4e-6] * 20)
    assert clock.host_bound == 0


def test_an_idle_card_that_counts_slowly_gets_no_short_spin(simulated: type[SimulatedCuda]) -> None:
    """It is calibrated at 345 MHz and runs at 1980 MHz afterwards."""
    card = simulated(host_s=20e-6, kernel_s=4e-6, ticks_hz=345e6)
    clock = DeviceClock(1, card)
    clock.samples(card.kernel, 1, 1)
    card.ticks_hz = 1.98e9
    assert clock.samples(card.kernel, 1, 50) == pytest.approx([4e-6] * 50)
    assert clock.host_bound == 0


def test_short_calls_are_captured_into_a_graph(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=5e-6, kernel_s=2e-6)
    clock = DeviceClock(1, card)
    times = clock.samples(card.kernel, 500, 100)
    assert times == pytest.approx([2e-6] * 100)
    assert card.launches < 500  # where call by call it would be 50 000
    assert clock.fallback == ""


def test_a_graph_is_kept_for_its_call_and_no_other(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=5e-6, kernel_s=2e-6)
    clock = DeviceClock(1, card)
    kernel = card.kernel

    def twice() -> None:
        kernel()
        kernel()

    assert clock.samples(kernel, 100, 2) == pytest.approx([2e-6] * 2)
    assert clock.samples(twice, 100, 2) == pytest.approx([4e-6] * 2)
    assert clock.samples(twice, 50, 2) == pytest.approx([4e-6] * 2)
    clock.release()
    assert clock.samples(kernel, 100, 2) == pytest.approx([2e-6] * 2)


def test_what_no_capture_allows_is_launched_call_by_call(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=10e-6, kernel_s=4e-6)
    card.captures_allowed = False
    clock = DeviceClock(1, card)
    assert clock.samples(card.kernel, 50, 30) == pytest.approx([4e-6] * 30)
    assert clock.fallback == "operation not permitted when stream is capturing"
    assert clock.host_bound == 0
    assert card.current_stream() == "the default one"


def test_a_host_that_is_hopelessly_slow_is_told(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=5e-3, kernel_s=4e-6)
    clock = DeviceClock(1, card)
    clock.samples(card.kernel, 1, 40)
    assert clock.host_bound > 0.5


def test_long_kernels_need_no_head_start_beyond_the_first(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=10e-6, kernel_s=2e-3)
    clock = DeviceClock(1, card)
    began = card.host
    assert clock.samples(card.kernel, 1, 50) == pytest.approx([2e-3] * 50)
    assert clock.host_bound == 0
    assert card.host - began < 0.11


def test_a_reading_is_made_while_the_card_works(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=10e-6, kernel_s=1e-3)
    clock, moments = DeviceClock(1, card), list[float]()
    clock.samples(card.kernel, 1, 4)
    for count in (1, 2, 3, 100, 600):
        clock.samples(card.kernel, 1, count, lambda: moments.append(card.card - card.host))
    # Half of the samples, or what is left of them after as many as the queue holds, are done.
    assert moments == pytest.approx([0.5e-3, 1e-3, 1.5e-3, 50e-3, 44e-3], abs=1e-4)


class Pair(Group):
    """A group of this rank and one just like it."""

    def __init__(self) -> None:
        self.place = Place(0, 2, 0, 2, 0, 1)

    def times(self, mine: Sequence[float]) -> list[list[float]]:
        return [list(mine), list(mine)]

    def barrier(self) -> None: ...


def test_a_reading_of_ranks_is_made_while_the_card_works_too(
    simulated: type[SimulatedCuda],
) -> None:
    card = simulated(host_s=10e-6, kernel_s=1e-3)
    clock, moments = GroupClock(Pair(), EventClock(card)), list[float]()
    assert clock.samples(card.kernel, 2, 4) == pytest.approx([1e-3] * 4, rel=0.02)
    for count in (1, 2, 3, 100):
        clock.samples(card.kernel, 1, count, lambda: moments.append(card.card - card.host))
    assert moments == pytest.approx([0.5e-3, 1e-3, 1.5e-3, 50e-3], abs=1e-4)


def test_the_card_spins_no_longer_than_it_must(simulated: type[SimulatedCuda]) -> None:
    """Else it cools between two blocks, and one method more than the other."""
    for host_s in (10e-6, 90e-6):
        card = simulated(host_s=host_s, kernel_s=2e-3)
        clock = DeviceClock(1, card)
        clock.samples(card.kernel, 1, 50)
        began = card.host
        clock.samples(card.kernel, 1, 50)
        assert clock.host_bound == 0
        assert (card.host - began) / 100e-3 < 1.01


def test_a_host_slower_than_the_card_gets_its_head_start_at_once(
    simulated: type[SimulatedCuda],
) -> None:
    card = simulated(host_s=100e-6, kernel_s=150e-6)
    clock = DeviceClock(1, card)
    clock.samples(card.kernel, 1, 20)
    before = card.launches
    clock.samples(card.kernel, 1, 20)
    assert clock.host_bound == 0
    assert card.launches - before == 1 + 1 + 2 * 20  # a spin, and events around each call: once


def test_a_wrong_guess_of_how_long_the_work_takes_is_mended(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=100e-6, kernel_s=5e-3)
    clock = DeviceClock(1, card)
    clock.samples(card.kernel, 1, 20)
    card.kernel_s = 4e-6
    assert clock.samples(card.kernel, 1, 20) == pytest.approx([4e-6] * 20)
    assert clock.host_bound == 0


def test_a_card_that_dies_in_a_capture_is_no_fallback(simulated: type[SimulatedCuda]) -> None:
    card = simulated(host_s=1e-5, kernel_s=1e-6)
    clock = DeviceClock(1, card)
    clock.samples(card.kernel, 1, 1)
    card.dead = True
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        clock.samples(card.kernel, 100, 1)


def test_the_hosts_clock_times_a_real_copy() -> None:
    source, target = torch.randn(2**20), torch.empty(2**20)
    clock, read = HostClock(), list[float]()

    def copy() -> None:
        target.copy_(source)

    copy()
    start = time.perf_counter()
    times = clock.samples(copy, 4, 25, lambda: read.append(clock.now()))
    whole = time.perf_counter() - start
    assert 0 < sum(times) * 4 <= whole
    assert sum(times) * 4 > 0.5 * whole  # little is spent outside the calls
    assert len(read) == 1
    assert torch.equal(source, target)
    assert clock.resolution_s <= 1e-6


def test_the_hosts_clock_sees_a_call_that_sleeps() -> None:
    times = HostClock().samples(lambda: time.sleep(2e-3), 2, 3)
    assert all(seconds >= 2e-3 for seconds in times)
