"""Many GPUs and hosts: one record a host, and which of them are slower than the rest.

A GPU is called slow when its rate lies far below the median of all, counted in units of their
spread, and more than a tenth below the best: the first alone would name the last of a fleet that is
all but equal, the second alone one that varies anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from gpubench import stats
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
    return tuple(_host(list(group)) for _, group in groupby(ordered, key=lambda one: one[0]))


def _host(ranks: Sequence[tuple[int, int, RunRecord]]) -> RunRecord:
    first = ranks[0][2]
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
            parameters = {k: v for k, v in found.case.parameters.items() if k != GPU}
            key = case_key(replace(found.case, parameters=parameters), found.phase)
            cases.setdefault(key, []).append((record, f"GPU {gpu}", _rate(found)))
            units[key] = _unit(found)
    return [one for key, rated in cases.items() for one in _below(rated, key, units[key])]


def _slow_pairs(records: Sequence[RunRecord]) -> list[Slow]:
    found = []
    for record in records:
        kinds: dict[str, list[_Rated]] = {}
        for measured in _whole(record):
            p = measured.case.parameters
            if p.get("collective") != collectives.PAIR:
                continue
            what = f"the link between ranks {p['source']} and {p['target']}"
            ways = "one direction" if p["directions"] == 1 else "both directions"
            kind = f"copies of {show(Quantity(p['bytes'], 'B'))} in {ways}"
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
    """Work a second; calls a second where the work is the call."""
    work = found.work
    amount = work.flops or work.bytes or work.wire_bytes or 1.0
    return amount / timing.of(found).seconds.mid


def _unit(found: Measurement) -> str:
    if found.work.flops:
        return "FLOP/s"
    return "B/s" if found.work.bytes or found.work.wire_bytes else "1/s"
