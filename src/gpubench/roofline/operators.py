"""What operators must do at the least, and how long that takes a part.

`Work` is counted the way a measurement counts it. Time is the smooth maximum of the compute,
memory and wire times, plus overhead: near a ridge both resources are busy and neither is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpubench.model import Work

_LEAST = 1e-300
# Keeps a division of nothing by nothing at nothing.


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of some work, split by what it waited for.

    `idle` are those in which a device waits for other stages, on average over all of them.
    """

    seconds: float
    compute: float = 0.0
    memory: float = 0.0
    wire: float = 0.0
    overhead: float = 0.0
    idle: float = 0.0

    def __add__(self, other: Timed) -> Timed:
        return Timed(
            self.seconds + other.seconds,
            self.compute + other.compute,
            self.memory + other.memory,
            self.wire + other.wire,
            self.overhead + other.overhead,
            self.idle + other.idle,
        )

    def __sub__(self, other: Timed) -> Timed:
        return self + other * -1.0

    def __mul__(self, times: float) -> Timed:
        return Timed(
            self.seconds * times,
            self.compute * times,
            self.memory * times,
            self.wire * times,
            self.overhead * times,
            self.idle * times,
        )

    @property
    def binding(self) -> str:
        """The limit that takes the largest part of the time."""
        parts = {
            "compute": self.compute,
            "memory bandwidth": self.memory,
            "links": self.wire,
            "overhead": self.overhead,
        }
        return max(parts, key=lambda name: parts[name])


def stream(read: float, written: float = 0.0, flops: float = 0.0) -> Work:
    """A pass over memory: `read` and `written` in bytes."""
    return Work(flops, read + written)


def gemm(m: float, n: float, k: float, bytes_a: float, bytes_b: float, bytes_c: float) -> Work:
    """C (m x n) = A (m x k) · B (k x n): 2mnk FLOP, each matrix once; bytes are per element."""
    return Work(2 * m * n * k, m * k * bytes_a + k * n * bytes_b + m * n * bytes_c)


def larger(first: float, second: float) -> float:
    """The larger of two numbers, or place by place of arrays.

    With `smaller` the one place where the arithmetic of serving decides, so that it runs on numbers
    and on arrays alike; numbers pay nothing for that.
    """
    try:
        return first if first >= second else second
    except ValueError:  # arrays have no single answer
        found: float = _numpy().maximum(first, second)
        return found


def smaller(first: float, second: float) -> float:
    """The smaller of two numbers, or place by place of arrays."""
    try:
        return first if first <= second else second
    except ValueError:
        found: float = _numpy().minimum(first, second)
        return found


def _numpy() -> Any:
    import numpy  # only sweeps bring arrays

    return numpy


def whole(value: float) -> float:
    """The whole part of a number that is not negative; 0 below."""
    return larger(0.0, value // 1.0)


def smooth_maximum(first: float, second: float, power: float) -> float:
    """(aᵖ + bᵖ)^(1/p): at least the larger one, at most 2^(1/p) times it."""
    most = larger(first, second)
    share = smaller(first, second) / larger(most, _LEAST)
    found: float = most * (1.0 + share**power) ** (1.0 / power)
    return found


def overlapped(compute: float, memory: float, power: float) -> Timed:
    """Compute and memory side by side: the smooth maximum, charged to the larger of the two."""
    seconds = smooth_maximum(compute, memory, power)
    by_compute = compute >= memory
    return Timed(seconds, compute=seconds * by_compute, memory=seconds * (1 - by_compute))


def time(
    work: Work, flop_rate: float, byte_rate: float, power: float, wire_rate: float = 0.0
) -> Timed:
    """Seconds of `work` at the sustained rates; compute and memory overlap, the wire follows.

    The part of the smooth maximum above one resource is charged to the larger of the two.
    """
    wire = work.wire_bytes / wire_rate if work.wire_bytes else 0.0
    compute, memory = work.flops / flop_rate, work.bytes / byte_rate
    return overlapped(compute, memory, power) + Timed(wire, wire=wire)
