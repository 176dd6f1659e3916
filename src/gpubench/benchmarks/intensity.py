"""The measured roofline: work of growing arithmetic intensity, from memory's limit to the units'.

Two sweeps. `fused` reads each float32 once and does 1 to 256 multiply-adds on it: memory against
the vector units. `product` multiplies matrices of fixed large m and n with a growing k: memory,
which then mostly takes the result, against the matrix units. `roof` finds the two limits and the
ridge between them from what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gpubench.benchmarks import Planned, _hardware, _kernels, _matrices, _streams, bandwidth, gemm
from gpubench.measuring import Ceilings, Device, Prepared, timing, told
from gpubench.measuring.verify import poison, verify
from gpubench.model import Case, Measurement, Work

QUANTITY = ""
VERSION = 1

_STEPS = {"standard": (1, 4, 16, 64, 256), "full": (1, 2, 4, 8, 16, 32, 64, 128, 256)}
_DEPTHS = {
    "standard": (32, 128, 256, 512, 2048),
    "full": (16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
}
_SIZE = 16384  # m and n of products
_FACTOR, _ADDED = 0.995, 0.01  # of a step: values of 1 move towards 2, so that each step shows
_TOLERANCE = 1e-4  # of a sum of n positive float32 values, added in float32


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """Both sweeps on a GPU; none in the quick suite.

    A processor has caches of its own between the two limits, and no sweep of these shows them.
    """
    if device.kind == "cpu":
        return ()
    elements = bandwidth.array_bytes(device) // _streams.ELEMENT_BYTES
    found = [_fused(steps, elements) for steps in _STEPS.get(suite, ())]
    products = [_product(k) for k in _DEPTHS.get(suite, ())]
    found += [case for case in products if 4 * work(case.parameters).bytes <= device.memory_free]
    return tuple(Planned(case) for case in found)


def _fused(steps: int, n: int) -> Case:
    return Case("intensity", "triton", {"sweep": "fused", "steps": steps, "n": n})


def _product(k: int) -> Case:
    shape = {"m": _SIZE, "n": _SIZE, "k": k, "precision": "fp16", "data": "normal"}
    return Case("intensity", "torch", {"sweep": "product", **shape})


def work(parameters: Mapping[str, Any]) -> Work:
    """A step is a product and a sum on an element that is read once; products as in `gemm`."""
    if parameters["sweep"] == "product":
        return gemm.work(parameters)
    n = parameters["n"]
    return Work(flops=2.0 * n * parameters["steps"], bytes=float(n * _streams.ELEMENT_BYTES))


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """The call, its answer compared with float64. Raises CannotMeasure, WrongResult."""
    if case.parameters["sweep"] == "product":
        with told(f"preparing {_matrices.said(case)}"):
            x = _matrices.Matrices(case, device, seed)
            call = gemm.torch_call(x, case)
            checked = _matrices.check(call, x, case, seed)
        return Prepared(case, VERSION, work(case.parameters), call, checked)
    n, steps = case.parameters["n"], case.parameters["steps"]
    with told(f"preparing {steps} steps on {n} elements"):
        arrays = _streams.kept_arrays(device.torch_name, n, seed)
        kernels = _kernels.load("intensity")
        config = kernels.DEFAULT
        programs = config.programs(device.units)
        sums = arrays.torch.empty(programs, dtype=arrays.torch.float32, device=arrays.a.device)

        def apply() -> None:
            kernels.apply(sums, arrays.a, _FACTOR, _ADDED, steps=steps, programs=programs)

        poison(sums)
        apply()
        reached = _after(steps, _streams.sum_of("read", arrays), n)
        found = sums.double().sum().reshape(1)
        checked = verify(found, reached, _TOLERANCE, f"{steps} steps on {n} float32")
    choices = {"config": asdict(config)}
    return Prepared(case, VERSION, work(case.parameters), apply, checked, choices=choices)


def _after(steps: int, total: Any, n: int) -> Any:
    """The sum of n elements, which was `total`, after so many steps: v becomes sᵏ · v + …"""
    shrunk = _FACTOR**steps
    return shrunk * total + n * _ADDED * (1 - shrunk) / (1 - _FACTOR)


def ceilings(case: Case, device: Device) -> Ceilings:
    """The memory's rate, and that of the units: vector units in FP32, or the matrix units."""
    name = case.parameters.get("precision", "fp32")
    compute = _hardware.ceiling(device, name).compute
    return Ceilings(bandwidth=_uncached(case, device), compute=compute)


def _uncached(case: Case, device: Device) -> float | None:
    """No ceiling where the cache may keep a part that matters from one call to the next."""
    cached = work(case.parameters).bytes < _CACHE_TIMES * device.cache_bytes
    return None if cached else device.peak_bandwidth


_CACHE_TIMES = 8


def release() -> None:
    """Arrays and matrices go back."""
    _streams.release()


# --------------------------------------------------------------------------- the roof


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point of a roofline: FLOP a byte, and FLOP/s."""

    intensity: float
    rate: float


@dataclass(frozen=True, slots=True)
class Roof:
    """What a sweep found: B/s, FLOP/s, and the intensity at which one limit hands to the other.

    None where the sweep does not reach far enough to show a limit.
    """

    bandwidth: float | None
    compute: float | None

    @property
    def ridge(self) -> float | None:
        """FLOP a byte from which arithmetic is the limit."""
        return self.compute / self.bandwidth if self.compute and self.bandwidth else None


def roof(points: Iterable[Point]) -> Roof:
    """The lowest roof over some points: the largest B/s and the largest FLOP/s among them.

    A limit counts as seen if the points that are furthest to its side lie well beyond the ridge,
    by a factor of two, where the other limit no longer bends the curve.
    """
    known = sorted(points, key=lambda point: point.intensity)
    if not known:
        return Roof(None, None)
    bandwidth = max(point.rate / point.intensity for point in known)
    compute = max(point.rate for point in known)
    ridge = compute / bandwidth
    return Roof(
        bandwidth if known[0].intensity <= ridge / _BEYOND else None,
        compute if known[-1].intensity >= ridge * _BEYOND else None,
    )


_BEYOND = 2.0


def points(measurements: Sequence[Measurement]) -> dict[str, list[Point]]:
    """The measured points of each sweep, by its name, implausible ones left out."""
    found: dict[str, list[Point]] = {}
    for one in measurements:
        faulty = any(caution.code == "implausible" for caution in one.cautions)
        if one.case.benchmark == "intensity" and one.blocks and not faulty:
            point = Point(one.work.flops / one.work.bytes, timing.throughput(one).mid)
            found.setdefault(str(one.case.parameters["sweep"]), []).append(point)
    return found
