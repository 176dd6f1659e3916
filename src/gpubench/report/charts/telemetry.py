"""Clock, power and temperature over the time of a measurement, as its blocks recorded them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.report.charts import COLOURS, SHAPES, altair, styled
from gpubench.report.rates import kernel

READINGS = {
    "sm_clock_hz": ("SM clock, MHz", 1e-6),
    "power_w": ("power, W", 1.0),
    "temperature_c": ("chip, °C", 1.0),
}
"""What is drawn of a block's telemetry, in which words and unit."""

_MOST = 4
_MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class Trace:
    """One measurement: seconds since its first block, and a value of each reading then."""

    name: str
    times: tuple[float, ...]
    values: dict[str, tuple[float, ...]]


def traces(record: RunRecord) -> list[Trace]:
    """The longest measurements of a record that tell their clock or power, heated ones first."""
    found = [trace for one in record.measurements if (trace := _trace(one))]
    found.sort(key=lambda trace: ("sustained" not in trace.name, -trace.times[-1]))
    return found[:_MOST]


def _trace(one: Measurement) -> Trace | None:
    told = [block.telemetry for block in one.blocks if _number(block.telemetry.get("read_at_s"))]
    if len(told) < 2:
        return None
    told = told[:: max(1, len(told) // _MOST_POINTS)]
    values = {
        name: tuple(scale * float(block[name]) for block in told)
        for name, (_, scale) in READINGS.items()
        if all(_number(block.get(name)) for block in told)
    }
    if not values.keys() & {"sm_clock_hz", "power_w"}:
        return None
    start = float(told[0]["read_at_s"])
    times = tuple(float(block["read_at_s"]) - start for block in told)
    try:
        what = kernel(one.case)
    except KeyError:  # told by its time alone
        what = one.case.benchmark
    return Trace(f"{what}, {one.case.method}, {one.phase}", times, values)


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def lines(found: Sequence[Trace], axis: str) -> Any:
    """A panel for each reading, a line for each measurement; `axis` titles the time."""
    alt = altair()
    names = [trace.name for trace in found]
    panels = []
    told = [name for name in READINGS if any(name in trace.values for trace in found)]
    for name in told:
        rows = list(_rows(found, name))
        last = name == told[-1]
        colour = alt.Scale(domain=names, range=list(COLOURS[: len(names)]))
        shape = alt.Scale(domain=names, range=list(SHAPES[: len(names)]))
        # The panels share one legend.
        legend = alt.Legend(orient="bottom", columns=1, title=None, symbolOpacity=1)
        base = alt.Chart(alt.Data(values=rows)).encode(
            x=alt.X("time:Q", title=axis if last else None),
            y=alt.Y("value:Q", title=READINGS[name][0], scale=alt.Scale(zero=False)),
            color=alt.Color("of:N", scale=colour, legend=legend),
        )
        dots = base.mark_point(size=18, filled=True).encode(
            shape=alt.Shape("of:N", scale=shape, legend=legend)
        )
        panels.append((base.mark_line(strokeWidth=1.5) + dots).properties(width=560, height=110))
    return styled(alt.vconcat(*panels, spacing=12))


def _rows(found: Iterable[Trace], name: str) -> Iterable[dict[str, Any]]:
    for trace in found:
        for time, value in zip(trace.times, trace.values.get(name, ()), strict=False):
            yield {"of": trace.name, "time": round(time, 3), "value": round(value, 2)}
