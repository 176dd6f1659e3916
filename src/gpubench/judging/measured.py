"""Evidence from records: what a device said of itself, and what was measured on it.

A sustained rate is evidence for the accelerator it was measured on. Where a claim compares with a
part that is not here, the measured rate is held against an estimate of the other's sustained rate,
and the evidence counts as an estimate: a chain is as strong as its weakest link.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpubench import benchmarks
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.errors import MissingFigure
from gpubench.measuring import timing
from gpubench.model import Case, Claim, Evidence, Measurement
from gpubench.quantities import QUANTITIES
from gpubench.records import IMPORTED, RunRecord
from gpubench.roofline import calibration, ceilings
from gpubench.units import Quantity, show
from gpubench.workloads import evidence as workloads


def from_records(
    claim: Claim, records: Iterable[RunRecord], catalogue: Catalogue
) -> Iterator[Evidence]:
    """Everything that records hold about the quantities of a claim's subjects."""
    records = tuple(records)
    yield from workloads.from_records(claim, records, catalogue)
    # A slice, or a part within a limit of memory, is another one than what claims are about.
    records = tuple(r for r in records if r.accelerator in claim.subjects and not r.piece)
    for (place, record), quantity in itertools.product(enumerate(records, 1), claim.quantities):
        where = {
            **({"subject": record.accelerator} if len(claim.subjects) > 1 else {}),
            **({"quantity": quantity} if len(claim.quantities) > 1 else {}),
        }
        if not claim.baselines:
            if _tells_news(record, quantity, records[place:]):
                yield from _reported(record, quantity, where, claim)
            yield from _rates(record, quantity, where, claim)
        for baseline in claim.baselines:
            both = {**where, **({"baseline": baseline} if len(claim.baselines) > 1 else {})}
            yield from _over_estimate(record, quantity, baseline, both, catalogue)


def _tells_news(record: RunRecord, quantity: str, later: Sequence[RunRecord]) -> bool:
    """Whether no later record tells what this one's driver reports: of this host, or the same."""
    value, host = record.device_figures.get(quantity), record.environment.get("hostname")
    return not any(
        quantity in other.device_figures
        and other.accelerator == record.accelerator
        and (other.device_figures[quantity] == value or other.environment.get("hostname") == host)
        for other in later
    )


def _reported(
    record: RunRecord, quantity: str, where: Mapping[str, Any], claim: Claim
) -> Iterator[Evidence]:
    """What the driver reports, which of rates is the peak."""
    value = record.device_figures.get(quantity)
    if value is None:
        return
    depends = QUANTITIES[quantity].conditions
    if "rate" in depends and "peak" not in _wanted(claim, "rate", "peak"):
        return
    peak = {"rate": "peak"} if "rate" in claim.sweep and "rate" in depends else {}
    for told, found in _readings(quantity, value, claim):
        conditions = {**where, **peak, **told}
        yield Evidence(
            kind="device",
            conditions=conditions,
            source=f"driver of {record.device}, record {record.id}",
            low=found,
            mid=found,
            high=found,
            unit=QUANTITIES[quantity].unit,
        )


def _readings(
    quantity: str, value: float, claim: Claim
) -> Iterator[tuple[Mapping[str, Any], float]]:
    """What a figure may mean, with the conditions that tell one meaning from another.

    Memory is sold in GB and counted in GiB. Of links the driver's figure is that of both directions
    added, and each has half of it.
    """
    if quantity == "memory_capacity":
        yield {"counting": "decimal"}, value
        yield {"counting": "binary"}, value / 2**30 * 1e9
    elif quantity == _LINKS:
        for direction in _wanted(claim, "direction", "both"):
            told = {"direction": direction} if "direction" in claim.sweep else {}
            yield told, value * _SHARES[direction]
    else:
        yield {}, value


_LINKS = "interconnect_bandwidth"
_SHARES = {"both": 1.0, "one-way": 0.5}


def _wanted(claim: Claim, name: str, unsaid: str) -> tuple[Any, ...]:
    """The values of a condition that a claim is about."""
    return claim.sweep.get(name) or (claim.conditions.get(name, unsaid),)


def _rates(
    record: RunRecord, quantity: str, where: Mapping[str, Any], claim: Claim
) -> Iterator[Evidence]:
    """What was measured, one piece of evidence for each kernel, method and phase."""
    matrices = "sparsity" in QUANTITIES[quantity].conditions
    wanted = _wanted(claim, "sparsity", "dense")
    directions = _wanted(claim, "direction", "both") if quantity == _LINKS else ("",)
    for found, direction in itertools.product(_measurements(record, quantity), directions):
        sparsity = benchmarks.sparsity(found.case)
        if matrices and sparsity not in wanted:
            continue
        rate = benchmarks.rate(found).times(_SHARES.get(direction, 1.0))
        yield Evidence(
            kind="published" if record.suite == IMPORTED else "measured",
            conditions={
                **where,
                "rate": "sustained",
                **({"sparsity": sparsity} if matrices else {}),
                **({"direction": direction} if direction else {}),
                "kernel": _kernel(found.case),
                "method": found.case.method,
                "phase": found.phase,
            },
            source=_source(record, rate.count),
            low=rate.low,
            mid=rate.mid,
            high=rate.high,
            unit=QUANTITIES[quantity].unit,
            assumptions=(
                *(caution.fact for caution in found.cautions),
                *record.standing,
                *((_HALVED,) if direction == "one-way" else ()),
            ),
            missing=record.fault(found),
        )


_HALVED = "one way: half of both directions at once"


def _over_estimate(
    record: RunRecord,
    quantity: str,
    baseline: str,
    where: Mapping[str, Any],
    catalogue: Catalogue,
) -> Iterator[Evidence]:
    """The best rate measured here over what the other part should sustain."""
    sound = [found for found in _measurements(record, quantity) if record.speaks(found)]
    if record.suite == IMPORTED or quantity != "memory_bandwidth" or not sound:
        return
    best = max((timing.bandwidth(found) for found in sound), key=lambda rate: rate.mid)
    other = catalogue.accelerators[baseline]
    try:
        rates = sorted(
            ceilings.memory_rate(other, parameters)
            for parameters in (calibration.load().mid, *calibration.load().varied("memory"))
        )
    except MissingFigure as error:
        yield Evidence("estimated", where, "", missing=str(error))
        return
    middle = ceilings.memory_rate(other, calibration.load().mid)
    measured, estimated = (show(Quantity(rate, "B/s")) for rate in (best.mid, middle))
    yield Evidence(
        kind="estimated",
        conditions={**where, "rate": "sustained"},
        source=f"{measured} measured (record {record.id}) over {estimated} estimated",
        low=best.low / rates[-1],
        mid=best.mid / middle,
        high=best.high / rates[0],
        unit="1",
        binding_limit="memory bandwidth",
        assumptions=(
            f"{other.name} is absent; its sustained rate is an estimate",
            *record.standing,
        ),
        error="the interval spans the measured one and the calibrated share of memory bandwidth",
    )


def _source(record: RunRecord, blocks: int) -> str:
    """Where a rate comes from: a record of ours, or another tool's file."""
    if record.suite != IMPORTED:
        return f"record {record.id}, {blocks} blocks"
    told = record.environment
    return (
        f"{told.get('imported_from', 'another tool')}, {told.get('imported_file', 'a file')} "
        f"(SHA-256 {told.get('imported_sha256', '')[:12]}), record {record.id}"
    )


def _kernel(case: Case) -> str:
    """What tells a case from the others of its method: a pattern, two ends, or a shape."""
    p = case.parameters
    if "pattern" in p:
        return str(p["pattern"])
    if "source" in p:
        return f"copies {collectives.ends(p)}"
    if all(name in p for name in "mnk"):
        return f"{p['m']} × {p['n']} × {p['k']}"
    return ", ".join(f"{name} {value}" for name, value in p.items())  # of another version


def _measurements(record: RunRecord, quantity: str) -> Iterator[Measurement]:
    """What finds a figure of a part; what finds a rate of some work is told by `workloads`."""
    if QUANTITIES[quantity].via == "estimate":
        return
    for found in record.measurements:
        if (
            found.blocks
            and quantity == benchmarks.quantity(found.case)
            and benchmarks.is_evidence(found.case)
        ):
            yield found
