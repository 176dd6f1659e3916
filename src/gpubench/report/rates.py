"""What was measured, as tables: rates beside their peaks, times, the shortfall, what failed."""

from __future__ import annotations

from gpubench import benchmarks
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.comparing import normalised
from gpubench.comparing.normalised import Normalised
from gpubench.measuring import timing
from gpubench.model import Case, Caution, Measurement
from gpubench.quantities import QUANTITIES
from gpubench.records import IMPORTED, RunRecord
from gpubench.report import wording
from gpubench.report.table import Table
from gpubench.units import Quantity, show


def rate_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """Every measured rate of device memory and matrix units, and its shares of the peaks: its own,
    and those of a part that many know, for accelerators other than that one.
    """
    known = catalogue.accelerators.get(record.accelerator)
    beside = known is not None and known.id != normalised.REFERENCE
    rows = [_row(found, beside) for found in normalised.rates(record, catalogue)]
    head = ["kernel", "method", "phase", "rate", "±", "data sheet", "device", "at clock"]
    head += ["H100's sheet"] * beside
    return Table((*head, "clock", "power", "per joule", "cautions"), rows)


def title(record: RunRecord) -> str:
    """Where a record's figures come from: measured on a device, or another tool's."""
    told = record.environment
    if record.suite == IMPORTED:
        tool = f"{told.get('imported_from')} ({told.get('imported_file')})"
        return f"Imported from {tool}, {record.device or 'no device named'}, record {record.id}"
    return f"Measured on {record.device}, record {record.id}"


def figure_table(record: RunRecord) -> Table:
    """What the driver reports of the whole card, and the memory that could really be had."""
    rows = [
        [name.replace("_", " "), show(Quantity(value, _unit(name)))]
        for name, value in record.device_figures.items()
    ]
    return Table(("the device says", "value"), rows)


# Figures of a device that no claim can be about.
_UNITS = {"allocatable_memory": "B", "max_memory_clock": "1/s"}


def _unit(name: str) -> str:
    return QUANTITIES[name].unit if name in QUANTITIES else _UNITS.get(name, "1")


def time_table(record: RunRecord) -> Table:
    """What is told by its time or is the rate of no peak: sweeps, copies, launches."""
    rows = [
        _timed(found)
        for found in record.measurements
        if found.blocks
        and not benchmarks.quantity(found.case)
        and found.case.benchmark not in _ELSEWHERE
    ]
    return Table(("benchmark", "case", "time", "rate", "±", "cautions"), rows)


# What has tables of its own.
_ELSEWHERE = ("collectives", "inference", "training_step")


def shortfall_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """Where bandwidth is lost, step by step, for the patterns that were measured."""
    patterns = dict.fromkeys(
        str(found.case.parameters["pattern"])
        for found in record.measurements
        if found.case.benchmark == "bandwidth" and "pattern" in found.case.parameters
    )
    budgets = {name: normalised.shortfall(record, catalogue, name) for name in patterns}
    names = next(([loss.name for loss in budget] for budget in budgets.values() if budget), [])
    rows = [
        [name, *(percent(loss.factor) for loss in budget)]
        for name, budget in budgets.items()
        if budget
    ]
    return Table(("pattern", *names), rows)


def compute_shortfall_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """Where the rate of products is lost, for the fastest of each precision, method and phase."""
    best: dict[tuple[str, str, str], Normalised] = {}
    for found in normalised.rates(record, catalogue):
        case, phase = found.measurement.case, found.measurement.phase
        if found.unit == "B/s" or not benchmarks.is_evidence(case):
            continue
        key = benchmarks.figure(case), case.method, phase
        if key not in best or found.rate.mid > best[key].rate.mid:
            best[key] = found
    budgets = [
        (found, normalised.compute_shortfall(found, record, catalogue)) for found in best.values()
    ]
    names = next(([loss.name for loss in budget] for _, budget in budgets if budget), [])
    rows = [
        [
            kernel(found.measurement.case),
            found.measurement.case.method,
            found.measurement.phase,
            *(percent(loss.factor) for loss in budget),
        ]
        for found, budget in budgets
        if budget
    ]
    return Table(("kernel", "method", "phase", *names), rows)


def warnings(record: RunRecord) -> list[str]:
    """Each caution once, with its remedy, and each case that could not be measured."""
    by_code: dict[str, list[Caution]] = {}
    for cautions in (record.cautions, *(found.cautions for found in record.measurements)):
        for caution in cautions:
            by_code.setdefault(caution.code, []).append(caution)
    told = [
        f"{code}: {first.fact}"
        + (f"; {first.remedy}" if first.remedy else "")
        + (f" (and {len(more)} more)" if more else "")
        for code, (first, *more) in by_code.items()
    ]
    return told + [f"not measured: {case}: {why}" for case, why in record.failures.items()]


def _row(found: Normalised, beside: bool) -> list[str]:
    case, per_joule = found.measurement.case, found.unit.replace("/s", "/J")
    return [
        kernel(case),
        case.method,
        found.measurement.phase,
        show(Quantity(found.rate.mid, found.unit)),
        wording.spread(found.rate),
        percent(found.of_datasheet),
        percent(found.of_device),
        percent(found.of_observed),
        *([percent(found.of_reference)] if beside else []),
        _clock(found),
        show(Quantity(found.watts, "J/s")) if found.watts else "",
        show(Quantity(found.per_joule, per_joule)) if found.per_joule else "",
        _codes(found.measurement),
    ]


def kernel(case: Case) -> str:
    """A pattern, or the precision, shape and data of a product."""
    p = case.parameters
    if "pattern" in p:
        return str(p["pattern"])
    if "model" in p:
        batch = f"batch {p['batch']}" if "batch" in p else f"micro-batch {p['micro_batch']}"
        phase = p.get("phase", "training")
        return f"{phase} of {p['model']} {p['precision']}, {batch}"
    if "source" in p:
        return f"copies {'both ways ' if p['directions'] == 2 else ''}{collectives.ends(p)}"
    if not {"precision", "data", *"mnk"} <= p.keys():  # of another version
        return ", ".join(f"{name} {value}" for name, value in p.items())
    sparse = "2:4 sparse " if benchmarks.sparsity(case) == "sparse" else ""
    data = "" if p["data"] == "normal" else f" of {p['data']}"
    return f"{sparse}{p['precision']} {p['m']} × {p['n']} × {p['k']}{data}"


def _clock(found: Normalised) -> str:
    """The clock that sets the rate, as it was observed: of the memory, or of the units."""
    of = "memory" if found.unit == "B/s" else "sm"
    seen = timing.reading(found.measurement.blocks, f"{of}_clock_hz")
    return f"{seen / 1e6:.0f} MHz" if seen else ""


def _timed(found: Measurement) -> list[str]:
    work, seconds = found.work, timing.of(found).seconds
    amount = work.bytes or work.wire_bytes
    rate = show(Quantity(amount / seconds.mid, "B/s")) if amount else ""
    case = " ".join(f"{name} {value}" for name, value in found.case.parameters.items())
    return [
        found.case.benchmark,
        case,
        show(Quantity(seconds.mid, "s")),
        rate,
        wording.spread(seconds),
        _codes(found),
    ]


def _codes(found: Measurement) -> str:
    return ", ".join(caution.code for caution in found.cautions)


def percent(share: float | None) -> str:
    """A share as a cell of a table; empty where it is not known."""
    return "" if share is None else f"{100 * share:.1f} %"
