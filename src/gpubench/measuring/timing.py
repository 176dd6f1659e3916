"""What the raw samples of a measurement say: an interval, and how far it can be trusted.

Blocks are the unit. Samples within a block follow each other too closely to count as independent,
so the interval is one of block medians, and what is left of dependence between blocks widens it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gpubench import stats
from gpubench.model import Block, Measurement
from gpubench.stats import Drift, MedianInterval


@dataclass(frozen=True)
class Timing:
    """The seconds per call of each block, by its median; what they say is worked out when asked."""

    medians: tuple[float, ...]

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self.medians)

    @cached_property
    def seconds(self) -> MedianInterval:
        """The interval of block medians."""
        return stats.series_interval(self.medians)

    @property
    def half_width(self) -> float:
        """Of the interval, relative to the median."""
        return self.seconds.half_width

    @cached_property
    def autocorrelation(self) -> float:
        """Lag 1, between neighbouring blocks."""
        return stats.lag1_autocorrelation(self.medians)

    @cached_property
    def independent(self) -> int:
        """As how many independent blocks these count."""
        return stats.independent_values(self.medians)

    @cached_property
    def drift(self) -> Drift:
        """Whether calls become slower or faster from block to block."""
        return stats.drift(self.medians)


def of(measurement: Measurement) -> Timing:
    """The statistics of a measurement. Raises ValueError when it holds no block."""
    if not measurement.blocks:
        raise ValueError("no blocks, so no statistics")
    return Timing(tuple(block_medians(measurement.blocks)))


def known(seconds: MedianInterval, target: float) -> bool:
    """Whether an interval of blocks is as narrow as asked for, its half-width over the median.

    One of too few independent blocks spans them all; that is enough when a dozen of them lie within
    half of the target, since those that follow a slow drift are never independent.
    """
    if seconds.enough:
        return seconds.half_width <= target
    return seconds.count >= _CLOSE_BLOCKS and seconds.half_width <= target / 2


_CLOSE_BLOCKS = 12


def block_medians(blocks: Iterable[Block]) -> list[float]:
    """The median seconds per call of each block, in order."""
    return [stats.median(block.seconds) for block in blocks]


def bandwidth(measurement: Measurement) -> MedianInterval:
    """Bytes a second, by the bytes that the work states. Raises ValueError when it states none."""
    return rate(measurement, measurement.work.bytes, "bytes")


def throughput(measurement: Measurement) -> MedianInterval:
    """FLOP a second, by the operations the work states. Raises ValueError when it states none."""
    return rate(measurement, measurement.work.flops, "operations")


def wire_rate(measurement: Measurement) -> MedianInterval:
    """Bytes a second over the links. Raises ValueError when the work states none."""
    return rate(measurement, measurement.work.wire_bytes, "bytes on the wire")


def rate(measurement: Measurement, amount: float, what: str) -> MedianInterval:
    """`amount` of work per call over its time, as an interval turned upside down with it."""
    if amount <= 0:
        raise ValueError(f"{measurement.case.benchmark}: the work states no {what}")
    return of(measurement).seconds.under(amount)


def paired_ratio(ours: Measurement, theirs: Measurement) -> MedianInterval:
    """How many times as fast as `theirs` ours is, by the median ratio of blocks taken in turn.

    What drifts, such as the clock with heat, is the same in both blocks of a pair and cancels.

    Raises:
        ValueError: the two were not measured in turn, or do not do the same work.
    """
    if theirs.case.method not in ours.in_turn_with or ours.work != theirs.work:
        raise ValueError(f"{ours.case.method} was not measured in turn with {theirs.case.method}")
    pairs = zip(block_medians(theirs.blocks), block_medians(ours.blocks), strict=False)
    return stats.series_interval([slow / fast for slow, fast in pairs])


def energy_per_call(measurement: Measurement) -> float | None:
    """Joules a call, or None when the driver gave no energy counter.

    The counter is read once a block while the work runs, so from the first to the last reading it
    covers that time whole, idle moments between blocks included. Where methods took turns it
    counted all of them, and the power readings of this one's blocks stand in for it.
    """
    if not readings(measurement.blocks, "total_energy_j"):
        return None
    watts = power(measurement)
    counted = measurement.in_turn_with or _counter_span(measurement.blocks)
    return watts * of(measurement).seconds.mid if watts is not None and counted else None


def power(measurement: Measurement) -> float | None:
    """Watts on average: by the energy counter, else the median of the power readings, else None.

    Where methods took turns, block by block, the counter knows no difference between them; each
    block's power was read half-way through it.
    """
    span = None if measurement.in_turn_with else _counter_span(measurement.blocks)
    if span is not None:
        return span[0] / span[1]
    return reading(measurement.blocks, "power_w")


def reading(blocks: Iterable[Block], name: str) -> float | None:
    """The median of a numeric telemetry reading over blocks, or None when nobody gave it."""
    found = readings(blocks, name)
    return stats.median(found) if found else None


def readings(blocks: Iterable[Block], name: str) -> list[float]:
    """A numeric telemetry reading of each block that has it, in order."""
    values = (block.telemetry.get(name) for block in blocks)
    return [float(value) for value in values if isinstance(value, int | float)]


def waited(blocks: Sequence[Block]) -> float:
    """The share of the time for which threads of the host were ready to run and could not.

    0 where the kernel does not count it, or there is but one block.
    """
    ran, lost = (readings(blocks, name) for name in ("processor_s", "waiting_s"))
    if len(ran) < 2 or len(lost) < 2:
        return 0.0
    taken, delayed = max(0.0, ran[-1] - ran[0]), max(0.0, lost[-1] - lost[0])
    return delayed / (taken + delayed) if taken + delayed else 0.0


def held_back(blocks: Sequence[Block], name: str) -> float | None:
    """The share of the time for which the card was held back, by a counter of such seconds.

    `name` is "power", "thermal", "board" or "reliability"; None when the driver has no counter.
    """
    counted = readings(blocks, f"{name}_violation_s")
    moments = readings(blocks, "read_at_s")
    if len(counted) < 2 or len(counted) != len(moments) or moments[-1] <= moments[0]:
        return None
    return min(1.0, (counted[-1] - counted[0]) / (moments[-1] - moments[0]))


# The counter moves in steps of up to a tenth of a second; over less the quotient means little.
_LEAST_COUNTED_S = 0.3


def _counter_span(blocks: Sequence[Block]) -> tuple[float, float] | None:
    """(joules, seconds) between the first and last reading of the energy counter."""
    energy, moments = readings(blocks, "total_energy_j"), readings(blocks, "read_at_s")
    if len(energy) < 2 or len(energy) != len(moments):
        return None
    joules, seconds = energy[-1] - energy[0], moments[-1] - moments[0]
    return (joules, seconds) if joules > 0 and seconds >= _LEAST_COUNTED_S else None
