"""Training steps as tokens a second of the whole model, and as operations a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpubench.measuring import timing
from gpubench.model import Measurement
from gpubench.records import RunRecord
from gpubench.stats import MedianInterval


@dataclass(frozen=True)
class Job:
    """A measured training step. `rate` is of tokens a second, were all layers of the model there;
    `flops` of operations a second, in which recomputed ones do not count; `memory` is the most that
    was allocated, in bytes, 0 where nobody tells.
    """

    measurement: Measurement
    rate: MedianInterval
    flops: MedianInterval
    memory: float

    @property
    def conditions(self) -> Mapping[str, Any]:
        """As claims name them."""
        p = self.measurement.case.parameters
        names = ("model", "precision", "micro_batch", "recomputation")
        return {name: p[name] for name in names}


def jobs(record: RunRecord) -> tuple[Job, ...]:
    """Every training step that a record holds, in its order."""
    return tuple(
        _job(found)
        for found in record.measurements
        if found.case.benchmark == "training_step" and found.sound
    )


def _job(found: Measurement) -> Job:
    p = found.case.parameters
    factor = float(found.choices.get("scaled", {}).get("factor", 1.0))
    tokens = float(p["micro_batch"] * p["sequence"])
    whole = timing.of(found).seconds.times(factor)
    return Job(
        measurement=found,
        rate=whole.under(tokens),
        flops=timing.throughput(found),
        memory=float(found.choices.get("memory_bytes", 0.0)),
    )
