"""Two records, case by case: how much the second differs, and whether that is noise."""

from __future__ import annotations

from dataclasses import dataclass

from gpubench import benchmarks
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord, case_key
from gpubench.stats import MedianInterval


@dataclass(frozen=True, slots=True)
class Pair:
    """One case that both records measured whole, by the same version of its benchmark.

    `first` and `second` are seconds a call. `counts` is false for what is shown and judges nothing,
    since no claim is judged by it: copies over links, launches, sizes that a cache holds.
    """

    name: str
    first: MedianInterval
    second: MedianInterval
    counts: bool

    @property
    def faster(self) -> float:
        """How much faster the second is, as a share of the first: 0.01 is 1 %, −0.01 is slower."""
        return self.first.mid / self.second.mid - 1

    @property
    def apart(self) -> bool:
        """Whether the two intervals do not touch."""
        return self.first.high < self.second.low or self.second.high < self.first.low


def pairs(one: RunRecord, other: RunRecord) -> tuple[Pair, ...]:
    """Every case that both records hold, in the order of the first."""
    found = _by_case(other)
    return tuple(
        Pair(
            key[0],
            timing.of(measured).seconds,
            timing.of(found[key]).seconds,
            benchmarks.is_evidence(measured.case),
        )
        for key, measured in _by_case(one).items()
        if key in found
    )


def _by_case(record: RunRecord) -> dict[tuple[str, int], Measurement]:
    return {
        (case_key(m.case, m.phase), m.version): m
        for m in record.measurements
        if m.complete and m.blocks
    }
