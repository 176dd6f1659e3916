"""Many GPUs and hosts: one record a host, and which of them are slower than the rest.

A GPU is called slow when its rate lies far below the median of all, counted in units of their
spread, and more than a tenth below the best: the first alone would name the last of a fleet that is
all but equal, the second alone one that varies anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from gpubench import benchmarks, stats
from gpubench.benchmarks import collectives
from gpubench.measuring import timing
from gpubench.model import Case, Caution, Measurement
from gpubench.records import RunRecord, case_key
from gpubench.units import Quantity, show

GPU = "gpu"
"""The parameter of a case that tells which device of its host was measured."""

SPREADS, BELOW_BEST, FEWEST = 3.5, 0.10, 3
"""When a rate is slow: so many spreads below the median, and by that share below the best, among
at least so many. A spread is 1.4826 median absolute deviations, which for normal data is the
standard deviation; 3.5 is what Iglewicz and Hoaglin advise ("How to Detect and Handle Outliers",
1993)."""


@dataclass(frozen=True)
class Slow:
    """What is slow: the record of its host, what, in which case, its rate over the median."""

    record: str
    what: str
    case: str
    of_median: float
    fact: str


def merged(ranks: Sequence[tuple[int, int, RunRecord]]) -> tuple[RunRecord, ...]:
    """One record a host from (host, local rank, record) of every rank, in the order of hosts.

    A case of a host with several ranks gets the parameter "gpu".
    """
    ordered = sorted(ranks, key=lambda one: one[:2])
    hosts = [list(group) for _, group in groupby(ordered, key=lambda one: one[0])]
    return tuple(_host(each, len(hosts)) for each in hosts)


def _host(ranks: Sequence[tuple[int, int, RunRecord]], hosts: int) -> RunRecord:
    first = ranks[0][2]
    told = {"ranks": str(len(ranks)), "host": f"{ranks[0][0] + 1} of {hosts}"}
    first = replace(first, environment={**first.environment, **told})
    if len(ranks) == 1:
        return first
    cautions = dict.fromkeys(caution for _, _, record in ranks for caution in record.cautions)
    return replace(
        first,
        measurements=tuple(
            replace(found, case=_on(found.case, gpu))
            for _, gpu, record in ranks
            for found in record.measurements
        ),
        failures={
            f"{key} {GPU}={gpu}": why
            for _, gpu, record in ranks
            for key, why in record.failures.items()
        },
        cautions=tuple(cautions),
        complete=all(record.complete for _, _, record in ranks),
    )


def _on(case: Case, gpu: int) -> Case:
    return replace(case, parameters={**case.parameters, GPU: gpu})


# --------------------------------------------------------------------------- who is slow


def slow(records: Sequence[RunRecord]) -> tuple[Slow, ...]:
    """The GPUs and links of these hosts that are slower than their like, slowest first."""
    found = [*_slow_devices(records), *_slow_pairs(records)]
    return tuple(sorted(found, key=lambda one: one.of_median))


@dataclass(frozen=True)
class Standing:
    """A record among others: its rates over the medians of all, their median and the least, and in
    which case that was. `cases` counts those that at least one other record holds.
    """

    record: RunRecord
    cases: int
    median: float
    least: float
    case: str


def standings(records: Sequence[RunRecord]) -> tuple[Standing, ...]:
    """How each record stands among all, those furthest below first."""
    rates: dict[str, dict[str, list[float]]] = {}
    for record in records:
        for found in _whole(record):
            if _is_watched(found.case):
                rates.setdefault(_like(found), {}).setdefault(record.id, []).append(_rate(found))
    shared = {case: by for case, by in rates.items() if len(by) > 1}
    middles = {
        case: stats.median([rate for each in by.values() for rate in each])
        for case, by in shared.items()
    }
    found_all = [_standing(record, shared, middles) for record in records]
    return tuple(sorted(found_all, key=lambda each: each.least))


def _standing(
    record: RunRecord,
    shared: Mapping[str, Mapping[str, Sequence[float]]],
    middles: Mapping[str, float],
) -> Standing:
    shares = [
        (min(by[record.id]) / middles[case], case) for case, by in shared.items() if record.id in by
    ]
    if not shares:
        return Standing(record, 0, 1.0, 1.0, "no case in common")
    least, case = min(shares)
    return Standing(record, len(shares), stats.median([s for s, _ in shares]), least, case)


@dataclass(frozen=True)
class Step:
    """One case of one machine over time, as rates in `unit`: the first, the newest, the one before
    that, the best.
    """

    case: str
    count: int
    unit: str
    first: float
    before: float
    last: float
    best: float


def history(records: Sequence[RunRecord]) -> tuple[Step, ...]:
    """Every case that at least two of these records hold; they are of one machine, oldest first."""
    cases: dict[str, list[tuple[float, str]]] = {}
    for record in records:
        for found in _whole(record):
            if _is_watched(found.case):
                key = case_key(found.case, found.phase)
                cases.setdefault(key, []).append((_rate(found), _unit(found)))
    return tuple(
        Step(
            case=key,
            count=len(rated),
            unit=rated[-1][1],
            first=rated[0][0],
            before=rated[-2][0],
            last=rated[-1][0],
            best=max(rate for rate, _ in rated),
        )
        for key, rated in cases.items()
        if len(rated) > 1
    )


_WATCHED = ("collectives", "inference", "training_step")


def _is_watched(case: Case) -> bool:
    """Whether a machine is told by it: rates of the part, links and passes of models."""
    return benchmarks.is_evidence(case) or case.benchmark in _WATCHED


def _like(found: Measurement) -> str:
    """What measurements of several GPUs have in common: all but the GPU."""
    parameters = {k: v for k, v in found.case.parameters.items() if k != GPU}
    return case_key(replace(found.case, parameters=parameters), found.phase)


def marked(records: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """The records, each with a caution for whatever is slow on its host."""
    found = slow(records)
    remedy = "look at its clocks, temperature, other processes and links, or return it"
    return tuple(
        replace(
            record,
            cautions=(
                *record.cautions,
                *(Caution("slow", one.fact, remedy) for one in found if one.record == record.id),
            ),
        )
        for record in records
    )


def name(record: RunRecord) -> str:
    """What a host is called: its hostname, or the record's id where that was kept out."""
    return record.environment.get("hostname", "") or record.id


_Rated = tuple[RunRecord, str, float]  # of which host, what of it, rate


def _slow_devices(records: Sequence[RunRecord]) -> list[Slow]:
    cases: dict[str, list[_Rated]] = {}
    units: dict[str, str] = {}
    for record in records:
        for found in _whole(record):
            if found.case.benchmark == "collectives":
                continue
            gpu = found.case.parameters.get(GPU, 0)
            key = _like(found)
            cases.setdefault(key, []).append((record, f"GPU {gpu}", _rate(found)))
            units[key] = _unit(found)
    return [one for key, rated in cases.items() for one in _below(rated, key, units[key])]


def _slow_pairs(records: Sequence[RunRecord]) -> list[Slow]:
    found = []
    for record in records:
        kinds: dict[str, list[_Rated]] = {}
        for measured in _whole(record):
            p = measured.case.parameters
            if p.get("collective") != collectives.PAIR or "source" not in p:
                continue
            hosts = p.get("hosts", 1)
            one, other = (p[e] * hosts // p.get("ranks", 1) for e in ("source", "target"))
            alone = p["directions"] == 1
            what, where = f"the link {collectives.ends(p)}", ""
            if hosts > 1:  # links inside a host and between hosts are no peers
                where = "inside a host " if one == other else "between hosts "
                joined = f"{one + 1} {'to' if alone else 'and'} {other + 1}"
                what += f" (host {one + 1})" if one == other else f" (hosts {joined})"
            ways = "one direction" if alone else "both directions"
            kind = f"copies {where}of {show(Quantity(p['bytes'], 'B'))} in {ways}"
            kinds.setdefault(kind, []).append((record, what, _rate(measured)))
        found += [one for kind, rated in kinds.items() for one in _below(rated, kind, "B/s")]
    return found


def _below(rated: Sequence[_Rated], case: str, unit: str) -> list[Slow]:
    rates = [rate for _, _, rate in rated]
    if len(rates) < FEWEST:
        return []
    middle, best = stats.median(rates), max(rates)
    spread = 1.4826 * stats.mad(rates)
    return [
        Slow(
            record.id,
            what,
            case,
            rate / middle,
            f"{what} of {name(record)} is slow: {show(Quantity(rate, unit))} in {case}, "
            f"{rate / middle:.0%} of the median of {len(rates)} and {rate / best:.0%} of the best",
        )
        for record, what, rate in rated
        if middle - rate > SPREADS * spread and rate < (1 - BELOW_BEST) * best
    ]


def _whole(record: RunRecord) -> list[Measurement]:
    return [found for found in record.measurements if found.complete and found.blocks]


def _rate(found: Measurement) -> float:
    return benchmarks.amount(found)[0] / timing.of(found).seconds.mid


def _unit(found: Measurement) -> str:
    return benchmarks.amount(found)[1]
