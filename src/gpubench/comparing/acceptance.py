"""Whether a machine gives what its part should: the best measured rates beside what others reached.

For each figure that is known how near to its peak a sound part comes, there is a least rate: what
others sustained on that part, less a tolerance, or else the least share of the data sheet's peak
that good kernels reach (`quantities.ACHIEVABLE`). An interval on both sides of it decides nothing.

A GPU and a link are as good as the best that was measured of them, and a machine as good as the
worst of its GPUs and links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gpubench import benchmarks
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.model import Accelerator, Measurement
from gpubench.quantities import ACHIEVABLE, QUANTITIES
from gpubench.records import RunRecord, parameters_of
from gpubench.roofline import ceilings
from gpubench.stats import MedianInterval
from gpubench.units import Quantity, show

Outcome = Literal["pass", "fail", "unsure", "not measured"]

ALL_REDUCE, IN_SWITCH = "all_reduce_bus_bandwidth", "all_reduce_in_switch"
"""What an all-reduce over a node's devices moves, as nccl-tests counts it: as a ring does it, and
where the switch adds up, which is faster and which a wrong setting turns off without a word.
"""

_LEAST_BYTES = {ALL_REDUCE: 2**28, IN_SWITCH: 2**32}
# From here on they are within some percent of their best.

TOLERANCE = 0.05
"""What a sound machine may lack of the best that others sustained on its part."""


@dataclass(frozen=True, slots=True)
class Least:
    """The rate a sound part reaches at the least, in SI, and why."""

    rate: float
    because: str


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of a part: the least rate, the one measured and what that says.

    `cautions` are the facts that its measurement carries, such as a throttled clock. `worst_of`
    says how many GPUs, links or records the rate is the worst of.
    """

    figure: str
    least: Least
    outcome: Outcome
    rate: MedianInterval | None = None
    found: Measurement | None = None
    cautions: tuple[str, ...] = ()
    worst_of: str = ""


def accept(
    records: Iterable[RunRecord],
    part: Accelerator,
    catalogue: Catalogue,
    tolerance: float = TOLERANCE,
) -> tuple[Check, ...]:
    """Every figure of a part of which a least rate is known, with what records hold of it."""
    records = tuple(records)
    return tuple(
        _checked(figure, least, records)
        for figure in (*ACHIEVABLE, ALL_REDUCE, IN_SWITCH)
        if (least := least_rate(figure, part, catalogue, tolerance))
    )


def wrong_answers(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """What was computed or moved, and not rightly: a machine that does so is fit for nothing.

    Kernels of ours that this version of triton spoils are none of the machine's faults.
    """
    return tuple(
        f"{case}: {why}"
        for record in records
        for case, why in record.wrong.items()
        if " triton " not in f" {case} "
    )


def least_rate(
    figure: str, part: Accelerator, catalogue: Catalogue, tolerance: float = TOLERANCE
) -> Least | None:
    """What a sound part sustains of a figure at the least; None where nothing is known of it.

    An all-reduce is held against links in one direction, all else against both.
    """
    if figure == IN_SWITCH:
        return _in_switch(part, catalogue, tolerance)
    name, direction, half = figure, "both", 1.0
    if figure == ALL_REDUCE:
        if ceilings.joined_devices(part) < ceilings.NODE_DEVICES:
            return None  # links join pairs, and what joins those is another matter
        name, direction, half = "interconnect_bandwidth", "one-way", 0.5
    others = [
        finding
        for finding in catalogue.published(name, part.id)
        if finding.conditions.get("rate") == "sustained"
        and finding.conditions.get("sparsity", "dense") == "dense"
        and finding.conditions.get("direction", "both") == direction
    ]
    if others:
        best = max(others, key=lambda finding: finding.low)
        reached = show(Quantity(best.low, best.unit))
        words = f"{_percent(1 - tolerance)} of the {reached} that others reached ({best.how})"
        return Least((1 - tolerance) * best.low, words)
    peak = part.figures.get(name)
    if peak is None or not isinstance(peak.value, Quantity) or not peak.value.value:
        return None
    share, rated = ACHIEVABLE[name], show(peak.value * half)
    one_way = " one way" if direction == "one-way" else ""
    words = f"{_percent(share.floor)} of the data sheet's {rated}{one_way}: {share.because}"
    return Least(share.floor * half * peak.value.value, words)


def _in_switch(part: Accelerator, catalogue: Catalogue, tolerance: float) -> Least | None:
    """What a node's switch moves at the least, by the times that others took."""
    node = ceilings.NODE_DEVICES
    taken = {
        ceilings.ring_factor(node) * finding.conditions["message"] / finding.high: finding
        for finding in catalogue.published("all_reduce_time", part.id)
        if finding.conditions.get("reduction") == "in-switch"
        and finding.conditions.get("gpus") == node
        and finding.conditions["message"] >= _LEAST_BYTES[IN_SWITCH]
    }
    if not taken:
        return None
    best = max(taken)
    reached, sent = show(Quantity(best, "B/s")), taken[best].conditions["message"] / 2**30
    words = f"{_percent(1 - tolerance)} of the {reached} that others reached"
    how = f"{sent:.3g} GiB over {node} devices, added up in the switch"
    return Least((1 - tolerance) * best, f"{words} ({how})")


def _checked(figure: str, least: Least, records: Sequence[RunRecord]) -> Check:
    told = [
        (record, found)
        for record in records
        for found in record.measurements
        if _tells(figure, found)
    ]
    rated = [
        _Rated(benchmarks.rate(found), found, *_place(record, found))
        for record, found in told
        if record.speaks(found)
    ]
    left_out = _left_out([fault for record, found in told if (fault := record.fault(found))])
    if not rated:
        return Check(figure, least, "not measured", cautions=left_out)
    judged, worst_of = _judged(rated)
    rate, found = judged.rate, judged.found
    silent = _silent(rated, records) if judged.kind == "GPUs" else ()
    facts = (*(caution.fact for caution in found.cautions), *left_out, *silent)
    outcome: Outcome = "unsure"
    if rate.low >= least.rate:
        outcome = "pass"
    elif rate.high < least.rate:
        outcome = "fail"
    if outcome == "pass" and silent:
        outcome = "unsure"
    here = [one for one in rated if (one.tool, one.which) == (judged.tool, judged.which)]
    if outcome == "fail" and figure == "memory_bandwidth" and not _reads_alone(here):
        outcome, facts = "unsure", (*facts, "nothing here only reads, which is fastest")
    return Check(figure, least, outcome, rate, found, facts, worst_of)


@dataclass(frozen=True, slots=True)
class _Rated:
    """A rate, by which tool, and of which GPU, link or record of those that the tool measured."""

    rate: MedianInterval
    found: Measurement
    tool: str
    kind: str
    which: str


def _place(record: RunRecord, found: Measurement) -> tuple[str, str, str]:
    """By which tool, of what kind and which one of that a measurement is.

    Another tool's record does not say where it was made: each of several may be of another GPU.
    """
    p = found.case.parameters
    if p.get("collective", collectives.PAIR) != collectives.PAIR:
        return record.tool, "records", ""  # of all devices together
    if p.get("collective") == collectives.PAIR and "source" in p:
        return record.tool, "links", f"the link {collectives.ends(p)}"
    if "gpu" in p:
        return record.tool, "GPUs", f"GPU {p['gpu']}"
    if record.tool:
        return record.tool, "records", f"record {record.id}"
    return record.tool, "GPUs", record.environment.get("gpu_uuid", "")


def _silent(rated: Iterable[_Rated], records: Iterable[RunRecord]) -> tuple[str, ...]:
    """The GPUs of a host of which this figure is not known, while others are."""
    there = {gpu for record in records if not record.tool for gpu in _gpus(record)}
    return tuple(f"{gpu} was not measured" for gpu in sorted(there - {one.which for one in rated}))


def _gpus(record: RunRecord) -> Iterator[str]:
    """Each GPU of a host by which cases are told apart, those that failed among them."""
    cases = (found.case.parameters for found in record.measurements)
    for told in (*cases, *map(parameters_of, record.failures)):
        if "gpu" in told:
            yield f"GPU {told['gpu']}"


def _judged(rated: Iterable[_Rated]) -> tuple[_Rated, str]:
    """The rate that tells, and what it is the worst of: of each place the best, of a tool's places
    the worst, and of tools that looked at as many the one that got most out of them.
    """
    tools: dict[str, dict[str, _Rated]] = {}
    for one in rated:
        places = tools.setdefault(one.tool, {})
        places[one.which] = max(places.get(one.which, one), one, key=lambda each: each.rate.mid)
    worst = {tool: min(p.values(), key=lambda each: each.rate.mid) for tool, p in tools.items()}
    most = max(map(len, tools.values()))
    whole = [one for tool, one in worst.items() if len(tools[tool]) == most]
    judged = max(whole, key=lambda each: each.rate.mid)
    among = len(tools[judged.tool])
    return judged, f"{judged.which}, the worst of {among} {judged.kind}" if among > 1 else ""


def _left_out(faults: Sequence[str]) -> tuple[str, ...]:
    """That some of a figure was measured and does not count, and why."""
    if not faults:
        return ()
    return (f"{len(faults)} of the measurements do not count: {'; '.join(dict.fromkeys(faults))}",)


def _reads_alone(rated: Iterable[_Rated]) -> bool:
    """Whether memory was only read somewhere, as where others reached most."""
    return any(one.found.case.parameters.get("pattern") in _READS for one in rated)


_READS = ("read", "dot")


def _tells(figure: str, found: Measurement) -> bool:
    """Whether a measurement's rate is one of the figure: of an all-reduce, that of a whole node and
    of a message so large that latency does not count.
    """
    if figure not in _LEAST_BYTES:
        return benchmarks.is_evidence(found.case) and benchmarks.figure(found.case) == figure
    p = found.case.parameters
    node = p.get("hosts") == 1 and p.get("ranks") == ceilings.NODE_DEVICES
    return p.get("collective") == "all_reduce" and node and p["bytes"] >= _LEAST_BYTES[figure]


def unit(figure: str) -> str:
    """The SI unit of a figure's rates."""
    return "B/s" if figure in _LEAST_BYTES else QUANTITIES[figure].unit


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
