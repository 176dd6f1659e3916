"""Measuring: the clock, the engine that decides how long to look, telemetry, and physical guards.

    device = find("auto", catalogue.accelerator)
    measurement = measure(prepared, clock_for(device), PLANS["quick"], device.telemetry)
    cautions = guards.inspect(measurement, Ceilings(bandwidth=device.peak_bandwidth))

`clock` measures time and nothing else in gpubench does; `sampling` is the engine; `timing` is what
its samples say; `telemetry`, `device`, `variant` and `provenance` are what the machine says of
itself, `idle` what it draws at rest, `allocatable` what memory it can really have, and `limit` lets
it pass for a part with less; `guards`, `verify` and `faults` are what can be wrong, `watchdog`
notices a device that never answers, and `trials` names what it was given then; `flush` keeps caches
out of it.
"""

from gpubench.measuring.allocatable import allocatable_bytes
from gpubench.measuring.clock import Clock, DeviceClock, HostClock
from gpubench.measuring.device import (
    Device,
    clock_for,
    current,
    find,
    import_torch,
    synchronize,
    why_no_gpu,
)
from gpubench.measuring.faults import refused, told
from gpubench.measuring.guards import Ceilings
from gpubench.measuring.idle import idle_power
from gpubench.measuring.limit import limited
from gpubench.measuring.sampling import PLANS, CutShort, Plan, Prepared, measure, measure_in_turn
from gpubench.measuring.telemetry import NullTelemetry, Reading, Telemetry
from gpubench.measuring.timing import Timing
from gpubench.measuring.trials import Shunned, Trials
from gpubench.measuring.watchdog import Watchdog

__all__ = [
    "PLANS",
    "Ceilings",
    "Clock",
    "CutShort",
    "Device",
    "DeviceClock",
    "HostClock",
    "NullTelemetry",
    "Plan",
    "Prepared",
    "Reading",
    "Shunned",
    "Telemetry",
    "Timing",
    "Trials",
    "Watchdog",
    "allocatable_bytes",
    "clock_for",
    "current",
    "find",
    "idle_power",
    "import_torch",
    "limited",
    "measure",
    "measure_in_turn",
    "refused",
    "synchronize",
    "told",
    "why_no_gpu",
]
