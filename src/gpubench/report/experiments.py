"""What measurements say together: methods in turn, other data, the roof, absent parts."""

from __future__ import annotations

from collections.abc import Iterator

from gpubench.benchmarks import intensity
from gpubench.catalogue import Catalogue
from gpubench.comparing import normalised
from gpubench.comparing.normalised import Normalised
from gpubench.errors import GpubenchError
from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord, case_key
from gpubench.report.rates import kernel, percent
from gpubench.report.table import Table
from gpubench.roofline import calibration
from gpubench.roofline.transfer import transferred
from gpubench.units import Quantity, show


def in_turn_table(record: RunRecord) -> Table:
    """How our kernel compares with the library's, block by block in turn."""
    rows = []
    for ours, theirs in _pairs(record):
        ratio = timing.paired_ratio(ours, theirs)
        rows.append(
            [
                kernel(ours.case),
                ours.phase,
                f"{100 * ratio.mid:.1f} %",
                f"{100 * ratio.low:.1f} to {100 * ratio.high:.1f} %",
                str(ratio.count),
            ]
        )
    return Table(("kernel in turn", "phase", "triton over torch", "95 %", "pairs"), rows)


def data_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """What other data than random normal does to the rate, the clock and the power of a product."""
    products = [n for n in normalised.rates(record, catalogue) if "data" in _parameters(n)]
    usual = {_same(n): n for n in products if _parameters(n)["data"] == "normal"}
    compared = {_same(n) for n in products if _parameters(n)["data"] != "normal"}
    rows = [_data_row(n, usual[_same(n)]) for n in products if _same(n) in compared & usual.keys()]
    head = ("product", "data", "phase", "rate", "of normal", "clock", "power", "per joule")
    return Table(head, rows)


def heat_table(record: RunRecord) -> Table:
    """How clock, power and temperature went in what was heated, beside the burst before it."""
    heated = {_case_of(m) for m in record.measurements if m.phase == "sustained"}
    rows = []
    for found in record.measurements:
        if _case_of(found) not in heated or not found.blocks:
            continue
        told = [_span(found, name, scale) for name, scale in _TRACED]
        held = timing.held_back(found.blocks, "power")
        name = f"{found.case.benchmark} {kernel(found.case)}"
        why = ", ".join(dict.fromkeys(_reasons(found)))
        rows.append([name, found.case.method, found.phase, *told, percent(held), why])
    head = ("heated", "method", "phase", "SM clock, MHz", "power, W", "chip, °C", "held by power")
    return Table((*head, "why"), rows)


# What is traced of each block, and in which units it is shown.
_TRACED = (("sm_clock_hz", 1e-6), ("power_w", 1.0), ("temperature_c", 1.0))


def _case_of(found: Measurement) -> str:
    return case_key(found.case, "")


def _span(found: Measurement, name: str, scale: float) -> str:
    """From the first block to the last, and the least between them."""
    seen = [scale * value for value in timing.readings(found.blocks, name)]
    return f"{seen[0]:.0f} to {seen[-1]:.0f}, least {min(seen):.0f}" if seen else ""


def _reasons(found: Measurement) -> Iterator[str]:
    for block in found.blocks:
        told = block.telemetry.get("clock_event_reasons")
        yield from str(told).split(", ") if told else ()


def roof_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """The roof of each sweep as it was measured, beside that of the data sheet."""
    part = catalogue.accelerators.get(record.accelerator)
    rows = []
    for sweep, points in intensity.points(record.measurements).items():
        roof = intensity.roof(points)
        peak = {"fused": "peak_fp32", "product": "peak_fp16"}[sweep]
        sheet = [
            part.value(name) if part and name in part.figures else None
            for name in ("memory_bandwidth", peak)
        ]
        ridge = sheet[1] / sheet[0] if sheet[0] and sheet[1] else None
        rows.append([sweep, "measured", *_roof_row(roof.bandwidth, roof.compute, roof.ridge)])
        if part:
            rows.append([sweep, "data sheet", *_roof_row(sheet[0], sheet[1], ridge)])
    return Table(("roof", "by", "memory", "arithmetic", "ridge"), rows)


def point_table(record: RunRecord) -> Table:
    """The points of each sweep, from which the roof is drawn."""
    rows = [
        [sweep, f"{p.intensity:.3g} FLOP/B", show(Quantity(p.rate, "FLOP/s"))]
        for sweep, points in intensity.points(record.measurements).items()
        for p in sorted(points, key=lambda point: point.intensity)
    ]
    return Table(("sweep", "intensity", "rate"), rows)


def transfer_table(record: RunRecord, catalogue: Catalogue) -> Table:
    """What absent parts of the family should sustain, each with what was assumed."""
    present, measured = (
        catalogue.accelerators.get(record.accelerator),
        normalised.sustained_rates(record),
    )
    rows: list[list[str]] = []
    for absent in catalogue.accelerators.values():
        if not present or record.sliced:
            break
        if absent.family != present.family or absent.id == present.id:
            continue
        try:
            found = transferred(present, measured, absent, calibration.load().mid)
        except GpubenchError:
            continue  # a figure of that part is not published
        told = {} if found.rates.memory is None else {"memory": (found.rates.memory, "B/s")}
        told |= {name: (rate, "FLOP/s") for name, rate in found.rates.matrix.items()}
        rows += [
            [absent.name, name, show(Quantity(*rate)), why.partition(": ")[2]]
            for (name, rate), why in zip(told.items(), found.assumptions, strict=True)
        ]
    return Table(("absent part", "of", "should sustain", "assumed"), rows)


def _pairs(record: RunRecord) -> Iterator[tuple[Measurement, Measurement]]:
    """(ours, theirs) of the same work and phase that were measured in turn."""
    for ours in record.measurements:
        if ours.case.method != "triton" or "torch" not in ours.in_turn_with or not ours.blocks:
            continue
        for theirs in record.measurements:
            same = (ours.case.benchmark, ours.case.parameters, ours.phase) == (
                theirs.case.benchmark,
                theirs.case.parameters,
                theirs.phase,
            )
            if same and theirs.case.method == "torch" and theirs.in_turn_with and theirs.blocks:
                yield ours, theirs


def _parameters(found: Normalised) -> dict[str, object]:
    return dict(found.measurement.case.parameters)


def _same(found: Normalised) -> tuple[object, ...]:
    """All that must be the same for two products to differ in their data alone."""
    case, phase = found.measurement.case, found.measurement.phase
    rest = sorted((k, v) for k, v in case.parameters.items() if k != "data")
    return case.benchmark, case.method, phase, tuple(rest)


def _data_row(found: Normalised, usual: Normalised) -> list[str]:
    case = found.measurement.case
    clock = timing.reading(found.measurement.blocks, "sm_clock_hz")
    return [
        kernel(case).partition(" of ")[0],
        str(case.parameters["data"]),
        found.measurement.phase,
        show(Quantity(found.rate.mid, found.unit)),
        percent(found.rate.mid / usual.rate.mid),
        f"{clock / 1e6:.0f} MHz" if clock else "",
        show(Quantity(found.watts, "J/s")) if found.watts else "",
        show(Quantity(found.per_joule, found.unit.replace("/s", "/J"))) if found.per_joule else "",
    ]


def _roof_row(memory: float | None, compute: float | None, ridge: float | None) -> list[str]:
    return [
        show(Quantity(memory, "B/s")) if memory else "not reached",
        show(Quantity(compute, "FLOP/s")) if compute else "not reached",
        f"{ridge:.3g} FLOP/B" if ridge else "",
    ]
