"""Our rates beside another tool's on the same machine, figure by figure.

Tools cut their cases differently: BabelStream's arrays have another length, nvbandwidth copies
512 MiB. What they measure is the same all the same: a pattern, a direction, a collective over so
many ranks. Of each the best of either record is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpubench import benchmarks
from gpubench.benchmarks import collectives
from gpubench.comparing import comparison
from gpubench.model import Case, Measurement
from gpubench.records import RunRecord, parameters_of
from gpubench.units import Quantity, show

OURS = "gpubench"


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure that both records hold, such as "triad", and the fastest measurement of each."""

    what: str
    first: Measurement
    second: Measurement

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Least, middle and largest rate of the second over the first, by both intervals; what a
        tool prints without samples has none.
        """
        one, other = benchmarks.rate(self.first), benchmarks.rate(self.second)
        return other.low / one.high, other.mid / one.mid, other.high / one.low

    @property
    def company(self) -> tuple[str, str]:
        """What others did meanwhile on the machine of each; "" where it was alone."""
        return comparison.company(self.first), comparison.company(self.second)

    def apart(self, within: float) -> bool:
        """Whether the rates differ by more than that share."""
        return abs(self.ratio[1] - 1) > within

    def below(self, by: float) -> bool:
        """Whether the second is slower by more than that share, beyond the intervals, and not for
        what others took.
        """
        _, middle, high = self.ratio
        return high < 1 and middle < 1 - by and not self.company[1]


def tool(record: RunRecord) -> str:
    """What made a record: "babelstream", or "gpubench"."""
    return record.tool or OURS


def beside(one: RunRecord, other: RunRecord) -> tuple[Beside, ...]:
    """Every figure that both records hold, in the order of the first."""
    first, second = dict(_fastest(one)), dict(_fastest(other))
    return tuple(Beside(what, first[what], second[what]) for what in first if what in second)


def missing(one: RunRecord, other: RunRecord) -> dict[str, str]:
    """The figures of the first that the second lacks, with why it does: a fault or a failure, or ""
    for what nobody asked of it.
    """
    there = {what for what, _ in _fastest(other)}
    faults = {_what(found.case): why for found in other.measurements if (why := other.fault(found))}
    return {
        what: faults.get(what) or _failure(what, other)
        for what, _ in _fastest(one)
        if what not in there
    }


def _failure(what: str, record: RunRecord) -> str:
    """Why a figure is not in a record, where a case of it failed."""
    return next((why for case, why in record.failures.items() if _is_of(case, what)), "")


def _is_of(case: str, what: str) -> bool:
    """Whether a failed case, which is told in words, is one of a figure."""
    told = parameters_of(case)
    if "pattern" in told:
        return told["pattern"] == what
    if "direction" in told:
        return f"copy {told['direction']}" == what
    if "collective" in told and "bytes" in told:
        size = show(Quantity(float(told["bytes"]), "B"))
        return what.startswith(f"{told['collective']} of {size} over {told.get('ranks')} ranks")
    return False


def _fastest(record: RunRecord) -> Iterator[tuple[str, Measurement]]:
    """(what, its fastest measurement) of all that says something of the part."""
    found: dict[str, list[Measurement]] = {}
    for measured in record.measurements:
        if (what := _what(measured.case)) and record.speaks(measured):
            found.setdefault(what, []).append(measured)
    for what, alike in found.items():
        yield what, max(alike, key=lambda each: benchmarks.rate(each).mid)


def _what(case: Case) -> str:
    """What a case measures, whichever tool does; "" for what only one tool knows."""
    p = case.parameters
    if case.benchmark == "bandwidth":
        return str(p["pattern"])
    if case.benchmark == "host_copy":
        return f"copy {p['direction']}"
    if case.benchmark != "collectives":
        return ""
    if p["collective"] == collectives.PAIR:
        return f"copy {collectives.ends(p)}" if "source" in p else ""
    where = f"{p['ranks']} ranks" + (f" on {p['hosts']} hosts" if p["hosts"] > 1 else "")
    return f"{p['collective']} of {show(Quantity(p['bytes'], 'B'))} over {where}"
