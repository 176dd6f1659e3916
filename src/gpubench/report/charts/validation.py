"""How far the model is from published measurements: a scatter, and the errors by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpubench.report.charts import COLOURS, SHAPES, altair, styled

if TYPE_CHECKING:
    from gpubench.validating.scoring import Compared, Comparison
    from gpubench.validating.validation import Prediction

_BAND = 1.25
_MARGIN = 1.3
_SIDE = 460
_WIDTH = 520
_METRICS = {"tok_s": "throughput, token/s a device", "ttft_ms": "time to first token, ms"}
_FEW = 12
# Sources with fewer rows share a line of the error chart.


def scatter(found: Comparison) -> Any:
    """Published against predicted, log-log, one panel a metric; the band is a factor of 1.25."""
    alt = altair()
    points = [_point(row) for row in found.rows if row.scored]
    names = sorted({point["gpu"] for point in points})
    panels = []
    for metric, title in _METRICS.items():
        some = [point for point in points if point["metric"] == metric]
        if some:
            panels.append(_panel(alt, some, names, title))
    return styled(
        alt.hconcat(*panels).properties(
            title=alt.Title(
                "The performance model beside published measurements",
                subtitle=f"{len(points):,} rows; the line is equality, "
                f"the band a factor of {_BAND:g} either way",
            )
        )
    )


def _panel(alt: Any, points: Sequence[dict[str, Any]], names: list[str], title: str) -> Any:
    low = min(min(point["published"], point["predicted"]) for point in points)
    high = max(max(point["published"], point["predicted"]) for point in points)
    ends = (low / _MARGIN, high * _MARGIN)
    scale = alt.Scale(type="log", domain=list(ends), nice=False)
    line = [{"x": at, "y": at, "low": at / _BAND, "high": at * _BAND} for at in ends]
    ground = alt.Chart(alt.Data(values=line)).encode(x=alt.X("x:Q", scale=scale, title=""))
    band = ground.mark_area(opacity=0.12, color="#000", clip=True).encode(
        y=alt.Y("low:Q", scale=scale, title=""), y2="high:Q"
    )
    equal = ground.mark_line(color="#000", strokeWidth=1, clip=True).encode(
        y=alt.Y("y:Q", scale=scale, title="")
    )
    dots = (
        alt.Chart(alt.Data(values=list(points)))
        .mark_point(size=22, opacity=0.55, filled=True)
        .encode(
            x=alt.X("published:Q", scale=scale, title=f"published: {title}"),
            y=alt.Y("predicted:Q", scale=scale, title=f"predicted: {title}"),
            color=alt.Color("gpu:N", title="accelerator", scale=_scale(alt, names, COLOURS)),
            shape=alt.Shape("gpu:N", title="accelerator", scale=_scale(alt, names, SHAPES)),
            tooltip=["line:Q", "gpu:N", "model:N", "published:Q", "predicted:Q"],
        )
    )
    return (band + equal + dots).properties(width=_SIDE, height=_SIDE)


def _scale(alt: Any, names: list[str], values: Sequence[str]) -> Any:
    return alt.Scale(domain=names, range=[values[i % len(values)] for i in range(len(names))])


def _point(row: Compared) -> dict[str, Any]:
    assert row.scored
    published = row.scored.row
    metric = "tok_s" if published.metric.endswith("tok_s") else published.metric
    shares = published.gpus if metric == "tok_s" else 1
    return {
        "line": row.entry.line,
        "gpu": published.accelerator,
        "model": published.model,
        "metric": metric,
        "published": row.scored.published / shares,
        "predicted": (row.scored.value or 0.0) / shares,
    }


# --------------------------------------------------------------------------- counted in cells

_CELLS_A_DECADE = 12


def density(found: Comparison) -> Any:
    """The scatter with its points counted in cells: a drawing as small for any number of rows."""
    alt = altair()
    points = [_point(row) for row in found.rows if row.scored]
    panels = []
    for metric, title in _METRICS.items():
        some = [point for point in points if point["metric"] == metric]
        if some:
            panels.append(_counted(alt, some, title))
    return styled(alt.hconcat(*panels, spacing=28))


def _counted(alt: Any, points: Sequence[dict[str, Any]], title: str) -> Any:
    cells: dict[tuple[int, int], int] = {}
    for point in points:
        cell = _cell(point["published"]), _cell(point["predicted"])
        cells[cell] = cells.get(cell, 0) + 1
    every = [place for cell in cells for place in cell]
    ends = _edge(min(every) - 1), _edge(max(every) + 2)
    scale = alt.Scale(type="log", domain=list(ends), nice=False)
    rows = [
        {
            "left": _edge(x),
            "right": _edge(x + 1),
            "low": _edge(y),
            "high": _edge(y + 1),
            "rows": count,
        }
        for (x, y), count in cells.items()
    ]
    decades = range(math.ceil(math.log10(ends[0])), math.floor(math.log10(ends[1])) + 1)
    axis = alt.Axis(format="~s", values=[10.0**power for power in decades])
    ground = alt.Chart(
        alt.Data(values=[{"x": e, "y": e, "low": e / _BAND, "high": e * _BAND} for e in ends])
    ).encode(x=alt.X("x:Q", scale=scale, axis=axis, title=""))
    band = ground.mark_area(opacity=0.12, color="#000", clip=True).encode(
        y=alt.Y("low:Q", scale=scale, axis=axis, title=""), y2="high:Q"
    )
    equal = ground.mark_line(color="#000", strokeWidth=1, clip=True).encode(
        y=alt.Y("y:Q", scale=scale, axis=axis, title="")
    )
    squares = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect()
        .encode(
            x=alt.X("left:Q", scale=scale, axis=axis, title=f"published: {title}"),
            x2="right:Q",
            y=alt.Y("low:Q", scale=scale, axis=axis, title=f"predicted: {title}"),
            y2="high:Q",
            color=alt.Color("rows:Q", title="rows", scale=alt.Scale(scheme="viridis", type="log")),
        )
    )
    return (
        (band + squares + equal)
        .properties(width=300, height=300)
        .resolve_scale(color="independent")
    )


def _cell(value: float) -> int:
    return math.floor(math.log10(value) * _CELLS_A_DECADE)


def _edge(cell: int) -> float:
    """Where a cell begins."""
    return float(10 ** (cell / _CELLS_A_DECADE))


# --------------------------------------------------------------------------- errors by group


def errors(found: Comparison) -> Any:
    """Quantiles of predicted / published by accelerator, kind of row and source.

    The box holds half of a group's rows, the line eight tenths; what a group's rows are is counted
    beside its name.
    """
    alt = altair()
    groups: dict[str, Callable[[Prediction], str]] = {
        "accelerator": lambda one: one.row.accelerator,
        "kind of row": lambda one: one.kind,
        "source": lambda one: one.row.source_id or "not named",
    }
    panels = []
    for title, key in groups.items():
        parts: dict[str, list[float]] = {}
        for row in found.rows:
            if row.scored:
                parts.setdefault(key(row.scored), []).append(row.scored.error + 1)
        panels.append(_boxes(alt, _gathered(parts), title, last=title == "source"))
    return styled(
        alt.vconcat(*panels, spacing=14)
        .resolve_scale(x="shared")
        .properties(
            title=alt.Title(
                "Predicted over published",
                subtitle="tick: median; box: half of the rows; line: eight tenths; grey: ±10 %",
            )
        )
    )


def _gathered(parts: dict[str, list[float]]) -> dict[str, list[float]]:
    """Groups with few rows put together, greatest first."""
    kept = {name: ratios for name, ratios in parts.items() if len(ratios) >= _FEW}
    rest = [ratio for name, ratios in parts.items() if name not in kept for ratio in ratios]
    ordered = dict(sorted(kept.items(), key=lambda item: -len(item[1])))
    return {**ordered, f"with fewer than {_FEW} rows": rest} if rest else ordered


def _boxes(alt: Any, parts: dict[str, list[float]], title: str, last: bool) -> Any:
    from gpubench import stats

    rows = []
    for name, ratios in parts.items():
        cuts = {f"q{p}": stats.percentile(ratios, p / 100) for p in (10, 25, 50, 75, 90)}
        rows.append({"group": f"{name.replace('_', ' ')} ({len(ratios):,})", **cuts})
    order = [row["group"] for row in rows]
    domain = [0.4, 2.5]
    scale = alt.Scale(type="log", domain=domain, nice=False)
    axis = alt.Axis(values=[0.4, 0.5, 0.7, 0.9, 1, 1.1, 1.4, 2, 2.5], format="g")
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("group:N", sort=order, title=title, axis=alt.Axis(labelLimit=320, titlePadding=12))
    )
    x = alt.X("q10:Q", scale=scale, axis=axis, title="predicted / published" if last else "")
    near = (
        alt.Chart(alt.Data(values=[{"low": 0.9, "high": 1.1}]))
        .mark_rect(opacity=0.12, color="#000")
        .encode(x=alt.X("low:Q", scale=scale, axis=axis, title=""), x2="high:Q")
    )
    span = base.mark_rule(color=COLOURS[0], clip=True).encode(x=x, x2="q90:Q")
    box = base.mark_bar(color=COLOURS[0], height=9, opacity=0.75, clip=True).encode(
        x=alt.X("q25:Q", scale=scale, title=""), x2="q75:Q"
    )
    middle = base.mark_tick(color="#000", thickness=2, size=14, clip=True).encode(
        x=alt.X("q50:Q", scale=scale, title="")
    )
    return (near + span + box + middle).properties(width=_WIDTH, height=alt.Step(18))
