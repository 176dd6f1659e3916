"""Evidence from records: what a device said of itself, and what was measured on it.

A sustained rate is evidence for the accelerator it was measured on. Where a claim compares with a
part that is not here, the measured rate is held against an estimate of the other's sustained rate,
and the evidence counts as an estimate: a chain is as strong as its weakest link.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
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
    # Within a limit of memory a part is another one, which only workloads can tell apart.
    records = tuple(each for each in records if not each.environment.get("memory_limit"))
    for record, quantity in itertools.product(records, claim.quantities):
        if record.accelerator not in claim.subjects:
            continue
        where = {
            **({"subject": record.accelerator} if len(claim.subjects) > 1 else {}),
            **({"quantity": quantity} if len(claim.quantities) > 1 else {}),
        }
        if not claim.baselines:
            yield from _reported(record, quantity, where)
            yield from _rates(record, quantity, where, claim)
        for baseline in claim.baselines:
            both = {**where, **({"baseline": baseline} if len(claim.baselines) > 1 else {})}
            yield from _over_estimate(record, quantity, baseline, both, catalogue)


def _reported(record: RunRecord, quantity: str, where: Mapping[str, Any]) -> Iterator[Evidence]:
    """What the driver reports. Memory is sold in GB and counted in GiB: both readings are given."""
    value = record.device_figures.get(quantity)
    if value is None:
        return
    readings: list[tuple[Mapping[str, Any], float]] = [(where, value)]
    if quantity == "memory_capacity":
        readings = [
            ({**where, "counting": "decimal"}, value),
            ({**where, "counting": "binary"}, value / 2**30 * 1e9),
        ]
    for conditions, found in readings:
        yield Evidence(
            kind="device",
            conditions=conditions,
            source=f"driver of {record.device}, record {record.id}",
            low=found,
            mid=found,
            high=found,
            unit=QUANTITIES[quantity].unit,
        )


def _rates(
    record: RunRecord, quantity: str, where: Mapping[str, Any], claim: Claim
) -> Iterator[Evidence]:
    """What was measured, one piece of evidence for each kernel, method and phase."""
    matrices = "sparsity" in QUANTITIES[quantity].conditions
    stated = claim.conditions.get("sparsity")
    wanted = (stated,) if stated else claim.sweep.get("sparsity", ("dense",))
    for found in _measurements(record, quantity):
        sparsity = benchmarks.sparsity(found.case)
        if matrices and sparsity not in wanted:
            continue
        rate = benchmarks.rate(found)
        faults = [c.fact for c in found.cautions if c.code == "implausible"]
        yield Evidence(
            kind="published" if record.suite == IMPORTED else "measured",
            conditions={
                **where,
                "rate": "sustained",
                **({"sparsity": sparsity} if matrices else {}),
                **({"direction": "both"} if quantity == "interconnect_bandwidth" else {}),
                "kernel": _kernel(found.case),
                "method": found.case.method,
                "phase": found.phase,
            },
            source=_source(record, rate.count),
            low=rate.low,
            mid=rate.mid,
            high=rate.high,
            unit=QUANTITIES[quantity].unit,
            assumptions=tuple(caution.fact for caution in found.cautions),
            missing=f"implausible: {faults[0]}" if faults else "",
        )


def _over_estimate(
    record: RunRecord,
    quantity: str,
    baseline: str,
    where: Mapping[str, Any],
    catalogue: Catalogue,
) -> Iterator[Evidence]:
    """The best rate measured here over what the other part should sustain."""
    sound = [
        found
        for found in _measurements(record, quantity)
        if not any(caution.code == "implausible" for caution in found.cautions)
    ]
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
        assumptions=(f"{other.name} is absent; its sustained rate is an estimate",),
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
