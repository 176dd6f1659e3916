"""Matrices of every precision, what fills them, and whether a product of them is right.

A and B hold numbers that their type can hold exactly, so the reference is the product of those very
numbers in float64. Products of int8 are exact in it, and must be equal.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpubench.errors import WrongResult
from gpubench.measuring import Device, import_torch
from gpubench.measuring.verify import poison, unwritten, verify
from gpubench.model import Case


@dataclass(frozen=True, slots=True)
class Precision:
    """A type of A and B and what their product is kept in, by torch's names.

    `tolerance` is how far a result may be from float64, as ‖C − reference‖ / ‖reference‖.
    """

    dtype: str
    element_bytes: int
    out: str
    out_bytes: int
    tolerance: float


# Half the rounding step of C's type, times a few. TF32 rounds A and B to 10 bits of mantissa. For
# FP8 the matrix units of Hopper keep about 14 bits of a sum: DeepSeek-V3's report (section 3.5.2)
# finds an error of nearly 2 % at the most where k is 4096, and it grows with k.
PRECISIONS = {
    "fp16": Precision("float16", 2, "float16", 2, 1e-3),
    "bf16": Precision("bfloat16", 2, "bfloat16", 2, 8e-3),
    "fp8": Precision("float8_e4m3fn", 1, "bfloat16", 2, 5e-2),
    "int8": Precision("int8", 1, "int32", 4, 0.0),
    "tf32": Precision("float32", 4, "float32", 4, 2e-3),
    "fp32": Precision("float32", 4, "float32", 4, 2e-5),
    "fp64": Precision("float64", 8, "float64", 8, 1e-12),
    "fp64_tensor": Precision("float64", 8, "float64", 8, 1e-12),
}
DATA = ("normal", "zeros", "ones", "signs")

# int8 of a normal distribution, as weights are quantised: four standard deviations at the ends.
_INT8_SIGMA, _INT8_MOST = 127 / 4, 127
_FILLED = 2**26  # elements that are in float32 at once


def precision(case: Case) -> Precision:
    """The precision of a case."""
    return PRECISIONS[case.parameters["precision"]]


def said(case: Case) -> str:
    """A case in words: "fp16 8192 × 8192 × 8192"."""
    p = case.parameters
    return f"{p['precision']} {p['m']} × {p['n']} × {p['k']}"


class Matrices:
    """A (m, k) by rows, B (k, n) by columns and C (m, n) by rows on the device."""

    def __init__(self, case: Case, device: Device, seed: int) -> None:
        torch = import_torch()
        m, n, k = (case.parameters[name] for name in "mnk")
        kind, where = precision(case), device.torch_name
        dtype = getattr(torch, type_on(device, kind.dtype))
        generator = torch.Generator(where).manual_seed(seed)

        def filled(rows: int, columns: int) -> Any:
            matrix = torch.empty(rows, columns, dtype=dtype, device=where)
            return fill(matrix, case.parameters["data"], generator)

        self.torch = torch
        self.a, self.b = filled(m, k), filled(n, k).T
        self.c = torch.empty(m, n, dtype=getattr(torch, kind.out), device=where)


def type_on(device: Device, dtype: str) -> str:
    """AMD's CDNA 3 multiplies an 8-bit float of its own, without a negative zero."""
    old = dtype == "float8_e4m3fn" and device.capability.startswith("gfx94")
    return "float8_e4m3fnuz" if old else dtype


def fill(matrix: Any, data: str, generator: Any) -> Any:
    """The matrix, filled: "normal", "zeros", "ones", or "signs", which are −1 or 1 at random."""
    torch = import_torch()
    if data in ("zeros", "ones"):
        return matrix.copy_(torch.full((1, 1), float(data == "ones"), device=matrix.device))
    if matrix.dtype.is_floating_point and matrix.element_size() > 1:
        return _drawn(matrix, data, generator)
    for part in matrix.split(max(1, _FILLED // matrix.shape[1])):  # 8-bit types draw nothing
        drawn = torch.empty(part.shape, dtype=torch.float32, device=part.device)
        _drawn(drawn, data, generator)
        if data == "normal" and not matrix.dtype.is_floating_point:
            drawn.mul_(_INT8_SIGMA).round_().clamp_(-_INT8_MOST, _INT8_MOST)
        part.copy_(drawn)
    return matrix


def _drawn(matrix: Any, data: str, generator: Any) -> Any:
    if data == "normal":
        return matrix.normal_(generator=generator)
    # Not the signs of normal values: in bfloat16 torch 2.11 draws some of those as 0.
    return matrix.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)


def round_float32(case: Case) -> None:
    """From now on torch rounds float32 to TF32 in products, or does not, as the case asks."""
    how = "high" if case.parameters["precision"] == "tf32" else "highest"
    import_torch().set_float32_matmul_precision(how)


def release() -> None:
    """Each case allocates its own matrices; what torch keeps of them goes back."""
    gc.collect()  # the traceback of an allocation that failed may hold the one before it
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # a lost device gives nothing back
            torch.cuda.empty_cache()


# --------------------------------------------------------------------------- the answer

_SAMPLED = 16  # rows, and columns; the first and the last are always among them
_PIECE = 2048  # rows or columns of a matrix that are in float64 at once
_STRIP = 128  # rows of C that are compared at once


def check(call: Callable[[], None], x: Matrices, case: Case, seed: int) -> str:
    """Compare all of C with float64 in projection, and rows and columns drawn at random element by
    element. Raises WrongResult.
    """
    check_whole(call, x, case, seed)
    rows, columns = drawn(x.c.shape[0], seed + 1), drawn(x.c.shape[1], seed + 2)
    found = x.torch.cat([x.c[rows].reshape(-1), x.c[:, columns].reshape(-1)])
    reference = x.torch.cat([_rows(x, rows).reshape(-1), _columns(x, columns).reshape(-1)])
    told = verify(found, reference, precision(case).tolerance, said(case))
    return f"a random projection, {len(rows)} rows and {len(columns)} columns: {told}"


def check_whole(call: Callable[[], None], x: Matrices, case: Case, seed: int) -> None:
    """Poison C, make the call once, and compare C in projection. Raises WrongResult.

    A wrong tile is lost in the error that a large matrix of low precision may have, but not in that
    of the rows it stands in: those of the strip that is furthest off are compared by themselves.
    """
    poison(x.c)
    call()
    if missing := unwritten(x.c):
        raise WrongResult(
            f"{said(case)} gives a wrong answer ({missing} elements are no number), so it is not "
            f"timed: try another version of triton or torch, and report this"
        )
    found, reference = _projected(x, seed)
    worst = _worst_strip(found, reference)
    verify(found[worst], reference[worst], precision(case).tolerance, said(case))


def _worst_strip(found: Any, reference: Any) -> slice:
    """The rows whose relative error is the largest; the first with a NaN or an infinity."""

    def error(rows: slice) -> float:
        off = float((found[rows] - reference[rows]).norm())
        size = float(reference[rows].norm())
        return off / size if size else off

    strips = [slice(start, start + _STRIP) for start in range(0, len(found), _STRIP)]
    errors = [error(rows) for rows in strips]
    return strips[max(range(len(strips)), key=lambda at: _ranked(errors[at]))]


def _ranked(error: float) -> float:
    return error if error == error else float("inf")  # NaN equals nothing


def _projected(x: Matrices, seed: int) -> tuple[Any, Any]:
    """C · v and A · (B · v) in float64 for a random v of −1 and 1: one wrong tile anywhere shows.

    After Freivalds, "Probabilistic machines can use less running time" (IFIP 1977).
    """
    n, where = x.c.shape[1], x.c.device
    generator = x.torch.Generator(where).manual_seed(seed)
    v = x.torch.empty(n, 1, dtype=x.torch.float64, device=where)
    v = fill(v, "signs", generator).reshape(n)
    through = x.torch.cat([piece.double() @ v for piece in x.b.split(_PIECE, dim=0)])
    found = x.torch.cat([piece.double() @ v for piece in x.c.split(_PIECE, dim=0)])
    return found, x.torch.cat([piece.double() @ through for piece in x.a.split(_PIECE, dim=0)])


def drawn(size: int, seed: int) -> list[int]:
    """The first, the last and other places below `size`, in order; the same for the same seed."""
    torch = import_torch()
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(size, (_SAMPLED - 2,), generator=generator).tolist()
    return sorted({0, size - 1, *places})


def _rows(x: Matrices, rows: list[int]) -> Any:
    """Those rows of A · B in float64, piece by piece."""
    a = _taken(x.a, rows, 0).double()
    pieces = x.b.split(_PIECE, dim=1)
    return x.torch.cat([a @ piece.double() for piece in pieces], dim=1)


def _columns(x: Matrices, columns: list[int]) -> Any:
    """Those columns of A · B in float64, piece by piece."""
    b = _taken(x.b, columns, 1).double()
    return x.torch.cat([piece.double() @ b for piece in x.a.split(_PIECE, dim=0)])


def _taken(matrix: Any, places: list[int], dim: int) -> Any:
    """Some rows or columns; one by one, since torch gathers no 8-bit floats."""
    torch = import_torch()
    return torch.stack([matrix.select(dim, place).double() for place in places], dim)
