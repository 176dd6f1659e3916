"""One claim as a small drawing: what is claimed, what is accepted and what was found, in rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpubench.model import Claim, Evidence, Interval, Verdict
from gpubench.report.charts.drawing import Scale, element, log_ticks, text, ticks

WIDTH, HEIGHT = 340, 74
_LEFT, _RIGHT = 62.0, WIDTH - 8.0
_ROWS = (11.0, 28.0, 45.0)
_AXIS = 56.0
_LOG_FROM = 6.0  # times the least value; below, equal steps read better
_ARROW = 5.0


@dataclass(frozen=True, slots=True)
class Shown:
    """The three intervals in SI, and every middle value of the evidence; ends may be infinite.

    `sustained` spans the rates that confirm a peak from below.
    """

    claimed: Interval
    accepted: Interval
    found: Interval
    middles: tuple[float, ...] = ()
    sustained: Interval | None = None

    @property
    def ends(self) -> list[float]:
        """All finite ends, in order."""
        intervals = (self.claimed, self.accepted, self.found, self.sustained or self.found)
        ends = [end for one in intervals for end in (one.low, one.high)]
        return sorted(end for end in ends if math.isfinite(end))


def shown(verdict: Verdict, claim: Claim) -> Shown | None:
    """What to draw of a verdict; None where words or dates were compared, or nothing was found."""
    what = claim.claimed
    if not (verdict.accepted and verdict.span and what.low and what.high):
        return None
    ends = sorted(end.as_found(end.value.value) for end in (what.low, what.high))
    claimed = Interval(*ends)
    less = what.low.change == "less"
    beyond = what.qualifier
    if beyond in ("at-least", "more-than"):
        claimed = Interval(-math.inf, ends[1]) if less else Interval(ends[0], math.inf)
    if beyond in ("at-most", "less-than", "up-to"):
        claimed = Interval(ends[0], math.inf) if less else Interval(-math.inf, ends[1])
    pairs = zip(verdict.evidence, verdict.relations, strict=True)
    rates = [item for item, relation in pairs if relation == "achievable"]
    ends = [end for item in rates for end in (item.low, item.high) if end is not None]
    sustained = Interval(min(ends), max(ends)) if ends else None
    return Shown(claimed, verdict.accepted, verdict.span, _middles(verdict.evidence), sustained)


def _middles(evidence: Sequence[Evidence]) -> tuple[float, ...]:
    """At most a few dozen of them; more would only make a bar."""
    found = sorted({item.mid for item in evidence if item.mid is not None})
    step = max(1, len(found) // 40)
    return tuple(found[::step])


def draw(
    found: Shown,
    show: Callable[[float], str],
    rows: tuple[str, str, str],
    said: str,
    outcome: str,
    one: float = 1.0,
) -> str:
    """The drawing as an SVG element.

    `show` writes a value on the axis, whose marks are round numbers of a unit that is `one` in SI;
    `rows` names the rows (claimed, accepted, found), `said` is the text alternative, and `outcome`
    becomes the class that colours what was found.
    """
    scale = _scale(found)
    band = _bar(scale, found.accepted, _ROWS[0] - 8, _AXIS - _ROWS[0] + 8, "band")
    marks = [
        _mark(scale, found.claimed, _ROWS[0], "claimed"),
        _mark(scale, found.accepted, _ROWS[1], "accepted"),
        _mark(scale, found.found, _ROWS[2], "found"),
    ]
    if found.sustained:
        marks.append(_mark(scale, found.sustained, _ROWS[2], "found sustained"))
    dots = [
        element("circle", cx=scale(value), cy=_ROWS[2], r=1.4, class_="dot")
        for value in found.middles
        if scale(found.found.low) + 3 < scale(value) < scale(found.found.high) - 3
    ]
    labels = [text(row, 0, y + 3.5) for row, y in zip(rows, _ROWS, strict=True)]
    return element(
        "svg",
        band,
        element("line", x1=_LEFT, x2=_RIGHT, y1=_AXIS, y2=_AXIS, class_="axis"),
        *_ticks(scale, show, one),
        *labels,
        *marks,
        *dots,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_=f"interval {outcome}",
        role="img",
        aria_label=said,
    )


def _scale(found: Shown) -> Scale:
    """Wide enough for all finite ends; equal ratios where they lie far apart."""
    low, high = found.ends[0], found.ends[-1]
    open_low = any(math.isinf(one.low) for one in (found.claimed, found.accepted))
    open_high = any(math.isinf(one.high) for one in (found.claimed, found.accepted))
    if low > 0 and high / low > _LOG_FROM:
        ratio = (high / low) ** 0.1
        return Scale(low / ratio, high * ratio, _LEFT, _RIGHT, log=True)
    room = (high - low) or abs(high) or 1.0
    below, above = (0.45 if far else 0.12 for far in (open_low, open_high))
    least = low - below * room
    # Nothing of what is counted or timed lies below nothing.
    return Scale(max(least, 0.0) if low >= 0 else least, high + above * room, _LEFT, _RIGHT)


def _ticks(scale: Scale, show: Callable[[float], str], one: float) -> list[str]:
    """Marks and values of the axis, as many as have room."""
    values = (log_ticks if scale.log else ticks)(scale.low / one, scale.high / one, 3)
    drawn, taken = [], -math.inf
    for value in (each * one for each in values):
        label = show(value)
        half = 2.9 * len(label)
        at = min(max(scale(value), _LEFT + half - 14), _RIGHT - half + 6)
        if at - half < taken:
            continue
        taken = at + half + 4
        x = scale(value)
        drawn.append(element("line", x1=x, x2=x, y1=_AXIS, y2=_AXIS + 3, class_="axis"))
        drawn.append(text(label, at, _AXIS + 14, text_anchor="middle", class_="tick"))
    return drawn


def _bar(scale: Scale, one: Interval, y: float, height: float, kind: str) -> str:
    left, right = scale(one.low), scale(one.high)
    if right - left < 2:
        left, right = (left + right) / 2 - 1, (left + right) / 2 + 1
    return element("rect", x=left, y=y, width=right - left, height=height, class_=kind)


def _mark(scale: Scale, one: Interval, y: float, kind: str) -> str:
    """A line from end to end, a diamond for a point, an arrow where there is no bound."""
    left, right = scale(one.low), scale(one.high)
    if right - left < 2.5:
        x = (left + right) / 2
        points = f"{x - 5:.1f},{y} {x:.1f},{y - 5} {x + 5:.1f},{y} {x:.1f},{y + 5}"
        return element("polygon", points=points, class_=f"point {kind}")
    parts = [element("rect", x=left, y=y - 3, width=right - left, height=6, class_=f"bar {kind}")]
    if math.isinf(one.high):
        parts.append(_head(right, y, 1, kind))
    if math.isinf(one.low):
        parts.append(_head(left, y, -1, kind))
    return "".join(parts)


def _head(x: float, y: float, way: int, kind: str) -> str:
    tip = x + way * _ARROW
    points = f"{x},{y - 6} {tip},{y} {x},{y + 6}"
    return element("polygon", points=points, class_=f"bar {kind}")
