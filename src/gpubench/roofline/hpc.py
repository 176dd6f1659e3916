"""Double-precision kernels: rate from arithmetic intensity, memory and the FP64 peak.

Intensities in FLOP/B count each operand once (Williams, Waterman, Patterson, Roofline, CACM 52(4),
2009): triad 2 FLOP over three doubles; sparse matrix-vector in CSR 2 FLOP over a value of 8 B and a
4 B column index; a 7-point stencil 8 FLOP over one read and one write of a double; a blocked matrix
product so many that memory never matters.
"""

from __future__ import annotations

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator, Work
from gpubench.roofline import operators
from gpubench.roofline.calibration import Parameters

KERNELS: dict[str, Work] = {
    "triad": Work(flops=2, bytes=24),
    "spmv": Work(flops=2, bytes=12),
    "stencil": Work(flops=8, bytes=16),
    "dgemm": operators.gemm(8192, 8192, 8192, 8, 8, 8),
}
"""Least work of one element (of one product for dgemm)."""


def rate(part: Accelerator, kernel: str, with_: Parameters) -> tuple[float, str]:
    """FLOP/s of a kernel and what binds it.

    The matrix product uses FP64 matrix units where the part has them, else the vector units.
    Raises CannotEstimate for an unknown kernel, MissingFigure without an FP64 peak.
    """
    if kernel not in KERNELS:
        raise CannotEstimate(f"no intensity known for '{kernel}': use {', '.join(KERNELS)}")
    work = KERNELS[kernel]
    matrix = kernel == "dgemm" and "peak_fp64_tensor" in part.figures
    peak = part.value("peak_fp64_tensor" if matrix else "peak_fp64") * with_.compute_ceiling
    memory = part.value("memory_bandwidth") * with_.vector_kernel_efficiency
    timed = operators.time(work, peak, memory, with_.smoothness)
    return work.flops / timed.seconds, timed.binding
