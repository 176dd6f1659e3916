"""Seven patterns over large arrays, as calls of torch or of the Triton kernels, with their check.

The patterns are those of STREAM and BabelStream with a read-only sum beside them. Bytes count what
a pattern must move if caches were perfect: each array read once and each written once, and no read
of what is overwritten (GPUs do not fetch a line that is written whole; a processor may).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gpubench.benchmarks import _kernels, _matrices
from gpubench.benchmarks._fastest import fastest
from gpubench.measuring import Device, Prepared, import_torch, told
from gpubench.measuring.verify import poison, verify
from gpubench.model import Case, Work

# Arrays of n elements that a pattern moves, and the operations on each element.
PATTERNS: dict[str, tuple[int, int]] = {
    "read": (1, 1),
    "write": (1, 0),
    "copy": (2, 0),
    "mul": (2, 1),
    "add": (3, 1),
    "triad": (3, 2),
    "dot": (2, 2),
}
ELEMENT_BYTES = 4  # float32
_SCALAR = 0.4
_SUM_TOLERANCE = 1e-4  # of a sum of n positive float32 values, added in float32
_MAP_TOLERANCE = 1e-6  # a few roundings of float32


def work(parameters: Mapping[str, Any]) -> Work:
    """Bytes and operations of one call of a pattern over float32 arrays of n elements."""
    arrays, operations = PATTERNS[parameters["pattern"]]
    n = parameters["n"]
    return Work(flops=float(operations * n), bytes=float(arrays * n * ELEMENT_BYTES))


def prepare(case: Case, version: int, device: Device, seed: int, tuned: bool) -> Prepared:
    """Fill three arrays with random values, check one answer against float64, return the call.

    `tuned` searches for the kernel's best launch configuration instead of taking its default.

    Raises:
        CannotMeasure: out of memory, or a kernel that does not compile.
        WrongResult: the answer is not right.
    """
    pattern, n = case.parameters["pattern"], case.parameters["n"]
    choices: dict[str, Any] = {}
    with told(f"preparing {pattern} of {n * ELEMENT_BYTES / 1e9:.2g} GB"):
        arrays = kept_arrays(device.torch_name, n, seed)
        if case.method == "torch":
            call, sums = _torch_call(pattern, arrays)
        else:
            call, sums, choices = _triton_call(pattern, arrays, device, tuned)
        verification = _check(pattern, call, arrays, sums)
    return Prepared(case, version, work(case.parameters), call, verification, choices=choices)


def release() -> None:
    """Give the arrays back, which one case leaves for the next."""
    _kept.clear()
    _matrices.release()


class Arrays:
    """Three arrays of n random float32 around 1; patterns read `a` and `b` and write `c`."""

    def __init__(self, device: str, n: int, seed: int) -> None:
        torch = import_torch()
        generator = torch.Generator(device).manual_seed(seed)
        made = [
            torch.empty(n, dtype=torch.float32, device=device).normal_(
                1.0, 0.25, generator=generator
            )
            for _ in range(3)
        ]
        self.torch, self.n = torch, n
        self.a, self.b, self.c = made


# Filling gigabytes with random values takes a processor seconds, so all cases of a run share them.
_kept: dict[tuple[str, int, int], Arrays] = {}


def kept_arrays(device: str, n: int, seed: int) -> Arrays:
    """The arrays of that size; those of another go first, since memory may not hold both."""
    wanted = (device, n, seed)
    if wanted not in _kept:
        release()
        _kept[wanted] = Arrays(*wanted)
    return _kept[wanted]


def _torch_call(pattern: str, x: Arrays) -> tuple[Callable[[], None], Any]:
    """The call, and the tensor that sums go to."""
    torch = x.torch
    sums = torch.empty((), dtype=torch.float32, device=x.a.device)
    calls: dict[str, Callable[[], Any]] = {
        "read": lambda: torch.sum(x.a, dim=0, out=sums),
        "write": lambda: x.c.fill_(_SCALAR),
        "copy": lambda: x.c.copy_(x.a),
        "mul": lambda: torch.mul(x.a, _SCALAR, out=x.c),
        "add": lambda: torch.add(x.a, x.b, out=x.c),
        "triad": lambda: torch.add(x.a, x.b, alpha=_SCALAR, out=x.c),
        "dot": lambda: torch.dot(x.a, x.b, out=sums),
    }
    return calls[pattern], sums


def _triton_call(
    pattern: str, x: Arrays, device: Device, tuned: bool
) -> tuple[Callable[[], None], Any, dict[str, Any]]:
    """The call in the fastest of a few launch configurations, its sums, and all that were tried."""
    stream = _kernels.load("stream")

    def bound(config: Any) -> tuple[Callable[[], None], Any]:
        programs = config.programs(device.units)
        sums = x.torch.empty(programs, dtype=x.torch.float32, device=x.a.device)
        kernel = getattr(stream, pattern)
        arguments = {
            "read": (sums, x.a),
            "write": (x.c, _SCALAR),
            "copy": (x.c, x.a),
            "mul": (x.c, x.a, _SCALAR),
            "add": (x.c, x.a, x.b),
            "triad": (x.c, x.a, x.b, _SCALAR),
            "dot": (sums, x.a, x.b),
        }[pattern]
        return lambda: kernel(*arguments, programs=programs, config=config), sums

    if not tuned:
        return *bound(stream.DEFAULT), {"config": asdict(stream.DEFAULT)}
    best, choices = fastest(pattern, device, lambda config: bound(config)[0], stream.CONFIGS)
    return *bound(best), choices


def _check(pattern: str, call: Callable[[], None], x: Arrays, sums: Any) -> str:
    """Poison the output, make the call once, compare all of it with float64."""
    what = f"{pattern} of {x.n} float32"
    if pattern in ("read", "dot"):
        poison(sums)
        call()
        found = sums.double().sum().reshape(1)
        return verify(found, sum_of(pattern, x), _SUM_TOLERANCE, what)
    poison(x.c)
    call()

    def reference(part: slice) -> Any:
        a, b = x.a[part].double(), x.b[part].double()
        return {
            "write": lambda: x.torch.full_like(a, _SCALAR),
            "copy": lambda: a,
            "mul": lambda: _SCALAR * a,
            "add": lambda: a + b,
            "triad": lambda: a + _SCALAR * b,
        }[pattern]()

    return verify(x.c, reference, _MAP_TOLERANCE, what)


def sum_of(pattern: str, x: Arrays) -> Any:
    """The sum in float64, piece by piece."""
    total = x.torch.zeros(1, dtype=x.torch.float64, device=x.a.device)
    for start in range(0, x.n, 2**24):
        part = slice(start, start + 2**24)
        a = x.a[part].double()
        total += (a * x.b[part].double() if pattern == "dot" else a).sum()
    return total
