"""Products of a few rows with a large matrix: reading the matrix is all.

    Y = X · Wᵀ,  X (m, k) of few rows,  W (n, k) as the weights of a linear layer lie,  Y (m, n)

A step of a language model multiplies a token of each sequence with every weight once, so the time
is that of reading W. A program takes BN rows of W and walks along k; W stands on the left of the
matrix units' product, whose tiles are 16 rows of it and 8 of X, so that few rows of X waste little.
Sums are float32. With scales, X and W are 8-bit floats, and a row of either is worth its scale.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from dataclasses import dataclass
from typing import TYPE_CHECKING

import triton
import triton.language as tl
from gpubench.kernels.checks import check_memory, described, dtype

if TYPE_CHECKING:
    import torch

MOST_ROWS = 32  # more, and the vendor's tiles are as good
DTYPES = ("float16", "bfloat16", "float32", "float8_e4m3fn")


@dataclass(frozen=True)
class Config:
    """One way to run it; `dataclasses.asdict` makes it a record."""

    block_n: int  # rows of W of one program
    block_bytes: int  # of a row of W, read in one step
    num_warps: int
    stages: int  # steps on their way, but one


# In flight on a Hopper multiprocessor: (stages − 1) · block_n · block_bytes for each program that
# it holds; 25 KB is the least that a full memory needs, as in docs/kernels.md.
CONFIGS = (
    Config(32, 512, 4, 4),
    Config(16, 512, 4, 4),
    Config(16, 1024, 4, 4),
    Config(32, 256, 4, 5),
    Config(64, 256, 4, 4),
    Config(64, 512, 8, 3),
)
DEFAULT = CONFIGS[0]


def multiply(
    y: "torch.Tensor",
    x: "torch.Tensor",
    w: "torch.Tensor",
    scale_x: "torch.Tensor | None" = None,
    scale_w: "torch.Tensor | None" = None,
    *,
    config: Config = DEFAULT,
) -> None:
    """Y = X · Wᵀ: checks its arguments and launches.

    Args:
        y: (m, n), written; float16 or bfloat16 (float32 for float32).
        x: (m, k), m at most `MOST_ROWS`.
        w: (n, k), of the type of `x`.
        scale_x: (m, 1) float32, and scale_w: (n, 1) float32: both for 8-bit floats, else neither.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    m, n, k = _checked(y, x, w, scale_x, scale_w)
    _skinny[(triton.cdiv(n, config.block_n),)](
        y,
        x,
        w,
        x if scale_x is None else scale_x,
        w if scale_w is None else scale_w,
        m,
        n,
        k,
        ROWS=max(16, triton.next_power_of_2(m)),
        BN=config.block_n,
        BK=config.block_bytes // w.element_size(),
        STAGES=config.stages,
        SCALED=scale_x is not None,
        num_warps=config.num_warps,
        enable_fp_fusion=True,
    )


@triton.jit
def _skinny(
    out,  # (m, n) written
    x,  # (m, k) read
    w,  # (n, k) read
    scale_x,  # (m,) read if SCALED
    scale_w,  # (n,) read if SCALED
    m,
    n,
    k,
    ROWS: tl.constexpr,  # m and the padding of a matrix tile
    BN: tl.constexpr,
    BK: tl.constexpr,
    STAGES: tl.constexpr,
    SCALED: tl.constexpr,
):
    """Program p computes the columns p · BN and following of out."""
    j = tl.program_id(0) * BN + tl.arange(0, BN)  # (BN,) rows of w
    i = tl.arange(0, ROWS)  # (ROWS,) rows of x
    # Beyond the last row of w the first ones are read again, and never stored: no mask.
    from_w = w + tl.cast(j % n, tl.int64)[:, None] * k  # (BN, 1)
    # Rows beyond m are not read at all: a tile's padding would cost as much as X itself, again and
    # again, out of the L2 cache.
    from_x, real = x + i[None, :] * k, (i < m)[None, :]  # (1, ROWS)
    total = tl.zeros((BN, ROWS), tl.float32)
    for step in tl.range(0, k, BK, num_stages=STAGES):
        along = step + tl.arange(0, BK)  # (BK,)
        inside = along < k
        weights = tl.load(
            from_w + along[None, :],
            mask=inside[None, :],
            other=0.0,
            eviction_policy="evict_first",
        )  # (BN, BK)
        values = tl.load(from_x + along[:, None], mask=inside[:, None] & real, other=0.0)
        total = tl.dot(weights, values, total, input_precision="ieee")
    if SCALED:
        total = total * tl.load(scale_w + j % n)[:, None] * tl.load(scale_x + i % m)[None, :]
    at = out + i[None, :] * n + j[:, None]
    tl.store(at, total.to(out.dtype.element_ty), mask=(j < n)[:, None] & real)


def _checked(
    y: "torch.Tensor",
    x: "torch.Tensor",
    w: "torch.Tensor",
    scale_x: "torch.Tensor | None",
    scale_w: "torch.Tensor | None",
) -> tuple[int, int, int]:
    """(m, n, k), once the arguments are known to be fit for the kernel."""
    if x.dim() != 2 or w.dim() != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"x {described(x)} and w {described(w)} do not fit: (m, k) and (n, k)")
    (m, k), n = x.shape, w.shape[0]
    if tuple(y.shape) != (m, n) or not 1 <= m <= MOST_ROWS:
        raise ValueError(f"y {described(y)}: must be {m} × {n}, and of 1 to {MOST_ROWS} rows")
    if dtype(x) not in DTYPES or x.dtype != w.dtype:
        raise ValueError(f"no kernel for x {described(x)} and w {described(w)}")
    eight = dtype(x) == DTYPES[-1]
    if eight != (scale_x is not None) or eight != (scale_w is not None):
        raise ValueError("8-bit floats come with scales of x and w, and nothing else does")
    if dtype(y) not in (("bfloat16", "float16") if eight else (dtype(x),)):
        raise ValueError(f"y {described(y)}: is not of the type that x and w give")
    tensors = {"y": y, "x": x, "w": w}
    for name, scales, rows in (("scale_x", scale_x, m), ("scale_w", scale_w, n)):
        if scales is not None:
            if tuple(scales.shape) != (rows, 1) or dtype(scales) != "float32":
                raise ValueError(f"{name} ({described(scales)}): must be {rows} × 1 float32")
            tensors[name] = scales
    for name, tensor in tensors.items():
        check_memory(name, tensor)
    return m, n, k
