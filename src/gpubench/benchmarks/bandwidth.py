"""Memory bandwidth: seven patterns over arrays larger than any cache, by torch and by Triton."""

from __future__ import annotations

from gpubench.benchmarks import Planned, _streams
from gpubench.benchmarks._streams import ELEMENT_BYTES, PATTERNS, release, work
from gpubench.errors import CannotMeasure
from gpubench.measuring import Ceilings, Device, Prepared
from gpubench.model import Case

__all__ = ["ceilings", "plan", "prepare", "release", "work"]

QUANTITY = "memory_bandwidth"
VERSION = 1

_QUICK = ("read", "copy", "triad")
_SUSTAINED = {"standard": ("triad",), "full": ("read", "triad")}

# 4 GiB where four of them fit; elsewhere the largest power of two of which four would fit.
_GPU_ARRAY_BYTES = 2**32
_HOST_ARRAY_BYTES = 2**28
_LEAST_CACHES = 4


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """Each pattern by each method, beside each other; some patterns sustained, by our kernel."""
    size = array_bytes(device)
    methods = ("triton", "torch") if device.kind == "cuda" else ("torch",)
    patterns = _QUICK if suite == "quick" else tuple(PATTERNS)
    return tuple(
        Planned(
            Case("bandwidth", method, {"pattern": pattern, "n": size // ELEMENT_BYTES}),
            ("burst", "sustained")
            if pattern in _SUSTAINED.get(suite, ()) and method == methods[0]
            else ("burst",),
        )
        for pattern in patterns
        for method in methods
    )


def array_bytes(device: Device) -> int:
    """The size of one array, a power of two.

    Raises:
        CannotMeasure: too little memory is free for arrays that no cache holds.
    """
    wanted = _GPU_ARRAY_BYTES if device.kind == "cuda" else _HOST_ARRAY_BYTES
    while wanted < _LEAST_CACHES * device.cache_bytes:
        wanted *= 2
    size = wanted
    while 4 * size > device.memory_free:
        size //= 2
    if size < max(2**20, _LEAST_CACHES * device.cache_bytes):
        raise CannotMeasure(
            f"{device.name} has {device.memory_free / 1e9:.1f} GB free, too little for arrays that "
            "no cache holds: end what else uses its memory"
        )
    return size


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """The call of one pattern; see `_streams.prepare`."""
    return _streams.prepare(case, VERSION, device, seed, tuned=True)


def ceilings(case: Case, device: Device) -> Ceilings:
    """The memory's rate by bus width and clock, where the driver tells them."""
    del case
    return Ceilings(bandwidth=device.peak_bandwidth)
