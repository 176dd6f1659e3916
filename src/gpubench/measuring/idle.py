"""What a card draws while it does nothing, to be told apart from what work costs."""

from __future__ import annotations

import time

from gpubench.measuring.telemetry import Telemetry

SETTLE_S, WATCH_S = 1.0, 2.0
"""How long to let the card come to rest, and how long to watch it: its counter moves in steps of up
to a tenth of a second."""


def idle_power(
    telemetry: Telemetry, settle_s: float | None = None, watch_s: float | None = None
) -> float | None:
    """Watts of a card that nothing runs on, by its energy counter, else by the mean of its power
    readings; None when the driver tells neither.
    """
    first = telemetry.read().values
    if "total_energy_j" not in first and "power_w" not in first:
        return None
    time.sleep(SETTLE_S if settle_s is None else settle_s)
    began, before = time.monotonic(), telemetry.read().values
    time.sleep(WATCH_S if watch_s is None else watch_s)
    after, seconds = telemetry.read().values, time.monotonic() - began
    joules = [reading.get("total_energy_j") for reading in (before, after)]
    if all(isinstance(value, int | float) for value in joules) and seconds > 0:
        found = (float(joules[1] or 0) - float(joules[0] or 0)) / seconds
        if found > 0:
            return found
    watts = [reading.get("power_w") for reading in (before, after)]
    told = [float(value) for value in watts if isinstance(value, int | float)]
    return sum(told) / len(told) if told else None
