"""Products with 2:4 structured sparsity: half of A is known to be zero, and is skipped.

Of each four neighbours along k two are kept, the larger ones, as a network is pruned. NVIDIA's
matrix units skip the others, and data sheets print twice the dense rate "with sparsity". The rate
found here counts as they do: the operations of the dense product, though half are never done.

torch has the product from cuSPARSELt, or where that is missing from CUTLASS, and it is held against
the dense product of the pruned matrix. Either allocates its result anew in each call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpubench.benchmarks import Planned, _hardware
from gpubench.benchmarks._matrices import PRECISIONS, Matrices, check, release, said
from gpubench.errors import CannotMeasure
from gpubench.measuring import Ceilings, Device, Prepared, faults, told
from gpubench.model import Case, Work

__all__ = ["ceilings", "left_out", "plan", "prepare", "release", "work"]

QUANTITY = "peak_fp16"
SPARSITY = "sparse"
VERSION = 1

_SIZE = 8192
_PRECISIONS = {"standard": ("fp16",), "full": ("fp16", "bf16", "fp8", "int8")}
_GROUP, _KEPT = 4, 2
_METADATA_BITS = 2  # of each value that is kept: its place among four
_LEAST_CAPABILITY = 8.0  # the CUDA C++ Programming Guide: sparse matrix units came with Ampere


def quantity(case: Case) -> str:
    """The peak of the case's precision."""
    return f"peak_{case.parameters['precision']}"


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """One cube in FP16; in the full suite heated, and in the other types of 16 and 8 bits."""
    if device.kind == "cpu":
        return ()
    found = [name for name in _PRECISIONS.get(suite, ()) if not _lacking(device, name)]
    planned = [
        Planned(_case(name), ("burst", "sustained") if (suite, name) == _HEATED else ("burst",))
        for name in found
    ]
    return tuple(planned) if _fits(device) else ()


def _fits(device: Device) -> bool:
    return 6 * PRECISIONS["fp16"].element_bytes * _SIZE**2 <= device.memory_free


_HEATED = ("full", "fp16")


def left_out(device: Device, suite: str) -> tuple[tuple[str, str], ...]:
    """(precision, why) for each that the suite would measure and the device lacks, or has no memory
    for.
    """
    if device.kind == "cpu":
        return ()
    reasons = [(name.upper(), _lacking(device, name)) for name in _PRECISIONS.get(suite, ())]
    large = [] if _fits(device) else [name for name, why in reasons if not why]
    return (
        *((name, why) for name, why in reasons if why),
        *_hardware.too_large(device, large),
    )


def work(parameters: Mapping[str, Any]) -> Work:
    """The operations of the dense product; the bytes of what is kept of A, of B and of C."""
    m, n, k = (parameters[name] for name in "mnk")
    kind, kept = PRECISIONS[parameters["precision"]], m * k * _KEPT // _GROUP
    moved = kind.element_bytes * (kept + k * n) + kept * _METADATA_BITS / 8 + kind.out_bytes * m * n
    return Work(flops=2.0 * m * n * k, bytes=float(moved))


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """A pruned and compressed, the answer compared with the dense product in float64.

    Raises:
        CannotMeasure: out of memory, or torch has no such product for this device.
        WrongResult: the answer is not right.
    """
    with told(f"preparing sparse {said(case)}"):
        x = Matrices(case, device, seed)
        x.a = pruned(x.a)
        product, choices = _product(x)

        def into_c() -> None:
            x.c.copy_(product())

        def call() -> None:
            product()

        verification = check(into_c, x, case, seed)
    return Prepared(case, VERSION, work(case.parameters), call, verification, choices=choices)


def ceilings(case: Case, device: Device) -> Ceilings:
    """Units times twice the dense FLOP a clock; none where the catalogue does not tell."""
    return _hardware.ceiling(device, f"{case.parameters['precision']}_sparse")


def pruned(a: Any) -> Any:
    """A with the two smaller of each four neighbours along a row set to zero."""
    for part in a.split(1024):
        sizes = part.float().abs().reshape(len(part), -1, _GROUP)
        smaller = sizes.topk(_GROUP - _KEPT, dim=2, largest=False).indices
        keep = sizes.new_ones(sizes.shape).scatter_(2, smaller, 0.0).reshape(part.shape)
        part.copy_(part.float() * keep)
    return a


def _case(name: str) -> Case:
    cube = dict.fromkeys("mnk", _SIZE)
    return Case("sparse_gemm", "torch", {"precision": name, **cube, "data": "normal"})


def _lacking(device: Device, name: str) -> str:
    """Why a device has no sparse product of a precision; "" when it has."""
    if device.capability.startswith("gfx"):
        return "torch multiplies sparse matrices on NVIDIA's devices alone"
    if device.capability and float(device.capability) < _LEAST_CAPABILITY:
        return f"needs compute capability {_LEAST_CAPABILITY}: no sparse matrix units before"
    return _hardware.lacking(device, name)


def _product(x: Matrices) -> tuple[Callable[[], Any], dict[str, Any]]:
    """What gives A · B anew each time, and which library with which of its algorithms.

    Raises CannotMeasure when torch has neither library for this type and device.
    """
    torch = x.torch
    try:
        if torch.backends.cusparselt.is_available():
            return _by_cusparselt(x)
        kept = torch.sparse.SparseSemiStructuredTensorCUTLASS.from_dense(x.a)
        torch.mm(kept, x.b)
        return lambda: torch.mm(kept, x.b), {"backend": "CUTLASS"}
    except (RuntimeError, NotImplementedError) as error:
        sentence = faults.as_sentence(error, "preparing a sparse product")
        if sentence is not None:
            raise sentence from error
        why = faults.first_line(error)
        raise CannotMeasure(f"this torch has no sparse product for it here ({why})") from error


def _by_cusparselt(x: Matrices) -> tuple[Callable[[], Any], dict[str, Any]]:
    torch, b = x.torch, x.b
    # Only of 8-bit types may, and must, be said what their product is kept in.
    out = None if x.c.dtype == x.a.dtype else x.c.dtype
    kept = torch._cslt_compress(x.a)
    fastest = torch._cslt_sparse_mm_search(kept, b, out_dtype=out)
    version = torch.backends.cusparselt.version()

    def product() -> Any:
        return torch._cslt_sparse_mm(kept, b, out_dtype=out, alg_id=fastest)

    product()
    return product, {"backend": "cuSPARSELt", "version": version, "algorithm": fastest}
