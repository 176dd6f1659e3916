"""The engine: warm up until steady, then take blocks of samples until their median is known.

    prepared = Prepared(case, version=1, work=work(case), call=copy)
    found = measure(prepared, HostClock(), PLANS["quick"])

It stops on precision, not on a count: when the interval of the block medians is narrow enough twice
in a row, or when the time is up. (Stopping at the first narrow interval would favour lucky ones: in
simulation its coverage fell to 92 %, and asking twice holds 94 to 98 %.)

What had been measured when a run is interrupted travels in the exception, for the caller to save.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
    def phases(self) -> tuple[Phase, ...]:
        """What to measure each case in: a plan without heat has nothing sustained."""
        return ("burst", "sustained") if self.heat_s else ("burst",)

    @property
    def least_s(self) -> float:
        """What one case takes at the least, all phases together."""
        each = self.warmup_s + (self.least_blocks + 1) * self.block_s
        return each * len(self.phases) + self.heat_s

    @property
    def most_s(self) -> float:
        """What one case takes at the most, all phases together, unless a single call is longer."""
        return (self.warmup_limit_s + self.limit_s) * len(self.phases) + self.heat_s


PLANS: dict[str, Plan] = {
    "quick": Plan("quick", limit_s=1.5, block_s=0.05),
    "standard": Plan("standard", limit_s=4.0, heat_s=5.0),
    "full": Plan("full", limit_s=20.0, heat_s=30.0),
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
    """A measurement ended before its time; `measurement` holds what it had, marked incomplete.

    `cause` is the KeyboardInterrupt or the CannotMeasure that ended it: save the measurement, then
    raise the cause.
    """

    def __init__(self, measurement: Measurement, cause: KeyboardInterrupt | CannotMeasure) -> None:
        self.measurement, self.cause = measurement, cause
        self.exit_code = 130 if isinstance(cause, KeyboardInterrupt) else cause.exit_code
        why = "interrupted" if isinstance(cause, KeyboardInterrupt) else str(cause)
        super().__init__(f"{why}; {len(measurement.blocks)} blocks measured so far are kept")


def measure(
    prepared: Prepared,
    clock: Clock,
    plan: Plan,
    telemetry: Telemetry | None = None,
    phase: Phase = "burst",
    progress: Progress | None = None,
) -> Measurement:
    """Measure one prepared case in one phase, with the cautions that the engine itself can give.

    Raises:
        CutShort: interrupted, or the device failed, after at least one block.
        CannotMeasure: the device failed before that (DeviceLost, out of memory, a kernel that does
            not compile …).
        KeyboardInterrupt: interrupted before the first block.
    """
    taking = _Taking(prepared, clock, plan, telemetry or NullTelemetry(), phase, progress)
    try:
        taking.warm_up()
        if phase == "sustained":
            taking.heat()
        taking.sample()
    except (Exception, KeyboardInterrupt) as error:
        cause = error if isinstance(error, KeyboardInterrupt) else taking.told(error)
        if cause is None or (isinstance(cause, KeyboardInterrupt) and not taking.blocks):
            raise
        if not taking.blocks:
            raise cause from error
        raise CutShort(taking.result(complete=False), cause) from error
    finally:
        clock.release()
    return taking.result(complete=True)


@dataclass
class _Taking:
    """One measurement while it is taken. Each method adds to what the ones above left."""

    prepared: Prepared
    clock: Clock
    plan: Plan
    telemetry: Telemetry
    phase: Phase
    progress: Progress | None
    blocks: list[Block] = field(default_factory=list)
    calls: int = 1
    call_s: float = 0.0
    warmup_s: float = 0.0
    heat_s: float = 0.0
    host_bound: float = 0.0
    cautions: list[Caution] = field(default_factory=list)

    def warm_up(self) -> None:
        """Call until the running median stands still, or until the limit."""
        self._say("warming up")
        start = self.clock.now()
        self.clock.samples(self.prepared.call, 1, 1)  # compiles, loads, allocates
        self._choose_calls()
        medians: list[float] = []
        while not (self._steady(medians) and self.clock.now() - start >= self.plan.warmup_s):
            if self.clock.now() - start >= self.plan.warmup_limit_s:
                self.cautions.append(_NOT_STEADY)
                break
            medians.append(self._chunk(self.plan.warmup_s / _CHUNKS))
        self.warmup_s = self.clock.now() - start
        self._choose_calls()

    def heat(self) -> None:
        """Do the work without a break for the plan's time, as it would run for hours."""
        start = self.clock.now()
        while (self.heat_s) < self.plan.heat_s:
            self._say(f"heating, {self.heat_s:.0f} of {self.plan.heat_s:g} s")
            self._chunk(self.plan.block_s)
            self.heat_s = self.clock.now() - start

    def sample(self) -> None:
        """Take blocks until their median is known well enough twice in a row, or time is up."""
        start = self.clock.now()
        narrow, longest = 0, 0.0
        while narrow < 2:
            began = self.clock.now()
            if self.blocks and began + longest - start > self.plan.limit_s:
                break
            self.blocks.append(self._block(start))
            longest = max(longest, self.clock.now() - began)
            found = stats.median_interval(timing.block_medians(self.blocks))
            ready = found.enough and len(self.blocks) >= self.plan.least_blocks
            narrow = narrow + 1 if ready and found.half_width <= self.plan.target else 0
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
            choices=self.prepared.choices,
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

        seconds = self.clock.samples(
            self.prepared.call, self.calls, self._count(self.plan.block_s), read
        )
        before = self.host_bound * len(self.blocks)
        self.host_bound = (before + self.clock.host_bound) / (len(self.blocks) + 1)
        values = {"read_at_s": moments[0], **readings[0].values}
        return Block(tuple(seconds), values, dict(readings[0].refused))

    def _chunk(self, seconds: float) -> float:
        """The median of about so many seconds of samples that are not kept."""
        times = self.clock.samples(self.prepared.call, self.calls, self._count(seconds))
        self.call_s = stats.median(times)
        return self.call_s

    def _choose_calls(self) -> None:
        """Put so many calls into a sample that the clock's resolution and overhead vanish."""
        while True:
            self.call_s = stats.median(self.clock.samples(self.prepared.call, self.calls, 3))
            wanted = self._wanted_calls()
            # A second look for every leap: the time of one short call is mostly overhead.
            if wanted <= self.calls * 1.5:
                break
            self.calls = min(wanted, self.calls * 32)
        self.calls = wanted

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
