"""Sustained rates as shares of the data sheet's peak, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gpubench import benchmarks
from gpubench.catalogue import Catalogue
from gpubench.comparing import normalised
from gpubench.quantities import QUANTITIES
from gpubench.records import RunRecord
from gpubench.report.charts.drawing import element
from gpubench.report.rates import kernel
from gpubench.units import Quantity, show

_MOST_MEASURED = 24


@dataclass(frozen=True, slots=True)
class Share:
    """A sustained rate over the peak of a figure, as an interval, and the rate in words.

    `kind` is "measured" by gpubench or "published" by others.
    """

    figure: str
    part: str
    how: str
    kind: str
    low: float
    mid: float
    high: float
    rate: str


def measured(records: Iterable[RunRecord], catalogue: Catalogue) -> list[Share]:
    """The best rates of each record, as many as a chart has room for."""
    found = []
    for record in records:
        for one in normalised.rates(record, catalogue):
            case = one.measurement.case
            if one.of_datasheet is None or not benchmarks.is_evidence(case):
                continue
            peak = one.rate.mid / one.of_datasheet
            found.append(
                Share(
                    figure=benchmarks.figure(case),
                    part=catalogue.accelerators[record.accelerator].name,
                    how=f"{kernel(case)}, {case.method}, {one.measurement.phase}",
                    kind="measured",
                    low=one.rate.low / peak,
                    mid=one.of_datasheet,
                    high=one.rate.high / peak,
                    rate=show(Quantity(one.rate.mid, one.unit)),
                )
            )
    return sorted(found, key=lambda share: -share.mid)[:_MOST_MEASURED]


def published(catalogue: Catalogue) -> list[Share]:
    """What others sustained, of memory bandwidth and of dense peaks, where a peak is published."""
    found = []
    for one in catalogue.findings:
        part = catalogue.accelerators[one.subject]
        rated = one.conditions.get("rate") == "sustained" and one.quantity in part.figures
        if one.baseline or not rated or QUANTITIES[one.quantity].unit != one.unit:
            continue
        peak = part.value(one.quantity)
        found.append(
            Share(
                figure=one.quantity,
                part=part.name,
                how=one.how or one.source.partition(",")[0],
                kind="published",
                low=one.low / peak,
                mid=one.mid / peak,
                high=one.high / peak,
                rate=show(Quantity(one.mid, one.unit)),
            )
        )
    return sorted(found, key=lambda share: -share.mid)


_WHOLE = 240.0
_WIDTH, _HEIGHT = 300, 14
"""Pixels of 100 %, and of a bar's room: some rates beat what a data sheet promises."""


def bar(share: Share) -> str:
    """One share as an SVG element, a line over its interval; the dashes are 100 %."""
    low, high = (min(end * _WHOLE, _WIDTH) for end in (share.low, share.high))
    middle = _HEIGHT / 2
    parts = [
        element("rect", x=0, y=2, width=_WIDTH, height=_HEIGHT - 4, class_="ground"),
        element(
            "rect",
            x=0,
            y=2,
            width=min(share.mid * _WHOLE, float(_WIDTH)),
            height=_HEIGHT - 4,
            class_=share.kind,
        ),
        element("line", x1=_WHOLE, x2=_WHOLE, y1=0, y2=_HEIGHT, class_="whole"),
    ]
    if high - low > 1:
        parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval-line"))
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        class_="share",
        role="img",
        aria_label=f"{100 * share.mid:.0f} %",
    )
