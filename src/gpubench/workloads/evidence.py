"""Measured passes as evidence, under the conditions they were measured in and no others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpubench import benchmarks, roofline
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotEstimate, MissingFigure, UnknownName
from gpubench.model import Claim, Evidence
from gpubench.quantities import QUANTITIES
from gpubench.records import RunRecord
from gpubench.stats import MedianInterval
from gpubench.workloads import figures, training
from gpubench.workloads.figures import Pass

QUANTITIES_HERE = (
    "inference_throughput",
    "time_to_first_token",
    "time_per_output_token",
    "energy_per_token",
    "max_sequences",
    "training_throughput",
    "hpc_throughput",
)
"""What measured passes can say something about."""


@dataclass(frozen=True)
class Figure:
    """A measured value of a quantity, SI, with the conditions of its measurement."""

    quantity: str
    conditions: Mapping[str, Any]
    low: float
    mid: float
    high: float
    blocks: int
    remarks: tuple[str, ...] = ()


def from_records(
    claim: Claim, records: Iterable[RunRecord], catalogue: Catalogue
) -> Iterator[Evidence]:
    """What records hold about a claim on a workload.

    A claim about one part is held against what was measured on it. One that compares two is held
    against both if both were measured under the same conditions, else what was measured on one is
    compared with the estimate of the other, and counts as an estimate.
    """
    wanted = [name for name in claim.quantities if name in QUANTITIES_HERE]
    # A run of some benchmarks leaves the others to older records of the same part.
    held: dict[str, list[RunRecord]] = {}
    for record in records:
        if not record.piece:
            held.setdefault(record.accelerator, []).append(record)
    for quantity, subject in itertools.product(wanted, claim.subjects):
        where = {
            **({"subject": subject} if len(claim.subjects) > 1 else {}),
            **({"quantity": quantity} if len(claim.quantities) > 1 else {}),
        }
        fitting = [
            (record, found)
            for record in held.get(subject, ())
            for found in of(record, quantity)
            if _fits(claim, found.conditions)
        ]
        if not claim.baselines:
            yield from (_alone(record, found, where) for record, found in fitting)
        for baseline, (record, found) in itertools.product(claim.baselines, fitting):
            both = {**where, **({"baseline": baseline} if len(claim.baselines) > 1 else {})}
            if same := _same(found, held.get(baseline, ())):
                yield _ratio(record, found, *same, both)
            else:
                yield from _over_estimate(record, found, baseline, both, catalogue)


def of(record: RunRecord, quantity: str) -> Iterator[Figure]:
    """Every figure of a quantity that a record holds."""
    if quantity == "training_throughput":
        for job in training.jobs(record):
            conditions = {**job.conditions, "gpus": 1}
            yield _figure(quantity, conditions, job.rate, _remarks_of(job.measurement))
        return
    if quantity == _RATE:
        yield from _kernels(record)
        return
    found = figures.fastest(figures.passes(record))
    if quantity == "inference_throughput":
        for one in found:
            yield _figure(quantity, _conditions(one, one.phase), one.rate, _remarks(one))
        for each in figures.servings(record):
            remarks = (*_remarks(each.prefill), *_remarks(each.step), _TURNS)
            yield _figure(quantity, _conditions(each.step, "serving"), each.rate, remarks)
    elif quantity == "energy_per_token":
        for one in found:
            if one.joules is not None:
                joules = one.seconds.times(one.joules / one.seconds.mid)
                yield _figure(quantity, _conditions(one, one.phase), joules, _remarks(one))
        for each in figures.servings(record):
            if each.joules is not None:
                joules = each.rate.times(each.joules / each.rate.mid)
                conditions = _conditions(each.step, "serving")
                yield _figure(quantity, conditions, joules, (*_remarks(each.step), _TURNS))
    elif quantity == "time_to_first_token":
        for one in found:
            if one.phase == "prefill" and one.sequences == 1:
                yield _figure(quantity, _conditions(one), one.seconds, _remarks(one))
    elif quantity == "time_per_output_token":
        for one in found:
            if one.phase == "decode":
                yield _figure(quantity, _conditions(one), one.seconds, _remarks(one))
    elif quantity == "max_sequences":
        for one in found:
            if one.parameters["batch"] == "max":
                conditions = {k: v for k, v in _conditions(one).items() if k != "batch"}
                exact = _exact(float(one.sequences), one.seconds)
                yield _figure(quantity, conditions, exact, _remarks(one))


_RATE = "hpc_throughput"


def _kernels(record: RunRecord) -> Iterator[Figure]:
    """The best rate of each kernel in double precision."""
    best: dict[str, Figure] = {}
    for found in record.measurements:
        if found.case.benchmark == "hpc" and found.sound:
            name = str(found.case.parameters["pattern"])
            rate = benchmarks.rate(found)
            one = _figure(_RATE, {"kernel": name}, rate, _remarks_of(found))
            if name not in best or one.mid > best[name].mid:
                best[name] = one
    yield from best.values()


_TURNS = "prefill and steps were measured apart; requests are taken to cost one after the other"


def _conditions(one: Pass, phase: str = "") -> dict[str, Any]:
    names = ("model", "precision", "kv_precision", "batch", "input_tokens", "output_tokens")
    told = {name: one.parameters[name] for name in names if name in one.parameters}
    return {**told, "gpus": 1, "pipeline": 1, **({"phase": phase} if phase else {})}


def _remarks(one: Pass) -> tuple[str, ...]:
    return _remarks_of(one.measurement)


def _remarks_of(found: Any) -> tuple[str, ...]:
    return tuple(caution.fact for caution in found.cautions)


def _exact(value: float, like: MedianInterval) -> MedianInterval:
    return replace(like, low=value, mid=value, high=value)


def _figure(
    quantity: str,
    conditions: Mapping[str, Any],
    rate: MedianInterval,
    remarks: tuple[str, ...],
) -> Figure:
    unique = tuple(dict.fromkeys(remarks))
    return Figure(quantity, conditions, rate.low, rate.mid, rate.high, rate.count, unique)


# --------------------------------------------------------------------------- held against claims


def _fits(claim: Claim, conditions: Mapping[str, Any]) -> bool:
    """Whether a figure was measured under what the claim states, or in what it leaves open.

    Where a claim says nothing of the phase, it is about serving.
    """
    depends = QUANTITIES[claim.quantities[0]].conditions
    unsaid = "phase" in depends and "phase" not in {**claim.conditions, **claim.sweep}
    if unsaid and conditions.get("phase", "serving") != "serving":
        return False
    for name, value in claim.conditions.items():
        if conditions.get(name, value) != value:
            return False
    return all(
        name not in conditions or conditions[name] in values for name, values in claim.sweep.items()
    )


def _alone(record: RunRecord, found: Figure, where: Mapping[str, Any]) -> Evidence:
    return Evidence(
        kind="measured",
        conditions={**where, **found.conditions},
        source=_source(record, found),
        low=found.low,
        mid=found.mid,
        high=found.high,
        unit=QUANTITIES[found.quantity].unit,
        assumptions=(*found.remarks, *record.standing),
    )


def _same(found: Figure, others: Sequence[RunRecord]) -> tuple[RunRecord, Figure] | None:
    """The figure under the same conditions in the newest of other records that has it."""
    for other in reversed(others):
        for candidate in of(other, found.quantity):
            if candidate.conditions == found.conditions:
                return other, candidate
    return None


def _ratio(
    record: RunRecord, found: Figure, other: RunRecord, same: Figure, where: Mapping[str, Any]
) -> Evidence:
    remarks = (*found.remarks, *record.standing, *same.remarks, *other.standing)
    return Evidence(
        kind="measured",
        conditions={**where, **found.conditions},
        source=f"{_source(record, found)} over {_source(other, same)}",
        low=found.low / same.high,
        mid=found.mid / same.mid,
        high=found.high / same.low,
        unit="1",
        assumptions=tuple(dict.fromkeys(remarks)),
    )


def _over_estimate(
    record: RunRecord,
    found: Figure,
    baseline: str,
    where: Mapping[str, Any],
    catalogue: Catalogue,
) -> Iterator[Evidence]:
    """What was measured here over what the model says of the part that is absent."""
    other = catalogue.accelerators[baseline]
    depends = QUANTITIES[found.quantity].conditions
    asked = {name: value for name, value in found.conditions.items() if name in depends}
    try:
        estimate = roofline.estimate(found.quantity, other, asked, catalogue)
    except (CannotEstimate, MissingFigure, UnknownName) as error:
        yield Evidence("estimated", {**where, **found.conditions}, "", missing=str(error))
        return
    yield Evidence(
        kind="estimated",
        conditions={**where, **found.conditions},
        source=f"{_source(record, found)}, over the estimate of {other.name}",
        low=found.low / estimate.high,
        mid=found.mid / estimate.mid,
        high=found.high / estimate.low,
        unit="1",
        binding_limit=estimate.binding_limit,
        assumptions=(
            f"{other.name} is absent; its figure is an estimate",
            *found.remarks,
            *record.standing,
        ),
        error=estimate.error,
    )


def _source(record: RunRecord, found: Figure) -> str:
    return f"record {record.id}, {found.blocks} blocks"
