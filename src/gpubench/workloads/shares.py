"""An uplift in two factors: what more memory gives, measured, and what the rest gives, estimated.

    uplift = rate(subject, its own batch) / rate(baseline, its own batch)
           = rate(subject, its own batch) / rate(subject, the baseline's batch)     capacity
           · rate(subject, the baseline's batch) / rate(baseline, the same batch)   the rest

The first factor needs the subject alone: once with all its memory and once within the baseline's
(`gpubench run --memory-limit`). In the second both parts have the same batch, so that for two parts
that differ in their memory only it is the share of its bandwidth. Their intervals multiply end by
end, since nothing ties the errors of the one to those of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpubench import roofline
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotEstimate, MissingFigure, UnknownName
from gpubench.model import Accelerator, Estimate
from gpubench.records import RunRecord
from gpubench.workloads import figures
from gpubench.workloads.figures import Serving


@dataclass(frozen=True)
class Shares:
    """The two factors of an uplift and their product, each low ≤ mid ≤ high.

    `ample` and `tight` are the sequences at once with all memory and within the limit, and the rest
    is estimated at `estimated_at` of them.
    """

    model: str
    precision: str
    input_tokens: int
    output_tokens: int
    ample: int
    tight: int
    capacity: tuple[float, float, float]
    rest: tuple[float, float, float]

    @property
    def uplift(self) -> tuple[float, float, float]:
        """The product of both, end by end."""
        low, mid, high = (a * b for a, b in zip(self.capacity, self.rest, strict=True))
        return low, mid, high


def combined(
    capacity: tuple[float, float, float], rest: Estimate, one: Serving, few: int
) -> Shares:
    """The shares of a workload, from the measured factor and the estimated one."""
    p = one.parameters
    return Shares(
        model=p["model"],
        precision=p["precision"],
        input_tokens=p["input_tokens"],
        output_tokens=p["output_tokens"],
        ample=one.step.sequences,
        tight=few,
        capacity=capacity,
        rest=(rest.low, rest.mid, rest.high),
    )


def shares(
    ample: RunRecord, tight: RunRecord, baseline: str, catalogue: Catalogue
) -> Iterator[Shares]:
    """The shares of every workload that was measured with all memory and within a limit.

    Args:
        ample: a record made with all memory of a part.
        tight: one made on the same part within the baseline's memory.
        baseline: the id of the part with that little memory.

    Workloads that the model has no answer for are left out.
    """
    subject = catalogue.accelerators.get(ample.accelerator)
    if subject is None or ample.accelerator != tight.accelerator:
        return
    if ample.piece or not figures.limit(tight):
        return
    other = catalogue.accelerators[baseline]
    within = {_workload(one): one for one in figures.servings(tight)}
    for one in figures.servings(ample):
        few = within.get(_workload(one))
        if few is None or one.parameters["batch"] != "max":
            continue
        try:
            rest = _rest(subject, other, few, catalogue)
        except (CannotEstimate, MissingFigure, UnknownName):
            continue
        factor = (
            one.rate.low / few.rate.high,
            one.rate.mid / few.rate.mid,
            one.rate.high / few.rate.low,
        )
        yield combined(factor, rest, one, few.step.sequences)


def _rest(
    subject: Accelerator, baseline: Accelerator, few: Serving, catalogue: Catalogue
) -> Estimate:
    """Subject over baseline at the batch found within the limit, or at the largest that the model
    gives the baseline room for, where that is less.
    """
    p = few.parameters
    names = ("model", "precision", "kv_precision", "input_tokens", "output_tokens")
    asked = {**{name: p[name] for name in names}, "gpus": 1}
    room = int(roofline.estimate("max_sequences", baseline, asked, catalogue).mid)
    asked["batch"] = min(few.step.sequences, room)
    return roofline.estimate_ratio("inference_throughput", subject, baseline, asked, catalogue)


def _workload(one: Serving) -> tuple[object, ...]:
    p = one.parameters
    names = ("model", "precision", "kv_precision", "input_tokens", "output_tokens", "batch")
    return tuple(p[name] for name in names)
