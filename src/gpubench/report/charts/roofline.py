"""The roofline of any two accelerators: ceilings from data sheets, points estimated and measured.

Every accelerator is drawn once, on axes that all of them share, as a group of its own; a page shows
two of the groups, so that choosing others needs neither data nor drawing in the reader's browser.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from gpubench.benchmarks import is_evidence
from gpubench.catalogue import Catalogue
from gpubench.errors import GpubenchError
from gpubench.measuring import timing
from gpubench.model import Accelerator, Measurement
from gpubench.records import RunRecord
from gpubench.report.charts.drawing import Scale, element, path, text
from gpubench.roofline import calibration, ceilings, operators
from gpubench.units import Quantity, show

WIDTH, HEIGHT = 760, 500
_INTENSITY, _RATE = (0.1, 20_000.0), (1e11, 3e16)
_X = Scale(*_INTENSITY, 62.0, WIDTH - 12.0, log=True)
_Y = Scale(*_RATE, HEIGHT - 46.0, 12.0, log=True)

PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "fp4")
"""Peaks that become ceilings: dense ones, and that of the vector units. BF16 stands for FP16 where
that is not published; otherwise the two would lie on each other."""

_ROWS = (1, 16, 64, 256, 1024, 8192)
_SIZE = 8192
"""The points estimated: products of m x 8192 x 8192 in 16 bits, from a decode step of one sequence
to a long prompt."""

_MOST_MEASURED = 60


@dataclass(frozen=True, slots=True)
class Point:
    """FLOP a byte, FLOP/s with its interval, and what it is of."""

    intensity: float
    low: float
    mid: float
    high: float
    name: str


@dataclass(frozen=True)
class Roof:
    """An accelerator's ceilings: B/s, FLOP/s by precision, and its points."""

    part: Accelerator
    memory: float
    peaks: Mapping[str, float]
    estimated: Sequence[Point] = ()
    measured: Sequence[Point] = field(default=())

    @property
    def levels(self) -> dict[str, float]:
        """The peaks that are drawn: BF16 only where FP16 has none."""
        return {
            n: peak for n, peak in self.peaks.items() if n != "bf16" or "fp16" not in self.peaks
        }

    def ridge(self, precision: str) -> float:
        """FLOP a byte at which memory and the units of a precision limit alike."""
        return self.peaks[precision] / self.memory


def roofs(catalogue: Catalogue, records: Iterable[RunRecord] = ()) -> dict[str, Roof]:
    """The roof of every accelerator whose bandwidth and at least one peak are published, by id."""
    points: dict[str, list[Point]] = {}
    for record in records:
        points.setdefault(record.accelerator, []).extend(_measured(record.measurements))
    found = {}
    for part in catalogue.accelerators.values():
        peaks = _peaks(part)
        if peaks and "memory_bandwidth" in part.figures:
            memory = part.value("memory_bandwidth")
            measured = points.get(part.id, [])[:_MOST_MEASURED]
            found[part.id] = Roof(part, memory, peaks, _estimated(part), measured)
    return found


def _peaks(part: Accelerator) -> dict[str, float]:
    return {
        name: part.value(f"peak_{name}") for name in PRECISIONS if f"peak_{name}" in part.figures
    }


def _estimated(part: Accelerator) -> tuple[Point, ...]:
    """What the model expects of products of matrices; nothing where a figure is missing."""
    shared = calibration.load()
    stored = "fp16" if "peak_fp16" in part.figures else "bf16"
    settings = (shared.mid, *shared.varied("memory"), *shared.varied("compute"))
    points = []
    for rows in _ROWS:
        work = operators.gemm(rows, _SIZE, _SIZE, 2, 2, 2)
        try:
            rates = [
                work.flops
                / operators.time(
                    work,
                    ceilings.matrix_rate(part, stored, with_),
                    ceilings.memory_rate(part, with_),
                    with_.smoothness,
                ).seconds
                for with_ in settings
            ]
        except GpubenchError:
            return ()
        name = f"{stored.upper()} {rows} × {_SIZE} × {_SIZE}"
        intensity = work.flops / work.bytes
        points.append(Point(intensity, min(rates), rates[0], max(rates), name))
    return tuple(points)


def _measured(measurements: Iterable[Measurement]) -> list[Point]:
    """The measured points that have operations and bytes, implausible ones left out."""
    points = []
    for one in measurements:
        told = one.case.benchmark == "intensity" or is_evidence(one.case)
        if not (one.work.flops and one.work.bytes and one.sound and told):
            continue
        rate = timing.throughput(one)
        p = one.case.parameters
        size = f" {p['m']} × {p['n']} × {p['k']}" if "k" in p else ""
        what = p.get("precision") or p.get("pattern") or p.get("sweep")
        name = f"{one.case.benchmark} {what}{size}, {one.case.method}, {one.phase}"
        intensity = one.work.flops / one.work.bytes
        if _INTENSITY[0] <= intensity <= _INTENSITY[1]:
            points.append(Point(intensity, rate.low, rate.mid, rate.high, name))
    return points


# --------------------------------------------------------------------------- drawing


def draw(
    found: Mapping[str, Roof], first: str, second: str, axes: tuple[str, str], said: str
) -> str:
    """All roofs as one SVG element, of which the groups of two parts have the class `first` or
    `second`. Labels come after all lines, so that no line crosses one.

    `axes` are the titles of both axes, `said` the text alternative.
    """
    place = {first: "first", second: "second"}
    return element(
        "svg",
        *_grid(axes),
        *(_lines(roof, place.get(name, "")) for name, roof in found.items()),
        *(_labels(roof, place.get(name, "")) for name, roof in found.items()),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="roofline",
        role="img",
        aria_label=said,
    )


def _grid(axes: tuple[str, str]) -> list[str]:
    parts = []
    for power in range(-1, 5):
        x = _X(10.0**power)
        parts.append(element("line", x1=x, x2=x, y1=_Y.first, y2=_Y.last, class_="grid"))
        parts.append(text(f"{10.0**power:,g}", x, _Y.first + 20, text_anchor="middle"))
    for power in range(11, 17):
        y = _Y(10.0**power)
        label = show(Quantity(10.0**power, "FLOP/s"))
        parts.append(element("line", x1=_X.first, x2=_X.last, y1=y, y2=y, class_="grid"))
        number, _, unit = label.partition(" ")
        parts.append(text(number, _X.first - 6, y - 1, text_anchor="end"))
        parts.append(text(unit, _X.first - 6, y + 10, text_anchor="end", class_="unit"))
    middle = (_X.first + _X.last) / 2
    parts.append(text(axes[0], middle, HEIGHT - 5, text_anchor="middle", class_="title"))
    parts.append(text(axes[1], _X.first + 6, 22, class_="title"))
    return parts


def _lines(roof: Roof, place: str) -> str:
    """The roof of one accelerator and its points."""
    (x1, y1), (x2, y2) = _slope(roof)
    lines = [path([(x1, y1), (x2, y2)], class_="roof")]
    for precision, peak in roof.levels.items():
        y, start = _Y(peak), max(roof.ridge(precision), _INTENSITY[0])
        lines.append(path([(_X(start), y), (_X.last, y)], class_="roof"))
    points = [_dot(point, "estimated") for point in roof.estimated]
    points += [_dot(point, "measured") for point in roof.measured]
    return element("g", *lines, *points, data_part=roof.part.id, class_=place or None)


def _labels(roof: Roof, place: str) -> str:
    """Peaks along their lines, bandwidth along the slope: both shapes of label stand in it, and the
    page shows that of the accelerator's place.
    """
    labels = []
    for peak, names in _same_height(roof).items():
        label = f"{' and '.join(names)} {show(Quantity(peak, 'FLOP/s'))}"
        for kind, x in (("at-first", _X.last - 2), ("at-second", _X.last - 124)):
            labels.append(text(label, x, _Y(peak) - 4, text_anchor="end", class_=kind))
    (x1, y1), (x2, y2) = _slope(roof)
    turn = math.degrees(math.atan2(y2 - y1, x2 - x1))
    for kind, along, off in (("at-first", 24, -7), ("at-second", 92, 15)):
        labels.append(
            text(
                show(Quantity(roof.memory, "B/s")),
                along,
                off,
                class_=kind,
                transform=f"translate({x1:.1f},{y1:.1f}) rotate({turn:.1f})",
            )
        )
    return element("g", *labels, data_part=roof.part.id, class_=place or None)


def _same_height(roof: Roof) -> dict[float, list[str]]:
    """The precisions of each peak, in capitals."""
    found: dict[float, list[str]] = {}
    for precision, peak in roof.levels.items():
        found.setdefault(peak, []).append(precision.upper())
    return found


def _slope(roof: Roof) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where memory bounds, up to the highest ridge: both ends, on the drawing."""
    top = max(roof.peaks.values())
    start = max(_INTENSITY[0], _RATE[0] / roof.memory)
    (x1, y1), (x2, y2) = (
        (_X(x), _Y(y)) for x, y in ((start, start * roof.memory), (top / roof.memory, top))
    )
    return (x1, y1), (x2, y2)


def _dot(point: Point, kind: str) -> str:
    """A point with its interval: hollow where estimated, full where measured."""
    x, y = _X(point.intensity), _Y(point.mid)
    title = f"{point.name}: {show(Quantity(point.mid, 'FLOP/s'))}"
    line = element("line", x1=x, x2=x, y1=_Y(point.low), y2=_Y(point.high))
    shape = element("circle", element("title", escape(title)), cx=x, cy=y, r=4.0)
    return element("g", line, shape, class_=kind)


def choices(found: Mapping[str, Roof]) -> list[Roof]:
    """The roofs to choose from, in the order of a menu: by name."""
    return sorted(found.values(), key=lambda roof: roof.part.name.casefold())
