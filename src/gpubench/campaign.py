"""Measure what a suite plans on a device, one case after the other, and save after each.

Nothing that was measured is lost: a case that cannot be measured is noted with its reason and the
next one follows; a run that is interrupted leaves all it had, and can be continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpubench import benchmarks
from gpubench.benchmarks import Planned
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import (
    PLANS,
    CutShort,
    Device,
    HostClock,
    Prepared,
    clock_for,
    current,
    guards,
    measure,
)
from gpubench.model import Case, Measurement, Work
from gpubench.records import RunRecord, case_key

Save = Callable[[RunRecord], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One case of the plan, with what one call of it moves and how long it may take."""

    planned: Planned
    work: Work
    least_s: float
    most_s: float


def steps(device: Device, suite: str, only: Sequence[str] = ()) -> tuple[Step, ...]:
    """Everything a suite measures on a device, in order; of the benchmarks in `only`, if any.

    Raises:
        CannotMeasure: the device is too small for a benchmark.
        UnknownName: `only` names a benchmark that is not there.
    """
    chosen = [(name, benchmarks.get(name)) for name in only or benchmarks.names()]
    plan = PLANS[suite]
    found = []
    for _, benchmark in chosen:
        for planned in benchmark.plan(device, suite):
            heat = plan.heat_s if "sustained" in planned.phases else 0.0
            least = plan.warmup_s + (plan.least_blocks + 1) * plan.block_s
            most = plan.warmup_limit_s + plan.limit_s
            phases = len(planned.phases)
            work = benchmark.work(planned.case.parameters)
            found.append(Step(planned, work, least * phases + heat, most * phases + heat))
    return tuple(found)


def measure_all(
    record: RunRecord,
    device: Device,
    save: Save,
    say: Say = lambda _: None,
    tick: Say | None = None,
    only: Sequence[str] = (),
) -> RunRecord:
    """Measure what `record` does not hold yet, by its suite and seed; returns it complete.

    `say` is told of each case, `tick` of each block.

    Raises:
        KeyboardInterrupt, DeviceLost: after saving what there is.
    """
    plan = steps(device, record.suite, only)
    before = ""
    try:
        for number, step in enumerate(plan, 1):
            case = step.planned.case
            if before and before != case.benchmark:
                benchmarks.get(before).release()  # its memory is the next one's
            before = case.benchmark
            missing = [phase for phase in step.planned.phases if not _done(record, case, phase)]
            say(f"{number}/{len(plan)} {case_key(case, '').strip()}")
            with current(device):
                for outcome in _measured(case, missing, device, record, tick):
                    record = outcome
                    save(record)
    finally:
        if before:
            benchmarks.get(before).release()
    record = replace(record, measurements=_compared(record.measurements), complete=True)
    save(record)
    return record


def _measured(
    case: Case, phases: Sequence[str], device: Device, record: RunRecord, tick: Say | None
) -> Iterator[RunRecord]:
    """The record after each phase of a case; a case that cannot be measured becomes a failure."""
    if not phases:
        return
    benchmark = benchmarks.get(case.benchmark)
    try:
        prepared = benchmark.prepare(case, device, record.seed)
    except DeviceLost:
        raise
    except CannotMeasure as error:
        failed = {case_key(case, phase): str(error) for phase in phases}
        yield replace(record, failures={**record.failures, **failed})
        return
    for phase in phases:
        try:
            found = _one(prepared, phase, device, record.suite, benchmark, tick)
            record = replace(record, measurements=(*record.measurements, found))
        except CutShort as short:
            yield replace(record, measurements=(*record.measurements, short.measurement))
            raise short.cause from None
        except DeviceLost:
            raise
        except CannotMeasure as error:
            failed = {case_key(case, phase): str(error)}
            record = replace(record, failures={**record.failures, **failed})
        yield record


def _one(
    prepared: Prepared, phase: Any, device: Device, suite: str, benchmark: Any, tick: Say | None
) -> Measurement:
    plan = PLANS[suite]
    clock = HostClock() if prepared.by_host else clock_for(device)
    found = measure(prepared, clock, plan, device.telemetry, phase, tick)
    limits = benchmark.ceilings(prepared.case, device)
    return guards.cautioned(found, guards.inspect(found, limits, plan.target, device.card))


def _done(record: RunRecord, case: Case, phase: str) -> bool:
    """Measured whole, or tried and failed: a part of a measurement is measured again."""
    key = case_key(case, phase)
    return key in record.failures or any(
        found.complete and case_key(found.case, found.phase) == key for found in record.measurements
    )


def _compared(measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Two methods for the same work that differ by more than 5 % are flagged on the slower one.

    Parts that were measured again whole are left out.
    """
    kept = [m for m in measurements if m.complete]
    for place, found in enumerate(kept):
        for other in kept:
            if _twins(found, other):
                caution = guards.disagreement(found, other)
                if caution and f"faster than {found.case.method}" in caution.fact:
                    kept[place] = guards.cautioned(found, [caution])
    return tuple(kept)


def _twins(one: Measurement, other: Measurement) -> bool:
    return (
        one.case.method != other.case.method
        and (one.case.benchmark, one.phase) == (other.case.benchmark, other.phase)
        and one.case.parameters == other.case.parameters
    )
