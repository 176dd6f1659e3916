"""Bandwidth against size: one pattern over ever larger arrays shows what each cache gives."""

from __future__ import annotations

from gpubench.benchmarks import Planned, _streams, bandwidth
from gpubench.benchmarks._streams import ELEMENT_BYTES, release, work
from gpubench.measuring import Ceilings, Device, Prepared
from gpubench.model import Case

__all__ = ["ceilings", "plan", "prepare", "release", "work"]

QUANTITY = ""
VERSION = 1

_SMALLEST_BYTES = 2**16
# Of a set eight times the cache an eighth may still be there when it comes round again, which lifts
# a rate by less than what separates the best one from its ceiling.
_UNCACHED = 8
_STEP = 8  # between sizes in the standard suite; the full one takes every doubling


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """One case for each size up to that of the bandwidth benchmark; none in the quick suite."""
    if suite == "quick":
        return ()
    step = 2 if suite == "full" else _STEP
    largest, size, sizes = bandwidth.array_bytes(device), _SMALLEST_BYTES, []
    while size <= largest:
        sizes.append(size)
        size *= step
    method = "triton" if device.kind == "cuda" else "torch"
    return tuple(
        Planned(Case("size_sweep", method, {"pattern": "triad", "n": size // ELEMENT_BYTES}))
        for size in sizes
    )


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """The call at one size, in the kernel's default configuration, so that sizes compare."""
    return _streams.prepare(case, VERSION, device, seed, tuned=False)


def ceilings(case: Case, device: Device) -> Ceilings:
    """The memory's rate, for sizes that no cache holds any part of that matters."""
    cached = work(case.parameters).bytes < _UNCACHED * device.cache_bytes
    return Ceilings(bandwidth=None if cached else device.peak_bandwidth)
