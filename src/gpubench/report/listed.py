"""Many records, a line each: what was measured on what, and the best rates of it."""

from __future__ import annotations

from dataclasses import dataclass

from gpubench import benchmarks, stats
from gpubench.catalogue import Catalogue
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord


@dataclass(frozen=True, slots=True)
class Best:
    """The best median rate of a figure in one record, in `unit`, and its share of the peak."""

    figure: str
    rate: float
    unit: str
    share: float | None


@dataclass(frozen=True, slots=True)
class RecordLine:
    """A record in short. `cautions` counts what weakens its measurements."""

    id: str
    created: str
    device: str
    measurements: int
    cautions: int
    best: tuple[Best, ...]


def line(record: RunRecord, catalogue: Catalogue) -> RecordLine:
    """One record in short. Implausible rates are not among the best."""
    rates: dict[str, tuple[float, str]] = {}
    for found in record.measurements:
        rate = _rate(found)
        if rate:
            figure = benchmarks.figure(found.case)
            rates[figure] = max(rates.get(figure, (0.0, "")), (rate, benchmarks.unit(found.case)))
    part = catalogue.accelerators.get(record.accelerator)
    best = tuple(
        Best(name, rate, unit, rate / part.value(name) if part and name in part.figures else None)
        for name, (rate, unit) in rates.items()
    )
    return RecordLine(
        id=record.id,
        created=record.created,
        device=record.device,
        measurements=len(record.measurements),
        cautions=sum(len(found.cautions) for found in record.measurements),
        best=best,
    )


def _rate(found: Measurement) -> float | None:
    """The median rate of what may speak for a claim; no interval, since there may be thousands."""
    if not found.sound or not benchmarks.is_evidence(found.case):
        return None
    amount = {"B/s": found.work.bytes or found.work.wire_bytes}.get(
        benchmarks.unit(found.case), found.work.flops
    )
    return amount / stats.median(timing.block_medians(found.blocks)) if amount else None
