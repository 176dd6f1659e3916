"""Correct before fast: an answer is compared with one of higher precision before it is timed.

Outputs are poisoned first, so that an element which a kernel never wrote shows as an error. Large
arrays are compared piece by piece, so that the reference needs little memory beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpubench.errors import WrongResult

Reference = Callable[[slice], Any]
"""Gives the reference for a range of the flattened output: float64, on the output's device."""

# Elements compared at once; two float64 copies of them take 256 MiB.
PIECE = 2**24


def poison(out: Any) -> None:
    """Fill a tensor with what no right answer holds: NaN, or for integers the least value.

    Takes any strided torch tensor of floats, 8-bit ones included, or of integers.
    """
    import torch  # type: ignore[import-not-found, unused-ignore]

    if not out.dtype.is_floating_point:
        out.fill_(torch.iinfo(out.dtype).min)
    elif out.element_size() == 1:
        out.view(torch.uint8).fill_(0x7F)  # NaN in both e4m3fn and e5m2, which fill_ may not know
    else:
        out.fill_(math.nan)


def relative_error(out: Any, reference: Any) -> float:
    """‖out − reference‖ / ‖reference‖ in float64, over all elements; infinite with any NaN.

    `out` is a tensor; `reference` one of the same shape in at least float32, or a Reference.
    A reference of zeros gives 0 for an output of zeros, otherwise infinity.

    Raises:
        ValueError: the shapes differ.
    """
    import torch  # type: ignore[import-not-found, unused-ignore]

    piecewise = callable(reference) and not isinstance(reference, torch.Tensor)
    if not piecewise and reference.shape != out.shape:
        raise ValueError(f"shapes differ: {tuple(out.shape)} and {tuple(reference.shape)}")
    flat = out.reshape(-1)
    whole: Any = None if piecewise else reference.reshape(-1)
    error = norm = 0.0
    for start in range(0, flat.numel(), PIECE):
        part = slice(start, min(start + PIECE, flat.numel()))
        expected = (reference(part) if piecewise else whole[part]).double()
        off = flat[part].double() - expected
        error += float(off.square().sum())
        norm += float(expected.square().sum())
    if not math.isfinite(error) or not math.isfinite(norm):
        return math.inf
    if norm == 0:
        return 0.0 if error == 0 else math.inf
    return math.sqrt(error / norm)


def verify(out: Any, reference: Any, tolerance: float, what: str) -> str:
    """One sentence for the record that `out` is right to within `tolerance`; see relative_error.

    `what` names the kernel and size. Raises WrongResult when it is not right.
    """
    error = relative_error(out, reference)
    if error == 0:
        return f"equal to the reference in all {out.numel()} elements"
    if error <= tolerance:
        return (
            f"relative error {error:.1e} of at most {tolerance:.0e} over {out.numel()} elements, "
            f"against float64"
        )
    missing = unwritten(out)
    why = (
        f"{missing} elements were never written"
        if missing
        else f"its relative error is {error:.1e}"
    )
    raise WrongResult(
        f"{what} gives a wrong answer ({why}, at most {tolerance:.0e} is right), so it is not "
        f"timed: try another version of triton or torch, and report this"
    )


def unwritten(out: Any) -> int:
    """How many elements still hold what `poison` left. A right answer must not hold it."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    flat, found = out.reshape(-1), 0
    for start in range(0, flat.numel(), PIECE):
        piece = flat[start : start + PIECE]
        if out.dtype.is_floating_point:
            found += int(torch.isnan(piece.float()).sum())
        else:
            found += int((piece == torch.iinfo(out.dtype).min).sum())
    return found
