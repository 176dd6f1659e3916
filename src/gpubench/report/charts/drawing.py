"""Drawing SVG by hand, for charts that follow the page's colours: scales, ticks, elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` on pixels from `first` to `last`; values beyond are cut off.

    A logarithmic scale needs positive values.
    """

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.first + (at - low) / (high - low) * (self.last - self.first)


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round values between two others, evenly apart: at least two, about `most`."""
    for wanted in range(most, 5 * most):
        step = _nice((high - low) / wanted)
        found = [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step) + 1)]
        if len(found) > 1:
            return found[:: math.ceil(len(found) / (most + 1))]
    return [low, high]


def log_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Powers of ten between two values, or where there are too few also 2 and 5 times them."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5)):
        every = (digit * 10.0**power for power in decades for digit in digits)
        found = [value for value in every if low <= value <= high]
        if len(found) > 1:
            return found[:: math.ceil(len(found) / (most + 1))]
    return [low, high]


def _nice(step: float) -> float:
    """1, 2 or 5 times a power of ten, the next below or above a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return power * min((1, 2, 5, 10), key=lambda digit: abs(math.log(step / power / digit)))


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def element(name: str, *children: str, **attributes: Any) -> str:
    """An element; a trailing underscore of an attribute's name is dropped, others become dashes."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )
    return f"<{name}{told}>{''.join(children)}</{name}>" if children else f"<{name}{told}/>"


def text(words: str, x: float, y: float, **attributes: Any) -> str:
    """A line of text, escaped."""
    return element("text", escape(words), x=x, y=y, **attributes)


def path(points: Sequence[tuple[float, float]], **attributes: Any) -> str:
    """A line through points."""
    d = "M" + "L".join(f"{number(x)},{number(y)}" for x, y in points)
    return element("path", d=d, **attributes)


def _value(value: Any) -> str:
    return number(value) if isinstance(value, float) else escape(str(value))
