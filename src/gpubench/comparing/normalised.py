"""Measured rates beside what the part should have: shares of peaks, work a joule, and a budget.

Four peaks are kept apart: the data sheet's, the one that this device's clock gives with its bus
width or its units, that one at the clock that was observed, and the data sheet's of a reference
accelerator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpubench import benchmarks
from gpubench.catalogue import Catalogue, derived
from gpubench.errors import MissingFigure
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.roofline.transfer import Rates
from gpubench.stats import MedianInterval

REFERENCE = "nvidia-h100-sxm5"
"""The part beside which rates of all others are shown."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """One measured rate and what it is a share of; None where a figure is not known.

    `unit` is B/s for memory and FLOP/s for products of matrices. `per_joule` is in bytes or
    operations a joule of board energy, `of_reference` the ratio to the peak of REFERENCE.
    """

    measurement: Measurement
    unit: str
    rate: MedianInterval
    of_datasheet: float | None
    of_device: float | None
    of_observed: float | None
    watts: float | None
    per_joule: float | None
    of_reference: float | None


@dataclass(frozen=True, slots=True)
class Loss:
    """One step from the data sheet's peak down to a measured rate, as a factor."""

    name: str
    factor: float


def rates(record: RunRecord, catalogue: Catalogue) -> tuple[Normalised, ...]:
    """Every measured rate of device memory and of matrix units, in the record's order."""
    return tuple(
        normalise(found, record, catalogue)
        for found in record.measurements
        if found.blocks and benchmarks.quantity(found.case)
    )


def normalise(found: Measurement, record: RunRecord, catalogue: Catalogue) -> Normalised:
    """One measurement against the peaks. Raises ValueError when its work states no such rate."""
    rate, figure = benchmarks.rate(found), benchmarks.figure(found.case)
    device = _device_peak(figure, record, catalogue)
    observed = device * _clock_share(found, record) if device else None
    sheet = None if record.sliced else _datasheet(record.accelerator, figure, catalogue)
    watts = timing.power(found)
    return Normalised(
        measurement=found,
        unit=benchmarks.unit(found.case),
        rate=rate,
        of_datasheet=_share(rate.mid, sheet),
        of_device=_share(rate.mid, device),
        of_observed=_share(rate.mid, observed),
        watts=watts,
        per_joule=rate.mid / watts if watts else None,
        of_reference=_share(rate.mid, _datasheet(REFERENCE, figure, catalogue)),
    )


def sustained_rates(record: RunRecord) -> Rates:
    """The best rate of memory, and of dense products by precision; heated ones go before cool ones.

    Matrix units slow down with heat, so only where nothing was heated does a burst count.
    """
    best: dict[str, dict[str, float]] = {"sustained": {}, "burst": {}}
    for found in record.measurements:
        if record.speaks(found) and benchmarks.is_evidence(found.case):
            name, known = benchmarks.figure(found.case), best[found.phase]
            known[name] = max(known.get(name, 0.0), benchmarks.rate(found).mid)
    rates = {**best["burst"], **best["sustained"]}
    matrix = {
        name.removeprefix("peak_"): rate
        for name, rate in rates.items()
        if name.startswith("peak_") and not name.endswith("_sparse")
    }
    return Rates(rates.get("memory_bandwidth"), matrix)


def shortfall(record: RunRecord, catalogue: Catalogue, pattern: str) -> tuple[Loss, ...]:
    """Where a pattern's bandwidth is lost on the way down from the data sheet.

    The factors multiply to the measured share: the device's own peak against the data sheet, the
    observed memory clock against the largest, this mix of reads and writes against the best one,
    and what remains. Empty when no peak or no measurement is known.
    """
    found = [n for n in rates(record, catalogue) if n.measurement.case.benchmark == "bandwidth"]
    mine = [n for n in found if n.measurement.case.parameters["pattern"] == pattern]
    sheet = _datasheet(record.accelerator, "memory_bandwidth", catalogue)
    device = _device_peak("memory_bandwidth", record, catalogue)
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


def compute_shortfall(
    found: Normalised, record: RunRecord, catalogue: Catalogue
) -> tuple[Loss, ...]:
    """Where a product's rate is lost on the way down from the data sheet.

    The factors multiply to the measured share: the peak at this device's largest clock against the
    data sheet, the SM clock that was observed against the largest (power and heat take it down),
    the multiprocessors that idle in the last wave of tiles, where our kernel tells its tiles, and
    what remains. Empty when no peak is known.
    """
    case = found.measurement.case
    figure = benchmarks.figure(case)
    sheet = _datasheet(record.accelerator, figure, catalogue)
    device = _device_peak(figure, record, catalogue)
    if not sheet or not device or not found.of_datasheet:
        return ()
    losses = (
        Loss("device peak over data sheet", device / sheet),
        Loss("SM clock", _clock_share(found.measurement, record)),
        Loss("last wave of tiles", _last_wave(found.measurement, record)),
    )
    rest = found.of_datasheet / math.prod(loss.factor for loss in losses)
    return (*losses, Loss("remainder", rest))


def _last_wave(found: Measurement, record: RunRecord) -> float:
    """The share of multiprocessors that have a tile, over all waves; 1 where nobody tells."""
    config, units = found.choices.get("config", {}), record.device_figures.get("compute_units")
    if "block_n" not in config or not units:
        return 1.0
    sizes, blocks = found.case.parameters, (config["block_m"], config["block_n"])
    tiles = math.ceil(sizes["m"] / blocks[0]) * math.ceil(sizes["n"] / blocks[1])
    return float(tiles / (math.ceil(tiles / units) * units))


def _device_peak(figure: str, record: RunRecord, catalogue: Catalogue) -> float | None:
    """What this device's clock gives: with its bus width, or with its units and their width."""
    figures = record.device_figures
    if figure == "memory_bandwidth":
        return figures.get(figure)
    part = catalogue.accelerators.get(record.accelerator)
    clock, units = figures.get("max_clock"), figures.get("compute_units")
    if not part or not clock or not units:
        return None
    try:
        return units * clock * derived.flop_per_clock(part, figure.removeprefix("peak_"))
    except MissingFigure:
        return None


def _clock_share(found: Measurement, record: RunRecord) -> float:
    """The clock that was observed over the largest; 1 when the driver does not tell.

    Memory keeps its clock but for idle moments, so its largest reading counts; that of the SMs
    moves with power, so the median one does.
    """
    if benchmarks.unit(found.case) == "B/s":
        seen: Sequence[float] = timing.readings(found.blocks, "memory_clock_hz")
        observed, largest = max(seen, default=0.0), record.device_figures.get("max_memory_clock")
    else:
        observed = timing.reading(found.blocks, "sm_clock_hz") or 0.0
        largest = record.device_figures.get("max_clock")
    return min(1.0, observed / largest) if observed and largest else 1.0


def _datasheet(accelerator: str, figure: str, catalogue: Catalogue) -> float | None:
    part = catalogue.accelerators.get(accelerator)
    try:
        return part.value(figure) if part else None
    except MissingFigure:
        return None


def _share(value: float, whole: float | None) -> float | None:
    return value / whole if whole else None
