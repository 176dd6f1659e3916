"""What was measured, as tables: rates beside their peaks, times, the shortfall, what failed."""

from __future__ import annotations

from collections.abc import Iterable

from gpubench import normalised
from gpubench.catalogue import Catalogue
from gpubench.measuring import timing
from gpubench.model import Caution, Measurement
from gpubench.normalised import Normalised
from gpubench.records import RunRecord
from gpubench.report.table import Table
from gpubench.units import Quantity, show


def rate_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """Every measured rate of device memory and its shares of the peaks."""
    rows = [_row(found) for found in normalised.rates(record, catalogue)]
    head = ("pattern", "method", "phase", "rate", "±", "data sheet", "device", "at clock")
    return Table((*head, "per joule", "cautions"), rows)


def time_table(record: RunRecord) -> Table:
    """What is told by its time or is no rate of device memory: sweeps, copies, launches."""
    rows = [
        _timed(found)
        for found in record.measurements
        if found.blocks and found.case.benchmark != "bandwidth"
    ]
    return Table(("benchmark", "case", "time", "rate", "±", "cautions"), rows)


def shortfall_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """Where bandwidth is lost, step by step, for the patterns that were measured."""
    patterns = dict.fromkeys(
        str(found.case.parameters["pattern"])
        for found in record.measurements
        if found.case.benchmark == "bandwidth"
    )
    budgets = {name: normalised.shortfall(record, catalogue, name) for name in patterns}
    names = next(([loss.name for loss in budget] for budget in budgets.values() if budget), [])
    rows = [
        [name, *(_percent(loss.factor) for loss in budget)]
        for name, budget in budgets.items()
        if budget
    ]
    return Table(("pattern", *names), rows)


def warnings(record: RunRecord) -> list[str]:
    """Each caution once, with its remedy, and each case that could not be measured."""
    found: dict[str, None] = {}
    everywhere: Iterable[Caution] = (
        *record.cautions,
        *(caution for measured in record.measurements for caution in measured.cautions),
    )
    counted: dict[str, int] = {}
    for caution in everywhere:
        counted[caution.code] = counted.get(caution.code, 0) + 1
        if counted[caution.code] == 1:
            remedy = f"; {caution.remedy}" if caution.remedy else ""
            found[f"{caution.code}: {caution.fact}{remedy}"] = None
    told = [
        f"{line} (and {counted[line.partition(':')[0]] - 1} more)"
        if counted[line.partition(":")[0]] > 1
        else line
        for line in found
    ]
    return told + [f"not measured: {case}: {why}" for case, why in record.failures.items()]


def _row(found: Normalised) -> list[str]:
    case = found.measurement.case
    return [
        str(case.parameters["pattern"]),
        case.method,
        found.measurement.phase,
        show(Quantity(found.rate.mid, "B/s")),
        f"{100 * found.rate.half_width:.2f} %",
        _percent(found.of_datasheet),
        _percent(found.of_device),
        _percent(found.of_observed),
        show(Quantity(found.per_joule, "B/J")) if found.per_joule else "",
        _codes(found.measurement),
    ]


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
        f"{100 * seconds.half_width:.2f} %",
        _codes(found),
    ]


def _codes(found: Measurement) -> str:
    return ", ".join(caution.code for caution in found.cautions)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
