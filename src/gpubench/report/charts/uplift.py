"""The uplift of one part over another over prompt and answer length, one panel a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpubench.report.charts import altair, styled
from gpubench.stats import spread

if TYPE_CHECKING:
    from gpubench.roofline.sweep import Plane, Sweep

_CELL = 46
_MOST_LENGTHS, _MOST_BATCHES = 12, 6
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0)


def heat_map(
    found: Sweep,
    plane: Plane,
    title: str,
    claimed: tuple[float, float] | None = None,
) -> Any:
    """Colour and number of each cell are the uplift; cells inside what is claimed have a frame.

    Axes with many values are thinned out evenly, their ends kept.
    """
    subtitle = [f"{plane.where}; estimated throughput of equal requests"]
    if claimed:
        subtitle.append(f"framed: inside the claimed {claimed[0]:g} to {claimed[1]:g}")
    if any(cell["uplift"] is None for cell in _cells(found, plane, claimed)):
        subtitle.append("–: so many sequences do not fit on both")
    drawn = _panels(found, plane, claimed)
    return styled(drawn.properties(title=altair().Title(title, subtitle=subtitle)))


def panels(found: Sweep, plane: Plane) -> Any:
    """The same without a title, for where one stands beside it."""
    return styled(_panels(found, plane, None))


def _panels(found: Sweep, plane: Plane, claimed: tuple[float, float] | None) -> Any:
    alt = altair()
    cells = _cells(found, plane, claimed)
    order = [str(length) for length in spread(found.axes.inputs, _MOST_LENGTHS)]
    answers = [str(length) for length in reversed(spread(found.axes.outputs, _MOST_LENGTHS))]
    x = alt.X("input:N", sort=order, title="prompt, tokens", axis=alt.Axis(labelAngle=0))
    y = alt.Y("output:N", sort=answers, title="answer, tokens", axis=alt.Axis(titlePadding=14))
    base = alt.Chart(alt.Data(values=cells)).encode(x=x, y=y)
    known = [cell["uplift"] for cell in cells if cell["uplift"]]
    low, high = min([1.0, *known]), max([1.2, *known])
    scale = alt.Scale(scheme="viridis", type="log", domain=[low, high], clamp=True)
    colour = base.mark_rect().encode(
        color=alt.Color(
            "uplift:Q",
            scale=scale,
            title="uplift",
            legend=alt.Legend(format=".2~f", values=[n for n in _TICKS if low <= n <= high]),
        )
    )
    text = (
        base.transform_filter("datum.uplift !== null")
        .mark_text(fontSize=11)
        .encode(
            text="label:N",
            color=alt.condition(
                alt.datum.uplift > low * (high / low) ** 0.62,
                alt.value("#000000"),
                alt.value("#ffffff"),
            ),
        )
    )
    absent = base.transform_filter("datum.uplift === null").mark_text(fontSize=11, color="#777")
    frame = (
        base.transform_filter("datum.inside")
        .mark_rect(filled=False, stroke="#d55e00", strokeWidth=3)
        .encode()
    )
    size = {"width": _CELL * len(order), "height": 26 * len(answers)}
    panel = (colour + text + absent.encode(text="label:N") + frame).properties(**size)
    return panel.facet(facet=alt.Facet("batch:N", title=None, sort=_batches(found)), columns=2)


def _cells(found: Sweep, plane: Plane, claimed: tuple[float, float] | None) -> list[dict[str, Any]]:
    assert plane.uplift is not None
    axes = found.axes
    cells = []
    for batch in spread(axes.batches, _MOST_BATCHES):
        for prompt in spread(axes.inputs, _MOST_LENGTHS):
            for answer in spread(axes.outputs, _MOST_LENGTHS):
                place = (
                    axes.batches.index(batch),
                    axes.inputs.index(prompt),
                    axes.outputs.index(answer),
                )
                value = float(plane.uplift[place])
                known = value == value  # NaN where it does not fit
                cells.append(
                    {
                        "batch": batch_name(batch),
                        "input": str(prompt),
                        "output": str(answer),
                        "uplift": value if known else None,
                        "label": f"{value:.2f}" if known else "–",
                        "inside": bool(known and claimed and claimed[0] <= value <= claimed[1]),
                    }
                )
    return cells


def _batches(found: Sweep) -> list[str]:
    return [batch_name(batch) for batch in spread(found.axes.batches, _MOST_BATCHES)]


def batch_name(batch: int) -> str:
    """A batch in words: 0 stands for as many as fit."""
    return f"{batch} at once" if batch else "as many as fit on each"
