"""The engine: warm up until steady, then take blocks of samples until their median is known.

    prepared = Prepared(case, version=1, work=work(case), call=copy)
    found = measure(prepared, HostClock(), PLANS["quick"])

    ours, theirs = measure_in_turn([ours, theirs], [clock_of_ours, clock_of_theirs], PLANS["full"])

Methods that are compared are measured in turn, block by block in one loop, so that the card is as
warm and as fast for one as for the other; the ratio of their blocks, pair by pair, is then free of
what drifts.

It stops on precision, not on a count: when the interval of the block medians is narrow enough twice
in a row, or a dozen of them lie within half of that, or when the time is up. (Stopping at the first
narrow interval would favour lucky ones: in simulation its coverage fell to 92 %, and asking twice
holds 94 to 98 %.)

What had been measured when a run is interrupted travels in the exception, for the caller to save.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gpubench import stats
from gpubench.errors import CannotMeasure
from gpubench.measuring import faults, guards, timing
from gpubench.measuring.clock import Call, Clock
from gpubench.measuring.telemetry import NullTelemetry, Reading, Telemetry
from gpubench.model import Block, Case, Caution, Measurement, Work

Phase = Literal["burst", "sustained"]
Progress = Callable[[str], None]
Awaiting = Callable[[Case], None]
"""Told of each call that waits for the device, before it is made, and whose it is."""


@dataclass(frozen=True)
class Plan:
    """How long and how precisely to measure. Times are in seconds, for one case and one phase.

    `target` is the half-width of the 95 % interval to reach, relative to the median; `steady` how
    far the running median may still move for the warm-up to count as done; `heat_s` how long a
    sustained measurement does its work before the first sample counts.
    """

    name: str
    limit_s: float
    heat_s: float = 0.0
    target: float = 0.005
    least_blocks: int = stats.LEAST_FOR_95
    block_s: float = 0.1
    sample_s: float = 1e-3
    steady: float = 0.01
    warmup_s: float = 0.2
    warmup_limit_s: float = 2.0

    @property
    def least_s(self) -> float:
        """What one case takes at the least in one phase, heat apart."""
        return self.warmup_s + (self.least_blocks + 1) * self.block_s

    @property
    def most_s(self) -> float:
        """What one case takes at the most in one phase, heat apart, and three of its calls where
        one lasts longer than a block.
        """
        return self.warmup_limit_s + self.limit_s


PLANS: dict[str, Plan] = {
    "quick": Plan("quick", limit_s=1.5, block_s=0.05, warmup_limit_s=1.0),
    "standard": Plan("standard", limit_s=1.6, heat_s=5.0, warmup_limit_s=1.0),
    "full": Plan("full", limit_s=8.0, heat_s=30.0),
}
"""The suites' plans, by name."""


@dataclass(frozen=True)
class Prepared:
    """A case that is ready to be timed: memory allocated, answer compared, kernels compiled.

    `call` is the barest call: it queues the work once and returns nothing. It must be the same
    object throughout, since what is captured of it is kept. `by_host` asks for the host's clock:
    the call returns when its work is done.
    """

    case: Case
    version: int
    work: Work
    call: Call
    verification: str = ""
    cautions: tuple[Caution, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    by_host: bool = False


class CutShort(CannotMeasure):
    """Measuring ended before its time; `measurements` holds what there was, marked incomplete.

    `cause` is the KeyboardInterrupt or the CannotMeasure that ended it: save the measurements, then
    raise the cause.
    """

    def __init__(
        self, measurements: Sequence[Measurement], cause: KeyboardInterrupt | CannotMeasure
    ) -> None:
        self.measurements, self.cause = tuple(measurements), cause
        self.exit_code = 130 if isinstance(cause, KeyboardInterrupt) else cause.exit_code
        why = "interrupted" if isinstance(cause, KeyboardInterrupt) else str(cause)
        blocks = sum(len(found.blocks) for found in self.measurements)
        super().__init__(f"{why}; {blocks} blocks measured so far are kept")


def measure(
    prepared: Prepared,
    clock: Clock,
    plan: Plan,
    telemetry: Telemetry | None = None,
    phase: Phase = "burst",
    progress: Progress | None = None,
) -> Measurement:
    """Measure one prepared case in one phase, with the cautions that the engine itself can give.

    Raises as `measure_in_turn` does.
    """
    return measure_in_turn([prepared], [clock], plan, telemetry, phase, progress)[0]


def measure_in_turn(
    cases: Sequence[Prepared],
    clocks: Sequence[Clock],
    plan: Plan,
    telemetry: Telemetry | None = None,
    phase: Phase = "burst",
    progress: Progress | None = None,
    awaiting: Awaiting | None = None,
) -> tuple[Measurement, ...]:
    """Measure prepared cases in one phase, a block of each in turn, each with a clock of its own.

    The plan's limits hold for each of them; they stop together, so that every block has its pair.

    Raises:
        CutShort: interrupted, or the device failed, after at least one block.
        CannotMeasure: the device failed before that (DeviceLost, out of memory, a kernel that does
            not compile …).
        KeyboardInterrupt: interrupted before the first block.
    """
    source = telemetry or NullTelemetry()
    takings = [
        _Taking(prepared, clock, plan, source, phase, progress, awaiting, others)
        for prepared, clock, others in zip(cases, clocks, _others(cases), strict=True)
    ]
    at = takings[0]
    try:
        for at in takings:
            at.warm_up()
        while phase == "sustained" and any(taking.cool for taking in takings):
            for at in takings:
                at.heat()
        now = clocks[0].now
        start, longest, late = now(), 0.0, False
        while not late and not all(taking.narrow >= 2 for taking in takings):
            began = now()
            for at in takings:
                at.sample(start)
            longest = max(longest, now() - began)
            late = now() + longest - start > plan.limit_s * len(takings)
    except (Exception, KeyboardInterrupt) as error:
        cause = error if isinstance(error, KeyboardInterrupt) else at.told(error)
        kept = [taking.result(complete=False) for taking in takings if taking.blocks]
        if cause is None or (isinstance(cause, KeyboardInterrupt) and not kept):
            raise
        if not kept:
            raise cause from error
        raise CutShort(kept, cause) from error
    finally:
        for clock in clocks:
            clock.release()
    return tuple(taking.result(complete=True) for taking in takings)


def _others(cases: Sequence[Prepared]) -> list[tuple[str, ...]]:
    """For each case the methods of all the others."""
    return [tuple(o.case.method for o in cases if o is not one) for one in cases]


@dataclass
class _Taking:
    """One measurement while it is taken. Each method adds to what the ones above left."""

    prepared: Prepared
    clock: Clock
    plan: Plan
    telemetry: Telemetry
    phase: Phase
    progress: Progress | None
    awaiting: Awaiting | None
    others: tuple[str, ...]
    blocks: list[Block] = field(default_factory=list)
    calls: int = 1
    call_s: float = 0.0
    warmup_s: float = 0.0
    heat_s: float = 0.0
    heated_since: float | None = None
    narrow: int = 0  # times in a row that the interval was narrow enough
    host_bound: float = 0.0
    cautions: list[Caution] = field(default_factory=list)

    def warm_up(self) -> None:
        """Call until the running median stands still, or until the limit."""
        self._say("warming up")
        start = self.clock.now()
        self._samples(1, 1)  # compiles, loads, allocates
        self._choose_calls()
        medians: list[float] = []
        while not (self._steady(medians) and self.clock.now() - start >= self.plan.warmup_s):
            if self.clock.now() - start >= self.plan.warmup_limit_s:
                self.cautions.append(_NOT_STEADY)
                break
            medians.append(self._chunk(self.plan.warmup_s / _CHUNKS))
        self.warmup_s = self.clock.now() - start
        if (self.calls, self._wanted_calls()) != (1, 1):  # else the last chunk has told enough
            self._choose_calls()

    @property
    def cool(self) -> bool:
        """Whether a sustained measurement still has to heat."""
        return self.heat_s < self.plan.heat_s

    def heat(self) -> None:
        """Do a block's worth of the work, which without a break would run for hours."""
        if self.heated_since is None:
            self.heated_since = self.clock.now()
        self._say(f"heating, {self.heat_s:.0f} of {self.plan.heat_s:g} s")
        self._chunk(self.plan.block_s)
        self.heat_s = self.clock.now() - self.heated_since

    def sample(self, start: float) -> None:
        """Take a block, and see whether the median of blocks is known well enough."""
        self.blocks.append(self._block(start))
        found = stats.series_interval(timing.block_medians(self.blocks))
        ready = len(self.blocks) >= self.plan.least_blocks
        self.narrow = self.narrow + 1 if ready and timing.known(found, self.plan.target) else 0
        self._say(f"block {len(self.blocks)}, ±{100 * found.half_width:.2f} %")

    def result(self, complete: bool) -> Measurement:
        """The measurement as far as it was taken."""
        cautions = [*self.prepared.cautions, *self.cautions]
        if self.host_bound > _MOST_HOST_BOUND:
            cautions.append(_host_bound(self.host_bound, getattr(self.clock, "fallback", "")))
        measurement = Measurement(
            case=self.prepared.case,
            version=self.prepared.version,
            work=self.prepared.work,
            blocks=tuple(self.blocks),
            calls_per_sample=self.calls,
            warmup_s=self.warmup_s,
            phase=self.phase,
            verification=self.prepared.verification,
            cautions=tuple(cautions),
            complete=complete,
            heat_s=self.heat_s,
            resolution_s=self.clock.resolution_s,
            choices={**self.prepared.choices, **getattr(self.clock, "findings", dict)()},
            in_turn_with=self.others,
        )
        return guards.cautioned(measurement, guards.precision(measurement, self.plan.target))

    def told(self, error: Exception) -> CannotMeasure | None:
        """The sentence for a fault of the device; None for a mistake of ours."""
        case = self.prepared.case
        return faults.as_sentence(error, f"measuring {case.benchmark} ({case.method})")

    def _block(self, start: float) -> Block:
        readings: list[Reading] = []
        moments: list[float] = []

        def read() -> None:
            moments.append(self.clock.now() - start)
            readings.append(self.telemetry.read())

        seconds = self._samples(self.calls, self._count(self.plan.block_s), read)
        before = self.host_bound * len(self.blocks)
        self.host_bound = (before + self.clock.host_bound) / (len(self.blocks) + 1)
        values = {"read_at_s": moments[0], **readings[0].values}
        return Block(tuple(seconds), values, dict(readings[0].refused))

    def _chunk(self, seconds: float) -> float:
        """The median of about so many seconds of samples that are not kept."""
        times = self._samples(self.calls, self._count(seconds))
        self.call_s = stats.median(times)
        return self.call_s

    def _choose_calls(self) -> None:
        """Put so many calls into a sample that the clock's resolution and overhead vanish."""
        while True:
            times = self._samples(self.calls, 1)
            if self.calls * times[0] < self.plan.block_s:  # a long one is told by itself
                times += self._samples(self.calls, 2)
            self.call_s = stats.median(times)
            wanted = self._wanted_calls()
            # A second look for every leap: the time of one short call is mostly overhead.
            if wanted <= self.calls * 1.5:
                break
            self.calls = min(wanted, self.calls * 32)
        self.calls = wanted

    def _samples(
        self, calls: int, count: int, meanwhile: Callable[[], None] | None = None
    ) -> list[float]:
        if self.awaiting:
            self.awaiting(self.prepared.case)
        return self.clock.samples(self.prepared.call, calls, count, meanwhile)

    def _wanted_calls(self) -> int:
        least = max(self.plan.sample_s, _RESOLUTIONS * self.clock.resolution_s)
        if self.call_s <= 0:
            return self.clock.most_calls
        return min(max(1, math.ceil(least / self.call_s)), self.clock.most_calls)

    def _count(self, seconds: float) -> int:
        """How many samples fill so many seconds; at least one, and few enough to keep."""
        each = max(self.calls * self.call_s, self.clock.resolution_s)
        return min(max(1, round(seconds / each)), _MOST_SAMPLES)

    def _steady(self, medians: list[float]) -> bool:
        """The median of the last three chunks is that of the three before."""
        if len(medians) < _CHUNKS:
            return False
        before, now = stats.median(medians[-6:-3]), stats.median(medians[-3:])
        return abs(now - before) <= self.plan.steady * now

    def _say(self, text: str) -> None:
        if self.progress:
            self.progress(text)


# The least warm-up is cut into six chunks, three to compare with the three before.
_CHUNKS = 6
# A sample this many times the clock's resolution is read to 0.1 %.
_RESOLUTIONS = 1000
# A block of 0.1 s in samples of 1 ms has 100; far more would only make records heavy.
_MOST_SAMPLES = 500
_MOST_HOST_BOUND = 0.05

_NOT_STEADY = Caution(
    "not-steady",
    "the times had not settled when the warm-up's limit came",
    "measure again with nothing else running, or with a longer suite",
)


def _host_bound(share: float, fallback: str) -> Caution:
    why = f"; no CUDA graph, since {fallback}" if fallback else ""
    return Caution(
        "host-bound",
        f"in {100 * share:.0f} % of the samples the device may have waited for the host{why}",
        "measure a larger size, or end what keeps the processor busy",
    )
