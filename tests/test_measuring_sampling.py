"""The engine on a clock that owns its time: warm-up, sample sizes, stopping, interruptions."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import stats
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import timing
from gpubench.measuring.clock import Clock
from gpubench.measuring.sampling import (
    PLANS,
    CutShort,
    Phase,
    Plan,
    Prepared,
    measure,
    measure_in_turn,
)
from gpubench.measuring.telemetry import Reading
from gpubench.model import Case, Caution, Measurement, Work
from tests.fake_clock import FakeClock, Script

PLAN = Plan("test", limit_s=3.0, heat_s=10.0)
TRIAD = Case("stream", "torch", {"pattern": "triad"})


def prepared(call: Callable[[], None] = lambda: None, **more: object) -> Prepared:
    return Prepared(TRIAD, version=1, work=Work(bytes=3e6), call=call, **more)  # type: ignore[arg-type]


def steady(seconds: float) -> Script:
    return lambda _time, _made: seconds


def noisy(seconds: float, sigma: float, seed: int = 1) -> Script:
    source = random.Random(seed)
    return lambda _time, _made: seconds * math.exp(source.gauss(0, sigma))


def noisy_blocks(seconds: float, sigma: float, clock_gap_s: float = 0.1, seed: int = 1) -> Script:
    """Noise that lasts as long as a block, so that more samples in a block do not average it."""

    def script(time: float, _made: int) -> float:
        source = random.Random(f"{seed} {int(time / clock_gap_s)}")
        return seconds * math.exp(source.gauss(0, sigma))

    return script


def codes(measurement: Measurement) -> set[str]:
    return {caution.code for caution in measurement.cautions}


def test_a_steady_device_is_measured_with_few_blocks() -> None:
    clock = FakeClock(steady(2e-3))
    found = measure(prepared(verification="right"), clock, PLAN)
    assert timing.of(found).seconds.mid == pytest.approx(2e-3)
    assert timing.bandwidth(found).mid == pytest.approx(3e6 / 2e-3)
    assert PLAN.least_blocks <= len(found.blocks) <= PLAN.least_blocks + 1
    assert found.complete
    assert found.cautions == ()
    assert (found.phase, found.verification, found.calls_per_sample) == ("burst", "right", 1)
    assert found.resolution_s == clock.resolution_s
    assert clock.released == 1


@pytest.mark.parametrize("call_s", [2e-6, 30e-6, 0.7e-3, 1e-3, 20e-3, 0.3])
def test_a_sample_lasts_a_millisecond_and_a_block_a_tenth_of_a_second(call_s: float) -> None:
    found = measure(prepared(), FakeClock(steady(call_s)), PLAN)
    sample_s = found.calls_per_sample * call_s
    assert sample_s >= PLAN.sample_s * 0.999
    assert sample_s < PLAN.sample_s * 2 or found.calls_per_sample == 1
    block_s = sample_s * len(found.blocks[0].seconds)
    assert block_s == pytest.approx(max(PLAN.block_s, call_s), rel=0.05)


def test_a_coarse_clock_gets_longer_samples() -> None:
    found = measure(prepared(), FakeClock(steady(1e-4), resolution_s=1e-5), PLAN)
    assert found.calls_per_sample * 1e-4 >= 1000 * 1e-5 * 0.999


def test_a_call_shorter_than_the_clock_can_see_ends_in_a_caution_and_not_in_a_loop() -> None:
    found = measure(prepared(), FakeClock(steady(0.0), resolution_s=1e-3), PLAN)
    assert found.calls_per_sample == 2000
    assert "too-short" in codes(found)


def test_warm_up_lasts_until_the_times_stand_still() -> None:
    cold = FakeClock(lambda time, _made: 1e-3 * (1 + 2 * math.exp(-time / 0.1)))
    found = measure(prepared(), cold, PLAN)
    assert found.warmup_s > 0.4  # e^-4 of 200 % is 4 %, and still moving
    assert timing.of(found).seconds.mid == pytest.approx(1e-3, rel=0.01)
    assert "not-steady" not in codes(found)
    warm = measure(prepared(), FakeClock(steady(1e-3)), PLAN)
    assert warm.warmup_s < 0.3


def test_the_first_call_is_no_measure_of_the_second() -> None:
    """It compiles: 3 s, where the others take 50 µs."""
    found = measure(prepared(), FakeClock(lambda _time, made: 5e-5 if made else 3.0), PLAN)
    assert found.calls_per_sample == pytest.approx(20, abs=1)


def test_what_never_settles_is_measured_with_a_caution() -> None:
    clock = FakeClock(lambda time, _made: 1e-3 * (1 + time))
    found = measure(prepared(), clock, PLAN)
    assert "not-steady" in codes(found)
    assert found.warmup_s == pytest.approx(PLAN.warmup_limit_s, abs=0.3)
    assert len(found.blocks) >= 1


def test_sampling_stops_on_precision_and_not_on_a_count() -> None:
    quiet = measure(prepared(), FakeClock(noisy_blocks(1e-3, 0.001)), PLAN)
    rough = measure(prepared(), FakeClock(noisy_blocks(1e-3, 0.006)), PLAN)
    assert len(quiet.blocks) < len(rough.blocks)
    for found in (quiet, rough):
        assert timing.of(found).half_width <= PLAN.target


def test_blocks_that_creep_but_lie_close_end_it_after_a_dozen() -> None:
    """As a card warms its clock falls slowly, and each block resembles the one before for ever."""
    plan = Plan("test", limit_s=9.0, block_s=0.1, sample_s=0.01, warmup_s=0.02)

    def falling(rate: float) -> Script:
        return lambda time, _made: 1e-3 * (1 + rate * time)

    close = measure(prepared(), FakeClock(falling(1e-3)), plan)
    assert len(close.blocks) == 13  # twice in a row
    assert timing.of(close).independent < stats.LEAST_FOR_95
    far = measure(prepared(), FakeClock(falling(1e-2)), plan)
    assert len(far.blocks) > 60


def test_the_time_limit_ends_it_with_a_caution_that_names_a_remedy() -> None:
    clock = FakeClock(noisy_blocks(1e-3, 0.05))
    found = measure(prepared(), clock, PLAN)
    assert codes(found) == {"noisy"}
    assert found.complete
    assert all(caution.remedy for caution in found.cautions)
    assert clock.now() - found.warmup_s <= PLAN.limit_s * 1.05


def test_a_long_call_is_too_few_blocks_and_says_so() -> None:
    found = measure(prepared(), FakeClock(steady(0.8)), PLAN)
    assert len(found.blocks) < PLAN.least_blocks
    assert "too-short" in codes(found)


def test_sustained_means_heated_first() -> None:
    """A card that slows down after five seconds is fast in the burst and slow when sustained."""
    script: Script = lambda time, _made: 1e-3 if time < 5 else 1.2e-3  # noqa: E731
    burst = measure(prepared(), FakeClock(script), PLAN)
    heated = measure(prepared(), FakeClock(script), PLAN, phase="sustained")
    assert timing.of(burst).seconds.mid == pytest.approx(1.0e-3)
    assert timing.of(heated).seconds.mid == pytest.approx(1.2e-3)
    assert (burst.phase, burst.heat_s) == ("burst", 0.0)
    assert heated.phase == "sustained"
    assert heated.heat_s >= PLAN.heat_s


def test_the_suites_differ_in_heat_and_a_plan_tells_its_time() -> None:
    assert {name: plan.heat_s for name, plan in PLANS.items()} == {
        "quick": 0.0,
        "standard": 5.0,
        "full": 30.0,
    }
    phases: tuple[Phase, ...] = ("burst", "sustained")
    for plan in PLANS.values():
        assert plan.target == 0.005
        for script in (steady(1e-3), noisy_blocks(1e-3, 0.1, plan.block_s)):
            for phase, heat_s in zip(phases, (0.0, plan.heat_s), strict=True):
                clock = FakeClock(script)
                measure(prepared(), clock, plan, phase=phase)
                assert plan.least_s * 0.9 <= clock.now() - heat_s <= plan.most_s * 1.1


@pytest.mark.parametrize("call_s", [0.03, 0.09, 0.15, 0.3, 0.8, 1.5, 6.0])
@pytest.mark.parametrize("suite", ["quick", "standard", "full"])
def test_calls_that_are_long_are_made_no_more_often_than_it_takes(
    call_s: float, suite: str
) -> None:
    """One that compiles, one that is timed, and one block."""
    clock, plan = FakeClock(steady(call_s)), PLANS[suite]
    found = measure(prepared(), clock, plan)
    assert clock.now() <= plan.most_s + 3 * call_s
    assert found.calls_per_sample == 1
    if call_s > plan.most_s:
        assert clock.made == 3


class Scripted:
    """Telemetry that counts, and fails at a given reading."""

    def __init__(self, fails_at: int = -1, error: BaseException | None = None) -> None:
        self.fails_at, self.error, self.asked = fails_at, error, 0

    def read(self) -> Reading:
        self.asked += 1
        if self.asked == self.fails_at and self.error:
            raise self.error
        return Reading({"power_w": 100.0 + self.asked}, {"total_energy_j": "Not Supported"})

    def card(self) -> Reading:
        return Reading()


def test_each_block_has_its_telemetry_and_what_was_refused() -> None:
    found = measure(prepared(), FakeClock(steady(1e-3)), PLAN, Scripted())
    assert [block.telemetry["power_w"] for block in found.blocks] == [
        101.0 + i for i in range(len(found.blocks))
    ]
    moments = timing.readings(found.blocks, "read_at_s")
    assert moments == sorted(moments)
    assert found.blocks[0].refused == {"total_energy_j": "Not Supported"}


def test_without_telemetry_the_reason_is_recorded() -> None:
    found = measure(prepared(), FakeClock(steady(1e-3)), PLAN)
    assert found.blocks[0].refused == {"telemetry": "this device has no telemetry"}


@pytest.mark.parametrize("broken_in", ["telemetry", "call"])
def test_ctrl_c_keeps_the_blocks_that_were_done(broken_in: str) -> None:
    telemetry, call = Scripted(), lambda: None
    if broken_in == "telemetry":
        telemetry = Scripted(4, KeyboardInterrupt())
    else:
        call = failing_after(700, KeyboardInterrupt())
    clock = FakeClock(steady(1e-3))
    with pytest.raises(CutShort) as caught:
        measure(prepared(call), clock, PLAN, telemetry)
    cut = caught.value
    assert isinstance(cut.cause, KeyboardInterrupt)
    assert cut.exit_code == 130
    assert 1 <= len(cut.measurements[0].blocks) < PLAN.least_blocks
    assert not cut.measurements[0].complete
    assert {"incomplete", "too-short"} <= codes(cut.measurements[0])
    assert clock.released == 1


def test_ctrl_c_before_the_first_block_leaves_nothing_to_keep() -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(prepared(failing_after(5, KeyboardInterrupt())), FakeClock(steady(1e-3)), PLAN)


def test_a_device_lost_half_way_keeps_the_blocks_before() -> None:
    telemetry = Scripted(4, DeviceLost("the GPU is gone"))
    with pytest.raises(CutShort, match="the GPU is gone; 3 blocks") as caught:
        measure(prepared(), FakeClock(steady(1e-3)), PLAN, telemetry)
    assert isinstance(caught.value.cause, DeviceLost)
    assert caught.value.exit_code == 3
    assert len(caught.value.measurements[0].blocks) == 3


def test_an_error_of_the_runtime_becomes_a_sentence() -> None:
    error = RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")
    with pytest.raises(CutShort, match=r"stream \(torch\)") as caught:
        measure(prepared(failing_after(700, error)), FakeClock(steady(1e-3)), PLAN)
    assert isinstance(caught.value.cause, DeviceLost)
    assert "\n" not in str(caught.value)
    with pytest.raises(DeviceLost):
        measure(prepared(failing_after(3, error)), FakeClock(steady(1e-3)), PLAN)


def test_out_of_memory_at_the_first_call_is_one_sentence() -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 B")
    with pytest.raises(CannotMeasure, match="out of memory while measuring stream"):
        measure(prepared(failing_after(0, error)), FakeClock(steady(1e-3)), PLAN)


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        measure(prepared(failing_after(3, ZeroDivisionError())), FakeClock(steady(1e-3)), PLAN)


def failing_after(calls: int, error: BaseException) -> Callable[[], None]:
    left = [calls]

    def call() -> None:
        if left[0] == 0:
            raise error
        left[0] -= 1

    return call


def test_samples_that_waited_for_the_host_are_told() -> None:
    clock = FakeClock(steady(1e-3))
    clock.host_bound = 0.5
    found = measure(prepared(), clock, PLAN)
    assert codes(found) == {"host-bound"}
    assert "50 %" in found.cautions[0].fact


def test_cautions_of_the_preparation_stay() -> None:
    known = Caution("unknown-card", "a fact", "a remedy")
    found = measure(prepared(cautions=(known,)), FakeClock(steady(1e-3)), PLAN)
    assert found.cautions == (known,)


def test_progress_is_told_in_words() -> None:
    said: list[str] = []
    measure(prepared(), FakeClock(steady(1e-3)), PLAN, phase="sustained", progress=said.append)
    assert said[0] == "warming up"
    assert any(line.startswith("heating, 0 of 10 s") for line in said)
    assert said[-1].startswith("block 7, ±0.00 %")


class SharedClock(FakeClock):
    """A clock of one of several methods on a device whose time is the same for all of them."""

    shared: ClassVar[list[float]] = [0.0]

    @property
    def time(self) -> float:
        return self.shared[0]

    @time.setter
    def time(self, now: float) -> None:
        self.shared[0] = now


OURS = Case("stream", "triton", {"pattern": "triad"})


def taken_in_turn(
    ours: Script, theirs: Script, phase: Phase = "burst", **more: object
) -> tuple[Measurement, ...]:
    SharedClock.shared = [0.0]
    both = [dataclasses.replace(prepared(), case=OURS), prepared()]
    clocks = [SharedClock(ours), SharedClock(theirs)]
    return measure_in_turn(both, clocks, PLAN, phase=phase, **more)  # type: ignore[arg-type]


def test_methods_in_turn_meet_a_card_that_slows_down_in_the_same_state() -> None:
    """Ours takes 4 % longer throughout, while the card slows by a fifth."""

    def slowing(seconds: float) -> Script:
        return lambda time, _made: seconds * (1 + 0.2 * min(time, 10) / 10)

    ours, theirs = taken_in_turn(slowing(1.04e-3), slowing(1e-3))
    ratio = timing.paired_ratio(ours, theirs)
    assert ratio.mid == pytest.approx(1 / 1.04, rel=0.003)
    assert ratio.half_width < 0.002
    assert timing.of(ours).half_width > 0.01  # the card's own drift, which the pairs are free of
    alone = measure(prepared(), FakeClock(slowing(1e-3)), PLAN)
    assert timing.of(alone).seconds.mid < 0.99 * timing.of(theirs).seconds.mid
    assert len(ours.blocks) == len(theirs.blocks)
    assert (ours.in_turn_with, theirs.in_turn_with) == (("torch",), ("triton",))
    moments = [timing.readings(found.blocks, "read_at_s") for found in (ours, theirs)]
    assert all(one < other for one, other in zip(*moments, strict=True))


def test_methods_in_turn_are_heated_together() -> None:
    script: Script = lambda time, _made: 1e-3 if time < 5 else 1.2e-3  # noqa: E731
    ours, theirs = taken_in_turn(script, script, "sustained")
    assert timing.of(ours).seconds.mid == timing.of(theirs).seconds.mid == pytest.approx(1.2e-3)
    assert min(ours.heat_s, theirs.heat_s) >= PLAN.heat_s
    assert SharedClock.shared[0] < 2 * PLAN.heat_s


def test_what_was_not_taken_in_turn_has_no_paired_ratio() -> None:
    apart = [measure(prepared(), FakeClock(steady(1e-3)), PLAN) for _ in range(2)]
    with pytest.raises(ValueError, match="torch was not measured in turn with torch"):
        timing.paired_ratio(*apart)


def test_in_turn_a_fault_of_one_keeps_the_blocks_of_both() -> None:
    SharedClock.shared = [0.0]
    failing = failing_after(900, RuntimeError("CUDA error: an illegal memory access"))
    both = [dataclasses.replace(prepared(), case=OURS), prepared(failing)]
    clocks = [SharedClock(steady(1e-3)) for _ in both]
    with pytest.raises(CutShort, match=r"stream \(torch\)") as caught:
        measure_in_turn(both, clocks, PLAN)
    assert [len(found.blocks) for found in caught.value.measurements] == [7, 6]
    assert [clock.released for clock in clocks] == [1, 1]


def test_whoever_watches_is_told_what_is_waited_for() -> None:
    waited: list[Case] = []
    taken_in_turn(steady(1e-3), steady(1e-3), awaiting=waited.append)
    assert waited[0] == OURS
    assert waited[-1] == TRIAD
    assert len(waited) > 14


def test_the_fake_is_a_clock() -> None:
    clock: Clock = FakeClock(steady(1.0))
    assert clock.now() == 0


@settings(max_examples=40, deadline=None)
@given(
    call_s=st.floats(1e-6, 0.2),
    sigma=st.floats(0, 0.1),
    target=st.floats(0.001, 0.05),
    limit_s=st.floats(0.2, 5),
    seed=st.integers(0, 1000),
)
def test_however_it_goes_the_promises_hold(
    call_s: float, sigma: float, target: float, limit_s: float, seed: int
) -> None:
    """Precision reached or a caution; never beyond the limit by more than a block; raw samples."""
    plan = dataclasses.replace(PLAN, target=target, limit_s=limit_s)
    clock = FakeClock(noisy(call_s, sigma, seed))
    found = measure(prepared(), clock, plan)
    quality = timing.of(found)
    if timing.known(quality.seconds, target):
        assert "noisy" not in codes(found)
    else:
        assert codes(found) & {"noisy", "too-short"}
    longest = max(sum(block.seconds) * found.calls_per_sample for block in found.blocks)
    spent = clock.now() - found.warmup_s
    assert spent <= limit_s + longest + 0.1 + 5 * call_s * found.calls_per_sample
    assert all(len(block.seconds) >= 1 for block in found.blocks)
    assert quality.seconds.low <= quality.seconds.mid <= quality.seconds.high


def test_stopping_early_does_not_spoil_the_interval() -> None:
    """The first narrow interval would be a lucky one; twice in a row keeps 95 %."""
    runs = 400
    plan = Plan("test", limit_s=9.0, target=0.005, warmup_s=0.02, block_s=0.1, sample_s=0.1)
    covered = 0
    for seed in range(runs):
        found = measure(prepared(), FakeClock(noisy(0.1, 0.006, seed), gap_s=0), plan)
        interval = timing.of(found).seconds
        covered += interval.low <= 0.1 <= interval.high
    assert covered / runs > 0.93
    assert plan.least_blocks == stats.LEAST_FOR_95
