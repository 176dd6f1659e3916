"""Measured rates beside what the part should have: shares of peaks, work a joule, and a budget.

Four peaks are kept apart: the data sheet's, the one that bus width and clock of this device give,
that one at the clock that was observed, and a reference accelerator's data sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpubench import benchmarks
from gpubench.catalogue import Catalogue
from gpubench.errors import MissingFigure
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.stats import MedianInterval

REFERENCE = "nvidia-h100-sxm5"


@dataclass(frozen=True, slots=True)
class Normalised:
    """One measured rate in B/s and what it is a share of; None where a figure is not known.

    `per_joule` is in bytes a joule of board energy, `reference` the ratio to the peak of REFERENCE.
    """

    measurement: Measurement
    rate: MedianInterval
    of_datasheet: float | None
    of_device: float | None
    of_observed: float | None
    watts: float | None
    per_joule: float | None
    reference: float | None


@dataclass(frozen=True, slots=True)
class Loss:
    """One step from the data sheet's peak down to a measured rate, as a factor."""

    name: str
    factor: float


def rates(record: RunRecord, catalogue: Catalogue) -> tuple[Normalised, ...]:
    """Every measured rate of device memory, in the record's order."""
    return tuple(
        normalise(found, record, catalogue) for found in record.measurements if _is_rate(found)
    )


def normalise(found: Measurement, record: RunRecord, catalogue: Catalogue) -> Normalised:
    """One measurement against the peaks. Raises ValueError when it is no rate of memory."""
    rate = timing.bandwidth(found)
    device = record.device_figures.get("memory_bandwidth")
    observed = device * _clock_share(found, record) if device else None
    watts = timing.power(found)
    return Normalised(
        measurement=found,
        rate=rate,
        of_datasheet=_share(rate.mid, _datasheet(record.accelerator, catalogue)),
        of_device=_share(rate.mid, device),
        of_observed=_share(rate.mid, observed),
        watts=watts,
        per_joule=rate.mid / watts if watts else None,
        reference=_share(rate.mid, _datasheet(REFERENCE, catalogue)),
    )


def shortfall(record: RunRecord, catalogue: Catalogue, pattern: str) -> tuple[Loss, ...]:
    """Where a pattern's bandwidth is lost on the way down from the data sheet.

    The factors multiply to the measured share: the device's own peak against the data sheet, the
    observed memory clock against the largest, this mix of reads and writes against the best one,
    and what remains. Empty when no peak or no measurement is known.
    """
    found = [n for n in rates(record, catalogue) if n.measurement.case.benchmark == "bandwidth"]
    mine = [n for n in found if n.measurement.case.parameters["pattern"] == pattern]
    sheet = _datasheet(record.accelerator, catalogue)
    device = record.device_figures.get("memory_bandwidth")
    if not mine or not sheet or not device:
        return ()
    fastest = max(mine, key=lambda n: n.rate.mid)
    best = max(n.rate.mid for n in found)
    clock = _clock_share(fastest.measurement, record)
    losses = (
        Loss("device peak over data sheet", device / sheet),
        Loss("memory clock", clock),
        Loss("mix of reads and writes", fastest.rate.mid / best),
    )
    rest = fastest.rate.mid / sheet / math.prod(loss.factor for loss in losses)
    return (*losses, Loss("remainder", rest))


def _is_rate(found: Measurement) -> bool:
    name = found.case.benchmark
    return (
        bool(found.blocks)
        and found.work.bytes > 0
        and name in benchmarks.names()
        and bool(benchmarks.get(name).QUANTITY)
    )


def _clock_share(found: Measurement, record: RunRecord) -> float:
    """The memory clock that was observed over the largest; 1 when the driver does not tell."""
    seen: Sequence[float] = timing.readings(found.blocks, "memory_clock_hz")
    largest = record.device_figures.get("max_memory_clock")
    return min(1.0, max(seen) / largest) if seen and largest else 1.0


def _datasheet(accelerator: str, catalogue: Catalogue) -> float | None:
    part = catalogue.accelerators.get(accelerator)
    try:
        return part.value("memory_bandwidth") if part else None
    except MissingFigure:
        return None


def _share(value: float, whole: float | None) -> float | None:
    return value / whole if whole else None
