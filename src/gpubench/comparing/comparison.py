"""Two records, case by case: what differs between their machines, how much the second is faster,
and whether that is noise. What must not be compared is named with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gpubench import benchmarks
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord, case_key
from gpubench.stats import MedianInterval

MARGIN = 0.01
"""Rates this near to each other are called the same."""

PASSES = ("inference", "training_step")
"""Benchmarks of whole passes. They are no rates of a part, which two runs must reach alike, but one
that takes longer than it did is a regression."""

Outcome = Literal["same", "faster", "slower", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One case that both records measured whole, by the same version of its benchmark.

    `first` and `second` are seconds a call. `counts` is false for what is shown and is no rate that
    claims are judged by: copies over links, launches, sizes that a cache holds. Passes of a model
    are none either, though claims on serving and training are judged by them. `company` says of
    each what others did on its machine meanwhile, "" where it was alone.
    """

    name: str
    first: MedianInterval
    second: MedianInterval
    counts: bool
    is_pass: bool = False
    company: tuple[str, str] = ("", "")

    @property
    def faster(self) -> float:
        """How much faster the second is, as a share of the first: 0.01 is 1 %, −0.01 is slower."""
        return self.first.mid / self.second.mid - 1

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Least, middle and largest rate of the second over the first, by both intervals."""
        return (
            self.first.low / self.second.high,
            self.first.mid / self.second.mid,
            self.first.high / self.second.low,
        )

    @property
    def shows_a_fall(self) -> bool:
        """Whether a slower second would show: both have samples, which figures that some tools
        print have not, and the second was alone on its machine.
        """
        return self._has_samples and not self.company[1]

    @property
    def _has_samples(self) -> bool:
        return min(self.first.count, self.second.count) > 1

    def outcome(self, margin: float = MARGIN) -> Outcome:
        """Of the second beside the first: the same where the whole interval of the ratio lies
        within the margin, faster or slower where it lies on one side of 1 and its middle beyond the
        margin, and otherwise more than these intervals can tell. So is what looks slower where
        others took their share.
        """
        if not self._has_samples:
            return "cannot tell"
        low, middle, high = self.ratio
        if 1 - margin <= low and high <= 1 + margin:
            return "same"
        if low > 1 and middle > 1 + margin and not self.company[0]:
            return "faster"
        if high < 1 and middle < 1 - margin and not self.company[1]:
            return "slower"
        return "cannot tell"


@dataclass(frozen=True, slots=True)
class Refused:
    """A case that must not be compared, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact of the two environments that is not equal; "" where a record does not tell it."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """Two records side by side."""

    pairs: tuple[Pair, ...]
    refused: tuple[Refused, ...]


_NOT_SHOWN = ("seed", "imported_file", "imported_sha256")
# A machine's name or the card's number differ between any two machines, and are worth knowing all
# the same; what differs between any two runs is not.


def differences(one: RunRecord, other: RunRecord) -> tuple[Difference, ...]:
    """The facts of their environments that are not equal."""
    first = {"device": one.device, "suite": one.suite, **one.environment}
    second = {"device": other.device, "suite": other.suite, **other.environment}
    told = ((name, first.get(name, ""), second.get(name, "")) for name in {**first, **second})
    return tuple(
        Difference(name, here, there)
        for name, here, there in told
        if here != there and name not in _NOT_SHOWN
    )


def compare(one: RunRecord, other: RunRecord) -> Comparison:
    """Every case of both records, compared or refused, in the order of the first."""
    return Comparison(pairs(one, other), tuple(_refused(one, other)))


def pairs(one: RunRecord, other: RunRecord) -> tuple[Pair, ...]:
    """Every case that both records hold and that may be compared, in the order of the first."""
    found = _by_case(other)
    return tuple(
        Pair(
            key,
            timing.of(measured).seconds,
            timing.of(found[key]).seconds,
            benchmarks.is_evidence(measured.case),
            measured.case.benchmark in PASSES,
            (company(measured), company(found[key])),
        )
        for key, measured in _by_case(one).items()
        if key in found and not _why_not(measured, found[key])
    )


def _why_not(one: Measurement, other: Measurement) -> str:
    """Why two measurements of one case must not be compared; "" when they may."""
    if one.version != other.version:
        return f"measured by version {one.version} and by version {other.version} of its benchmark"
    for name, found in (("first", one), ("second", other)):
        for caution in found.cautions:
            if caution.code == "implausible":
                return f"implausible in the {name}: {caution.fact}"
    return ""


def company(found: Measurement) -> str:
    """What others did on the machine while a measurement was made; "" where it was alone."""
    return "; ".join(caution.fact for caution in found.cautions if caution.code == "shared")


def _refused(one: RunRecord, other: RunRecord) -> Iterator[Refused]:
    first, second = _by_case(one), _by_case(other)
    for key, measured in first.items():
        if key in second and (why := _why_not(measured, second[key])):
            yield Refused(key, why)
    for here, there, where in ((first, other, "second"), (second, one, "first")):
        absent = second if here is first else first
        for key in here:
            if key not in absent:
                yield Refused(key, _absent(key, there, where))


def _absent(key: str, record: RunRecord, where: str) -> str:
    if key in record.failures:
        return f"failed in the {where}: {record.failures[key]}"
    if any(case_key(m.case, m.phase) == key for m in record.measurements):
        return f"cut short in the {where}"
    return f"not in the {where}"


def _by_case(record: RunRecord) -> dict[str, Measurement]:
    return {case_key(m.case, m.phase): m for m in record.measurements if m.complete and m.blocks}
