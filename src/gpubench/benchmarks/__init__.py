"""The benchmarks: one file each, and the folder is the registry.

A benchmark is a module, whose first line `gpubench list benchmarks` shows, with

    QUANTITY                          what of claims it finds, as in `quantities`, or ""
    VERSION                           raised when a change alters what its numbers mean
    plan(device, suite)               the cases to measure there, in order
    work(parameters)                  what one call must do at the least; needs no device
    prepare(case, device, seed)       memory allocated, answer compared: the barest call
    ceilings(case, device)            what no measurement of it can exceed
    release()                         memory kept from case to case goes back

and, where its cases differ in that,

    quantity(case)                    what this case finds, instead of QUANTITY
    is_evidence(case)                 whether it may speak for a claim; otherwise all may
    amount(measurement)               what a call does and the unit of that a second; else its work
    SPARSITY                          "sparse" where products skip half of A; otherwise "dense"
    left_out(device, suite)           (what, why) of all that the device lacks, or has no memory for
    PREPARING_S                       how long a case may take to prepare, where two minutes are few

torch and the kernels are imported inside `prepare`, so that listing and planning need neither.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gpubench.errors import CannotMeasure, UnknownName
from gpubench.measuring import timing
from gpubench.model import Case, Measurement
from gpubench.quantities import QUANTITIES
from gpubench.stats import MedianInterval

CONTRACT = ("QUANTITY", "VERSION", "plan", "work", "prepare", "ceilings", "release")
"""What every benchmark has."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A case, and the phases to measure it in."""

    case: Case
    phases: tuple[str, ...] = ("burst",)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Every benchmark by name. Read from the folder once: it is asked for every measurement."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


@lru_cache(maxsize=64)
def get(name: str) -> Any:
    """The benchmark of that name.

    Raises:
        UnknownName: there is none.
        CannotMeasure: it lacks something that every benchmark has.
    """
    if name not in names():
        raise UnknownName("benchmark", name, names(), "see `gpubench list benchmarks`")
    found = importlib.import_module(f"{__name__}.{name}")
    lacking = [each for each in CONTRACT if not hasattr(found, each)]
    if lacking:
        raise CannotMeasure(
            f"the benchmark '{name}' has no {', '.join(lacking)}: docs/extending.md tells what a "
            f"benchmark has"
        )
    return found


def quantity(case: Case) -> str:
    """What of claims a case finds, as in `quantities`; "" for nothing, or a benchmark unknown."""
    if case.benchmark not in names():
        return ""
    benchmark = get(case.benchmark)
    return str(benchmark.quantity(case) if hasattr(benchmark, "quantity") else benchmark.QUANTITY)


def is_evidence(case: Case) -> bool:
    """Whether a case may speak for a claim about its quantity."""
    if not quantity(case):
        return False
    benchmark = get(case.benchmark)
    return bool(benchmark.is_evidence(case)) if hasattr(benchmark, "is_evidence") else True


def sparsity(case: Case) -> str:
    """ "sparse" where a product skips half of A, as the condition of that name has it."""
    known = case.benchmark in names()
    return str(getattr(get(case.benchmark), "SPARSITY", "dense")) if known else "dense"


def figure(case: Case) -> str:
    """The catalogue's figure that a case is held against: "peak_fp16", "peak_fp16_sparse"."""
    return quantity(case) + ("_sparse" if sparsity(case) == "sparse" else "")


def unit(case: Case) -> str:
    """Of the rate that a case is told by: that of its quantity, or B/s."""
    found = quantity(case)
    return QUANTITIES[found].unit if found else "B/s"


def amount(found: Measurement) -> tuple[float, str]:
    """What one call does, and the unit of that a second: what its benchmark says, or as the case's
    rate is told, else what work there is, else the call itself ("1/s").
    """
    work, known = found.work, found.case.benchmark in names()
    if known and (own := getattr(get(found.case.benchmark), "amount", None)):
        told: tuple[float, str] = own(found)
        return told
    moved, done = (work.bytes or work.wire_bytes, "B/s"), (work.flops, "FLOP/s")
    either = (moved, done) if unit(found.case) == "B/s" else (done, moved)
    return next((each for each in either if each[0]), (1.0, "1/s"))


def rate(found: Measurement) -> MedianInterval:
    """Operations or bytes a second, in `unit`. Raises ValueError when the work states none."""
    if found.work.wire_bytes and not found.work.bytes:
        return timing.wire_rate(found)
    return timing.bandwidth(found) if unit(found.case) == "B/s" else timing.throughput(found)
