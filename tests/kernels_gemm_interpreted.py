"""Runs the matrix products through Triton's interpreter, and prints what they did to memory.

    python tests/kernels_gemm_interpreted.py

Every matrix lies between guard bands, and its rows have a margin. Outputs start poisoned. One JSON
object: `cases` are products of ragged shapes, the rest is described where it is made.
"""

# ruff: noqa: N803, N806 - constants of a Triton kernel, and matrices, are written in upper case

from __future__ import annotations

import os

# Triton reads this once, while it is imported.
os.environ["TRITON_INTERPRET"] = "1"

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl

from gpubench.kernels import gemm
from kernels_refusals import said

GUARD = 64  # elements before and after: whole vectors, so that alignment is kept
MARGIN = 16  # elements at the end of each row, that belong to nobody
POISON = float("nan")
TILES = gemm.Config(32, 32, 64, num_warps=1, stages=1, group=2)
KERNELS = {
    "descriptors": TILES,
    "descriptors in halves": replace(TILES, subtiles=2),
    "descriptors, tall tiles": replace(TILES, block_m=64, block_n=16, group=8),
    "pointers": replace(TILES, descriptors=False),
    "pointers, wide tiles": replace(TILES, block_m=16, block_n=64, descriptors=False),
}
# (m, n, k): one tile, whole tiles, a little less and more, one row, one column, several groups.
SHAPES = [(32, 32, 32), (64, 96, 64), (31, 40, 24), (65, 72, 40), (1, 8, 8), (130, 16, 8)]
# Shapes whose rows no descriptor can move: pointers alone.
ODD = [(33, 17, 5), (7, 3, 129), (64, 1, 1)]


@triton.jit
def without_mask(c, a, BM: tl.constexpr):
    """A copy of one column that must be caught: it runs over the end of its output."""
    i = tl.arange(0, BM)
    tl.store(c + i, tl.load(a + i))


class Guarded:
    """A matrix with a margin beside each row, between two bands: all poison until it is filled."""

    def __init__(self, rows: int, columns: int, dtype: torch.dtype, seed: int | None = None):
        wide = -(-columns // 16) * 16 + MARGIN
        poison = POISON if dtype.is_floating_point else torch.iinfo(dtype).min
        self.whole = torch.full((2 * GUARD + rows * wide,), poison, dtype=dtype)
        self.matrix = self.whole[GUARD:-GUARD].view(rows, wide)[:, :columns]
        if seed is not None:
            drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
            self.matrix.copy_(drawn if dtype.is_floating_point else (30 * drawn).clamp(-99, 99))
        self.before = self.matrix.clone()

    @property
    def guards_hold(self) -> bool:
        poisoned = self._poisoned(self.whole) - self._poisoned(self.matrix)
        return poisoned == self.whole.numel() - self.matrix.numel()

    def _poisoned(self, part: torch.Tensor) -> int:
        if part.dtype.is_floating_point:
            return int(part.isnan().sum())
        return int((part == torch.iinfo(part.dtype).min).sum())

    @property
    def unchanged(self) -> bool:
        return torch.equal(self.matrix, self.before)


def case(
    kernel: str, name: str, shape: tuple[int, int, int], by_columns: bool, out: str = ""
) -> dict[str, Any]:
    m, n, k = shape
    dtype, kept = getattr(torch, name), getattr(torch, out or name)
    a = Guarded(m, k, dtype, seed=m)
    b = Guarded(*((n, k) if by_columns else (k, n)), dtype, seed=n)
    c = Guarded(m, n, kept)
    B = b.matrix.T if by_columns else b.matrix
    config = KERNELS[kernel]
    gemm.multiply(c.matrix, a.matrix, B, programs=3, config=config)
    A, B = a.matrix.double(), B.double()
    # Each addition rounds once in float32, and the result once more; whole numbers are exact.
    rounded = torch.finfo(kept).eps if kept.is_floating_point else 0.0
    steps = k * torch.finfo(torch.float32).eps + rounded if rounded else 0.0
    off = (c.matrix.double() - A @ B).abs()
    return {
        "kernel": kernel,
        "dtype": name,
        "shape": shape,
        "by_columns": by_columns,
        "right": bool((off <= steps * (A.abs() @ B.abs())).all()),
        "guards_hold": all(guarded.guards_hold for guarded in (a, b, c)),
        "inputs_unchanged": a.unchanged and b.unchanged,
    }


def cases() -> list[dict[str, Any]]:
    found = []
    for kernel, config in KERNELS.items():
        for shape in SHAPES if config.descriptors else SHAPES + ODD:
            found += [case(kernel, "float16", shape, by_columns) for by_columns in (True, False)]
        found += [case(kernel, "float32", (65, 72, 40), by_columns) for by_columns in (True, False)]
        shape = (65, 80, 48)  # rows of whole vectors, as descriptors ask for
        found += [case(kernel, "int8", shape, way, out="int32") for way in (True, False)]
    found.append(case("descriptors", "float16", (65, 72, 40), True, out="float32"))
    return found


def overrun() -> bool:
    """Whether the guards hold under a kernel without a mask."""
    a, c = Guarded(64, 1, torch.float32, seed=1), Guarded(1, 20, torch.float32)
    without_mask[(1,)](c.matrix, a.matrix, BM=64)
    return c.guards_hold


def narrow() -> bool:
    """Whether a single column, whose memory lies by rows and by columns at once, is right."""
    a, b, c = torch.randn(32, 16), torch.randn(16, 1), torch.full((32, 1), POISON)
    config = replace(TILES, descriptors=False)
    gemm.multiply(c, a, b, programs=1, config=config)
    return torch.allclose(c, a @ b, rtol=1e-4, atol=1e-5)


def places(tiles_m: int, tiles_n: int) -> list[tuple[int, int]]:
    """Where each tile of a grid lies, in the order in which they are taken, by the kernel."""
    found = torch.zeros(tiles_m * tiles_n, 2, dtype=torch.int32)
    tell[(tiles_m * tiles_n,)](found, tiles_m, tiles_n, GROUP=3)
    return [(row, column) for row, column in found.tolist()]


@triton.jit
def tell(found, tiles_m, tiles_n, GROUP: tl.constexpr):
    """found[tile] = (row, column)"""
    tile = tl.program_id(0)
    row, column = gemm._place(tile, tiles_m, tiles_n, GROUP)
    tl.store(found + 2 * tile, row)
    tl.store(found + 2 * tile + 1, column)


def refusals() -> dict[str, str]:
    """What the wrapper says to arguments that would make it wrong or slow."""
    a, b, c = torch.zeros(32, 16), torch.zeros(16, 32), torch.zeros(32, 32)
    long = torch.zeros(5000)
    inside, later = long[:512].view(32, 16), long[256:1280].view(32, 32)

    def trial(
        c: torch.Tensor = c,
        a: torch.Tensor = a,
        b: torch.Tensor = b,
        programs: int = 1,
        config: gemm.Config = TILES,
    ) -> Callable[[], None]:
        return lambda: gemm.multiply(c, a, b, programs=programs, config=config)

    tries = {
        "inner size": trial(b=torch.zeros(17, 32)),
        "outer size": trial(c=torch.zeros(32, 31)),
        "vector": trial(a=torch.zeros(16)),
        "empty": trial(a=a[:0]),
        "type": trial(b=b.half()),
        "integers": trial(c=c.int(), a=a.int(), b=b.int()),
        "narrow sum": trial(c=c.to(torch.int8), a=a.to(torch.int8), b=b.to(torch.int8)),
        "narrow result": trial(c=c.half()),
        "stride": trial(a=long[:1024].view(32, 32)[:, ::2]),
        "overlapping rows": trial(a=long.as_strided((32, 16), (4, 1))),
        "b in pieces": trial(b=long[: 16 * 64].view(16, 64)[:, ::2]),
        "result by columns": trial(c=c.T),
        "rows": trial(a=torch.zeros(32, 18)[:, :16]),
        "address": trial(a=long[1:513].view(32, 16)),
        "same memory": trial(c=later, a=inside),
        "programs": trial(programs=0),
    }
    return said(tries)


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "triton": triton.__version__,
                "cases": cases(),
                "guards hold without a mask": overrun(),
                "narrow": narrow(),
                "places": places(7, 5),
                "refusals": refusals(),
            }
        )
    )
