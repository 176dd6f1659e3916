"""Records in the formats of other tools: one file a format.

    content = render("prometheus", record)

A format is a module with `render(record) -> bytes`.
Rates are in SI units; what is not measured whole, or implausible, is left out everywhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gpubench import benchmarks
from gpubench.measuring import timing
from gpubench.measuring.timing import Timing
from gpubench.model import Measurement
from gpubench.records import RunRecord, case_key

FORMATS: Mapping[str, str] = {
    "pytest-benchmark": "pytest_benchmark",
    "github-action-benchmark": "github_action_benchmark",
    "prometheus": "prometheus",
    "parquet": "parquet",
}
"""Each format with the module here that writes it."""


@dataclass(frozen=True)
class Told:
    """A measurement with what every format tells of it: name, timing, and its rate in `unit`."""

    found: Measurement
    name: str
    timing: Timing
    rate: float
    low: float
    high: float
    unit: str


def told(record: RunRecord) -> Iterator[Told]:
    """The sound measurements of a record. The rate of work that is a call is calls a second."""
    for found in record.measurements:
        if not found.sound:
            continue
        seconds = timing.of(found)
        amount, unit = benchmarks.amount(found)
        middle = seconds.seconds
        yield Told(
            found,
            case_key(found.case, found.phase),
            seconds,
            amount / middle.mid,
            amount / middle.high,
            amount / middle.low,
            unit,
        )


def render(name: str, record: RunRecord) -> bytes:
    """A record in one of `FORMATS`. Raises CannotReport where a package is missing."""
    module = importlib.import_module(f"gpubench.exporting.{FORMATS[name]}")
    content: bytes = module.render(record)
    return content
