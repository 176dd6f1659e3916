"""A 7-point stencil on a cube: each point from itself and its six neighbours, as heat flows.

    v[i, j, k] = a · u[i, j, k] + b · (u[i ± 1, j, k] + u[i, j ± 1, k] + u[i, j, k ± 1])

Beyond the cube u is zero. Two products and six sums for each point; each value is needed seven
times, and read from memory once if caches hold three planes of the cube. A program computes ROWS
rows of BLOCK points in one plane; programs of one plane follow each other, so that the neighbours
above and below are those that other programs have just read.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from dataclasses import dataclass
from typing import TYPE_CHECKING

import triton
import triton.language as tl
from gpubench.kernels.checks import check_memory, described, dtype

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Config:
    """One way to run it; `dataclasses.asdict` makes it a record."""

    rows: int
    block: int
    num_warps: int


# Wide rows read neighbours along k from the same lines; several rows share those along j.
CONFIGS = (Config(4, 256, 4), Config(8, 256, 8), Config(2, 512, 4), Config(8, 128, 4))
DEFAULT = CONFIGS[0]


def seven_point(
    v: "torch.Tensor", u: "torch.Tensor", a: float, b: float, *, config: Config = DEFAULT
) -> None:
    """v = a · u + b · (the sum of u's six neighbours): checks its arguments and launches.

    Args:
        v: (n, n, n), written.
        u: (n, n, n), of the same type.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    for name, tensor in (("v", v), ("u", u)):
        if (
            tensor.dim() != 3
            or not tensor.numel()
            or len(set(tensor.shape)) != 1
            or dtype(tensor) not in DTYPES
        ):
            raise ValueError(
                f"{name} ({described(tensor)}): must be a cube of {' or '.join(DTYPES)}"
            )
        check_memory(name, tensor)
    if u.shape != v.shape or u.dtype != v.dtype or u.data_ptr() == v.data_ptr():
        raise ValueError(f"v {described(v)} and u {described(u)}: two cubes of one size and type")
    n = u.shape[0]
    grid = (triton.cdiv(n, config.block) * triton.cdiv(n, config.rows), n)
    _seven_point[grid](
        *(v, u, a, b, n),
        ROWS=config.rows,
        BLOCK=config.block,
        num_warps=config.num_warps,
        enable_fp_fusion=True,
    )


@triton.jit
def _seven_point(
    v,  # (n, n, n) written
    u,  # (n, n, n) read
    a: tl.float64,
    b: tl.float64,
    n,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program (p, i) computes block p of plane i."""
    tile, i = tl.program_id(0), tl.program_id(1)
    across = tl.cdiv(n, BLOCK)
    j = (tile // across * ROWS + tl.arange(0, ROWS))[:, None]  # (ROWS, 1)
    k = (tile % across * BLOCK + tl.arange(0, BLOCK))[None, :]  # (1, BLOCK)
    inside = (j < n) & (k < n)  # (ROWS, BLOCK)
    at = (tl.cast(i, tl.int64) * n + j) * n + k
    plane = tl.cast(n, tl.int64) * n
    i += tl.zeros_like(j)  # as a number it makes no mask in the interpreter of Triton 3.9
    here = tl.load(u + at, mask=inside, other=0.0)
    around = tl.load(u + at - plane, mask=inside & (i > 0), other=0.0)
    around += tl.load(u + at + plane, mask=inside & (i + 1 < n), other=0.0)
    around += tl.load(u + at - n, mask=inside & (j > 0), other=0.0)
    around += tl.load(u + at + n, mask=inside & (j + 1 < n), other=0.0)
    around += tl.load(u + at - 1, mask=inside & (k > 0), other=0.0)
    around += tl.load(u + at + 1, mask=inside & (k + 1 < n), other=0.0)
    found = tl.cast(a, here.dtype) * here + tl.cast(b, here.dtype) * around
    tl.store(v + at, found, mask=inside)
