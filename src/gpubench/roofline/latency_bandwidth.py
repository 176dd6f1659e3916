"""Time of a collective as a latency and a rate, fitted to a measured sweep over sizes.

    time = latency + message / rate + transition · √(latency · message / rate)

The first two terms are Hockney's ("The communication challenge for MPP", Parallel Computing 20,
1994). The third is ours: in between, a library cuts a message into pieces and changes protocols,
and neither latency nor rate is at its best; it vanishes beside the others at both ends. The fit
minimises the sum of |ln(fitted / measured)|, so that a size counts as much as another whatever its
time, and one odd size moves little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpubench.errors import CannotEstimate

_FOR_TRANSITION = 6
_FINEST = 1e-6


@dataclass(frozen=True, slots=True)
class LatencyBandwidth:
    """Seconds a message takes at the least, bytes a second of a huge one, and the transition."""

    latency_s: float
    rate: float
    transition: float = 0.0

    def seconds(self, message: float) -> float:
        """The time of a message of so many bytes."""
        return seconds(self.latency_s, message / self.rate, self.transition)


def seconds(latency: float, moving: float, transition: float) -> float:
    """Seconds of a collective with so many of latency and of transfer; arrays place by place."""
    between: float = transition * (latency * moving) ** 0.5
    return latency + moving + between


def fit(points: Sequence[tuple[float, float]]) -> LatencyBandwidth:
    """What lies behind (message in bytes, seconds), by coordinate steps that shrink.

    With fewer than six sizes the transition is left at zero.

    Raises:
        CannotEstimate: fewer than two sizes, or a size or time that is not above zero.
    """
    sizes = {message for message, _ in points}
    if len(sizes) < 2:
        raise CannotEstimate("a latency and a rate take at least two sizes")
    if any(message <= 0 or seconds <= 0 for message, seconds in points):
        raise CannotEstimate("sizes and times must lie above zero")
    found = LatencyBandwidth(
        min(seconds for _, seconds in points),
        max(message / seconds for message, seconds in points),
        1.0 if len(sizes) >= _FOR_TRANSITION else 0.0,
    )
    step, best = 1.0, _misfit(found, points)
    while step > _FINEST:
        moved = False
        for name in ("latency_s", "rate", "transition"):
            for factor in (math.exp(step), math.exp(-step)):
                tried = replace(found, **{name: getattr(found, name) * factor})
                misfit = _misfit(tried, points)
                if misfit < best:
                    found, best, moved = tried, misfit, True
        if not moved:
            step /= 2
    return found


def _misfit(model: LatencyBandwidth, points: Sequence[tuple[float, float]]) -> float:
    return sum(abs(math.log(model.seconds(message) / seconds)) for message, seconds in points)
