"""Measure what a suite plans on a device, one case after the other, and save after each.

Methods for the same work are measured in turn, block by block. Nothing that was measured is lost: a
case that cannot be measured is noted with its reason and the next one follows; a run that is
interrupted leaves all it had, and can be continued, and so does one whose device stops answering.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
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
    Watchdog,
    clock_for,
    current,
    guards,
    measure_in_turn,
    synchronize,
)
from gpubench.model import Case, Caution, Measurement, Work
from gpubench.records import RunRecord, case_key
from gpubench.running import mishaps
from gpubench.running.mishaps import Patience

Save = Callable[[RunRecord], None]
Say = Callable[[str], None]
End = Callable[[str], None]
"""Ends the process with a sentence; the thread that measures waits for the device and cannot."""


@dataclass(frozen=True, slots=True)
class Step:
    """One case of the plan, with what one call of it moves and how long it may take."""

    planned: Planned
    work: Work
    least_s: float
    most_s: float


def steps(
    device: Device, suite: str, only: Sequence[str] = (), held: RunRecord | None = None
) -> tuple[Step, ...]:
    """Everything a suite measures on a device, in order; of the benchmarks in `only`, if any, and
    without what a record has `held` already.

    Raises:
        CannotMeasure: the device is too small for a benchmark, or lacks all that was asked for.
        UnknownName: `only` names a benchmark that is not there.
    """
    planned = [one for name in _chosen(only) for one in benchmarks.get(name).plan(device, suite)]
    if only and not planned:
        why = left_out(device, suite, only) or f"nothing of it in the {suite} suite"
        raise CannotMeasure(
            f"{', '.join(only)} on {device.name}: {why}; see `gpubench list benchmarks`"
        )
    if held:
        left = [replace(one, phases=_missing(held, one)) for one in planned]
        planned = [one for one in left if one.phases]
    return tuple(step for group in _twins(planned) for step in _timed(group, suite))


def _missing(record: RunRecord, planned: Planned) -> tuple[str, ...]:
    """The phases of a case that are not measured yet."""
    return tuple(phase for phase in planned.phases if not record.done(planned.case, phase))


def left_out(device: Device, suite: str, only: Sequence[str] = ()) -> str:
    """What is not planned because the device lacks it, each with the reason; "" for nothing."""
    found = dict[str, str]()
    for name in _chosen(only):
        benchmark = benchmarks.get(name)
        if hasattr(benchmark, "left_out"):
            found |= {f"{name} {what}": why for what, why in benchmark.left_out(device, suite)}
    return "; ".join(f"{what}: {why}" for what, why in found.items())


def _chosen(only: Sequence[str]) -> Sequence[str]:
    return tuple(dict.fromkeys(only)) or benchmarks.names()


def _twins(planned: Sequence[Planned]) -> list[list[Planned]]:
    """Neighbours that do the same work by different methods together, all others alone."""

    def work(one: Planned) -> object:
        return one.case.benchmark, sorted(one.case.parameters.items())

    return [list(group) for _, group in groupby(planned, key=work)]


def _timed(group: Sequence[Planned], suite: str) -> Iterator[Step]:
    """The steps of twins, which are heated together."""
    plan = PLANS[suite]
    heated = sum("sustained" in one.phases for one in group)
    for one in group:
        heat = plan.heat_s / heated if "sustained" in one.phases else 0.0
        work = benchmarks.get(one.case.benchmark).work(one.case.parameters)
        phases = len(one.phases)
        yield Step(one, work, plan.least_s * phases + heat, plan.most_s * phases + heat)


def measure_all(
    record: RunRecord,
    device: Device,
    save: Save,
    say: Say = lambda _: None,
    tick: Say | None = None,
    only: Sequence[str] = (),
    end: End | None = None,
    time_limit_s: float = 0.0,
) -> RunRecord:
    """Measure what `record` does not hold yet, by its suite and seed; returns it complete.

    With a time limit no case is begun that by plan may end later, where those of a benchmark may
    take as long to prepare, and as much longer than planned, as the slowest one did; what is left
    leaves the record incomplete. `say` is told of each case, `tick` of each block. When the device
    stops answering for good, the record is saved with what it had to do and `end` is called from
    another thread. What hung or crashed the device is left out when the record is continued.

    Raises:
        KeyboardInterrupt, DeviceLost: after saving what there is.
    """
    todo = _Todo(steps(device, record.suite, only))
    record = _with_left_out(record, left_out(device, record.suite, only), _chosen(only))
    device.trials.shun(record.suspects)
    device.trials.answers = partial(synchronize, device)

    def hung(case: Case, waited_s: float) -> None:
        phases, trying = todo.missing(record, case), device.trials.now
        left, why = mishaps.hung(record, case, phases, trying, waited_s)
        save(left)
        if end:
            end(f"{_said(case)}: {why}")

    now = HostClock().now
    ends = now() + time_limit_s if time_limit_s else math.inf
    with Watchdog(hung) as watchdog:
        patient = watchdog if end and _may_hang(device) else None
        awaiting = Patience(record.suite, device.trials, patient)
        measuring = _Measuring(device, record.suite, tick, awaiting, now)
        try:
            with closing(_states(todo, measuring, record, say, ends)) as states:
                for state in states:
                    record = state
                    save(record)
                    watchdog.answered()
        except DeviceLost as lost:
            if case := awaiting.case:
                phases, trying = todo.missing(record, case), device.trials.now
                save(mishaps.lost(record, case, phases, trying, str(lost)))
            raise
        finally:
            device.trials.rest()
    compared = _compared(record.measurements)
    record = replace(record, measurements=compared, complete=not todo.left(record))
    save(record)
    return record


def _states(
    todo: _Todo, measuring: _Measuring, record: RunRecord, say: Say, ends: float
) -> Generator[RunRecord, None, None]:
    """The record whenever there is more in it, until nothing is left or time is up."""
    before = ""
    try:
        for group in todo.groups():
            benchmark = group[0].case.benchmark
            needed_s = todo.most_s(record, group, measuring.beside_s(benchmark))
            if needed_s and measuring.now() + needed_s > ends:
                say(f"time is up, and {todo.left(record)} of {len(todo.steps)} cases are left")
                return
            if before and before != benchmark:
                benchmarks.get(before).release()  # its memory is the next one's
            before = benchmark
            for one in group:
                say(f"{todo.number(one)}/{len(todo.steps)} {_said(one.case)}")
            with current(measuring.device):
                for outcome in measuring.of(group, record):
                    record = outcome
                    yield record
    finally:
        if before:
            benchmarks.get(before).release()


@dataclass(frozen=True)
class _Todo:
    """The plan of a run, and what a record lacks of it."""

    steps: tuple[Step, ...]

    def groups(self) -> list[list[Planned]]:
        """What is measured in turn, in order."""
        return _twins([step.planned for step in self.steps])

    def number(self, planned: Planned) -> int:
        """The place of a case, from 1."""
        return next(n for n, step in enumerate(self.steps, 1) if step.planned is planned)

    def missing(self, record: RunRecord, case: Case) -> tuple[str, ...]:
        """The phases of a case that are not measured yet."""
        return _missing(record, next(s.planned for s in self.steps if s.planned.case == case))

    def most_s(self, record: RunRecord, group: Sequence[Planned], beside_s: float) -> float:
        """How long a group may still take by plan, and each case beside it."""
        left = [replace(one, phases=_missing(record, one)) for one in group]
        left = [one for one in left if one.phases]
        return sum(step.most_s + beside_s for step in _timed(left, record.suite))

    def left(self, record: RunRecord) -> int:
        """How many cases are not measured yet."""
        return sum(bool(self.missing(record, step.planned.case)) for step in self.steps)


def _said(case: Case) -> str:
    return case_key(case, "").replace("  ", " ")


def _may_hang(device: Device) -> bool:
    return device.kind != "cpu"


def _with_left_out(record: RunRecord, told: str, planned: Sequence[str]) -> RunRecord:
    """The record with what is not planned, beside what earlier runs of it told of benchmarks that
    this one does not plan.
    """
    others = [caution for caution in record.cautions if caution.code != _LEFT_OUT]
    before = [
        one
        for caution in record.cautions
        if caution.code == _LEFT_OUT
        for one in caution.fact.split("; ")
        if one.split(maxsplit=1)[0] not in planned
    ]
    facts = "; ".join(dict.fromkeys(filter(None, (*before, *told.split("; ")))))
    if not facts:
        return replace(record, cautions=tuple(others))
    caution = Caution(_LEFT_OUT, facts, "measure them on a part that has them")
    return replace(record, cautions=(*others, caution))


_LEFT_OUT = "left-out"


@dataclass(frozen=True)
class _Measuring:
    """How twins are prepared and measured; yields the record after each phase."""

    device: Device
    suite: str
    tick: Say | None
    awaiting: Patience
    now: Callable[[], float]
    slowest_s: dict[str, float] = field(default_factory=dict)
    """How long the slowest preparation of each benchmark took."""
    overran_s: dict[str, float] = field(default_factory=dict)
    """By how much its slowest phase took longer than planned: no plan knows how long a call is."""

    def beside_s(self, name: str) -> float:
        """What a case of a benchmark may take beside its plan, by what others of it did."""
        return self.slowest_s.get(name, 0.0) + 2 * self.overran_s.get(name, 0.0)

    def of(self, group: Sequence[Planned], record: RunRecord) -> Iterator[RunRecord]:
        """What is missing of twins; a case that cannot be measured becomes a failure."""
        ready: list[tuple[Prepared, tuple[str, ...]]] = []
        for one in group:
            missing = _missing(record, one)
            if not missing:
                continue
            benchmark = benchmarks.get(one.case.benchmark)
            own = getattr(benchmark, "PREPARING_S", mishaps.PREPARING_S)
            self.awaiting.preparing(one.case, own)
            began = self.now()
            try:
                prepared = benchmark.prepare(one.case, self.device, record.seed)
            except DeviceLost:
                raise
            except CannotMeasure as error:
                record = record.with_failure(one.case, missing, str(error))
                yield record
            else:
                ready.append((prepared, missing))
            name = one.case.benchmark
            self.slowest_s[name] = max(self.slowest_s.get(name, 0.0), self.now() - began)
        for phase in ("burst", "sustained"):
            if together := [prepared for prepared, missing in ready if phase in missing]:
                began = self.now()
                for outcome in self._phase(together, phase, record):
                    record = outcome
                    yield record
                self._over(together, phase, self.now() - began)

    def _over(self, together: Sequence[Prepared], phase: str, took_s: float) -> None:
        plan, name = PLANS[self.suite], together[0].case.benchmark
        heat = plan.heat_s if phase == "sustained" else 0.0
        over = (took_s - heat) / len(together) - plan.most_s
        self.overran_s[name] = max(self.overran_s.get(name, 0.0), over)

    def _phase(
        self, together: Sequence[Prepared], phase: Any, record: RunRecord
    ) -> Iterator[RunRecord]:
        try:
            found = self._in_turn(together, phase)
        except DeviceLost:
            raise
        except CannotMeasure as error:
            cut = error if isinstance(error, CutShort) else None
            kept = (*record.measurements, *(cut.measurements if cut else ()))
            if cut and isinstance(cut.cause, KeyboardInterrupt | DeviceLost):
                yield replace(record, measurements=kept)
                raise cut.cause from None
            if len(together) == 1:
                record = replace(record, measurements=kept)
                why = str(cut.cause if cut else error)
                yield record.with_failure(together[0].case, [phase], why)
                return
            for one in together:  # each alone, which shows the one that fails
                for outcome in self._phase([one], phase, record):
                    record = outcome
                    yield record
        else:
            yield replace(record, measurements=(*record.measurements, *found))

    def _in_turn(self, together: Sequence[Prepared], phase: Any) -> Iterator[Measurement]:
        plan = PLANS[self.suite]
        clocks = [HostClock() if one.by_host else clock_for(self.device) for one in together]
        taken = measure_in_turn(
            together, clocks, plan, self.device.telemetry, phase, self.tick, self.awaiting
        )
        benchmark = benchmarks.get(together[0].case.benchmark)
        limits = [benchmark.ceilings(found.case, self.device) for found in taken]
        return (
            guards.cautioned(found, guards.inspect(found, limit, plan.target, self.device.card))
            for found, limit in zip(taken, limits, strict=True)
        )


def _compared(measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Two methods for the same work that differ by more than 5 % are flagged on the slower one.

    Parts that were measured again whole are left out, and say nothing of a method.
    """
    whole = {case_key(m.case, m.phase) for m in measurements if m.complete}
    kept = [m for m in measurements if m.complete or case_key(m.case, m.phase) not in whole]
    for place, found in enumerate(kept):
        for other in kept:
            if found.complete and other.complete and _same_work(found, other):
                caution = guards.disagreement(found, other)
                if caution and f"faster than {found.case.method}" in caution.fact:
                    kept[place] = guards.cautioned(found, [caution])
    return tuple(kept)


def _same_work(one: Measurement, other: Measurement) -> bool:
    return (
        one.case.method != other.case.method
        and (one.case.benchmark, one.phase) == (other.case.benchmark, other.phase)
        and one.case.parameters == other.case.parameters
    )
