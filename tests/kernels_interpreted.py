"""Runs the stream kernels through Triton's interpreter, and prints what they did to memory.

    TRITON_INTERPRET=1 python tests/kernels_interpreted.py

Every array lies between guard bands. Outputs start poisoned. One JSON object: `cases` are patterns
on ragged sizes, the rest is described where it is made.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from __future__ import annotations

import os

# Triton reads this once, while it is imported.
os.environ["TRITON_INTERPRET"] = "1"

import json
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from gpubench.benchmarks.bandwidth import PATTERNS
from gpubench.kernels import intensity, stream
from kernels_refusals import said

GUARD = 128  # elements on both sides: whole vectors, so that alignment is kept
POISON = float("nan")
SMALL = stream.Config(block_bytes=512, num_warps=1, programs_per_multiprocessor=1)
SCALAR = 0.375  # exact in every type: the interpreter takes scalars as float32, a GPU as float64


@triton.jit
def without_mask(out, x, BLOCK: tl.constexpr):
    """A copy that must be caught: it runs over the end of its output."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i))


@triton.jit
def addresses(found, x, block, BLOCK: tl.constexpr):
    tl.store(found + tl.arange(0, BLOCK), stream._at(x, block, BLOCK).to(tl.int64))


@triton.jit
def addresses_in_32_bits(found, x, block, BLOCK: tl.constexpr):
    """The mistake that `addresses` must not make."""
    at = x + (block * BLOCK + tl.arange(0, BLOCK))
    tl.store(found + tl.arange(0, BLOCK), at.to(tl.int64))


class Guarded:
    """n values between two guard bands of poison; reading or writing beyond them shows."""

    def __init__(self, n: int, dtype: torch.dtype, seed: int | None = None) -> None:
        self.whole = torch.full((n + 2 * GUARD,), POISON, dtype=dtype)
        self.array = self.whole[GUARD : GUARD + n]
        if seed is not None:
            drawn = torch.randn(n, generator=torch.Generator().manual_seed(seed))
            self.array.copy_(drawn.to(dtype))
        self.before = self.array.clone()

    @property
    def guards_hold(self) -> bool:
        bands = self.whole[:GUARD], self.whole[GUARD + len(self.array) :]
        return all(bool(band.isnan().all()) for band in bands)

    @property
    def unchanged(self) -> bool:
        return torch.equal(self.array, self.before)


def reference(pattern: str, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(result, sum of the absolute values of its terms) in float64, per element or as a sum."""
    terms = {
        "read": [a],
        "write": [torch.full_like(a, SCALAR)],
        "copy": [a],
        "mul": [SCALAR * a],
        "add": [a, b],
        "triad": [a, SCALAR * b],
        "dot": [a * b],
    }[pattern]
    wanted, size = sum(terms), sum(term.abs() for term in terms)
    return (wanted.sum(), size.sum()) if pattern in ("read", "dot") else (wanted, size)


def run(pattern: str, out: Guarded, a: Guarded, b: Guarded, **how: Any) -> None:
    inputs = {"write": [], "add": [a, b], "triad": [a, b], "dot": [a, b]}.get(pattern, [a])
    scalar = [SCALAR] if pattern in ("write", "mul", "triad") else []
    arrays = [guarded.array for guarded in (out, *inputs)]
    getattr(stream, pattern)(*arrays, *scalar, **how)


def case(pattern: str, name: str, n: int, programs: int, stages: int = 1) -> dict[str, Any]:
    dtype = getattr(torch, name)
    a, b = Guarded(n, dtype, seed=n), Guarded(n, dtype, seed=n + 1)
    sums = pattern in ("read", "dot")
    kept = getattr(torch, stream.partial_dtype(a.array)) if sums else dtype
    out = Guarded(programs if sums else n, kept)
    config = stream.Config(SMALL.block_bytes, 1, 1, stages=stages)
    run(pattern, out, a, b, programs=programs, config=config)
    wanted, size = reference(pattern, a.array.double(), b.array.double())
    found = out.array.double().sum() if sums else out.array.double()
    # An element rounds at most twice, by half a step each; a sum once a term.
    steps = n / 2 + 1 if sums else 1
    allowed = steps * torch.finfo(kept).eps * size
    return {
        "pattern": pattern,
        "dtype": name,
        "n": n,
        "programs": programs,
        "right": bool(((found - wanted).abs() <= allowed).all()),
        "guards_hold": all(guarded.guards_hold for guarded in (out, a, b)),
        "inputs_unchanged": a.unchanged and b.unchanged,
    }


def cases() -> list[dict[str, Any]]:
    found = []
    for name in stream.DTYPES:
        block = SMALL.block(getattr(torch, name).itemsize)
        sizes = [1, 15, 16, 17, block - 1, block, block + 1, 5 * block + 37, 6 * block]
        for pattern in PATTERNS:
            found += [case(pattern, name, n, programs) for n in sizes for programs in (1, 4)]
    found += [case(pattern, "float32", 933, 2, stages=3) for pattern in PATTERNS]
    return found


def steps_case(name: str, n: int, steps: int) -> dict[str, Any]:
    """The fused sweep's kernel on a ragged size, against steps done one by one in float64."""
    s, t = 0.75, 0.25  # exact in every type
    a = Guarded(n, getattr(torch, name), seed=n)
    out = Guarded(3, getattr(torch, stream.partial_dtype(a.array)))
    intensity.apply(out.array, a.array, s, t, steps=steps, programs=3, config=SMALL)
    wanted = a.array.double()
    for _ in range(steps):
        wanted = s * wanted + t
    allowed = (steps + n) * torch.finfo(out.array.dtype).eps * float(a.array.double().abs().sum())
    off = float((out.array.double().sum() - wanted.sum()).abs())
    return {
        "dtype": name,
        "n": n,
        "steps": steps,
        "right": off <= allowed + n * torch.finfo(out.array.dtype).eps,
        "guards_hold": out.guards_hold and a.guards_hold,
        "inputs_unchanged": a.unchanged,
    }


def overrun() -> bool:
    """Whether the guards hold under a kernel without a mask."""
    a, c = Guarded(100, torch.float32, seed=1), Guarded(100, torch.float32)
    without_mask[(1,)](c.array, Guarded(200, torch.float32, seed=2).array, BLOCK=128)
    return c.guards_hold and a.guards_hold


def far(kernel: Any) -> list[int]:
    """How far the addresses of a block beyond 2³¹ elements lie from where they should, in bytes."""
    block = 2**31 // 128 + 3
    x, found = torch.zeros(128), torch.zeros(128, dtype=torch.int64)
    kernel[(1,)](found, x, block, BLOCK=128)
    wanted = x.data_ptr() + 4 * (block * 128 + torch.arange(128, dtype=torch.int64))
    return (found - wanted).tolist()


def refusals() -> dict[str, str]:
    """What the wrappers say to arrays that would make them wrong or slow."""
    a, c = torch.zeros(64), torch.zeros(64)
    long = torch.zeros(200)
    sums = torch.zeros(1)
    tries: dict[str, Callable[[], None]] = {
        "steps": lambda: intensity.apply(sums, a, 1.0, 0.0, steps=17, programs=1, config=SMALL),
        "no step": lambda: intensity.apply(sums, a, 1.0, 0.0, steps=0, programs=1, config=SMALL),
        "size": lambda: stream.copy(c, torch.zeros(65), programs=1, config=SMALL),
        "type": lambda: stream.add(c, a, torch.zeros(64).half(), programs=1, config=SMALL),
        "integers": lambda: stream.copy(c.int(), a.int(), programs=1, config=SMALL),
        "stride": lambda: stream.copy(c, long[:128:2], programs=1, config=SMALL),
        "alignment": lambda: stream.triad(a, c, long[1:65], 1.0, programs=1, config=SMALL),
        "same": lambda: stream.copy(a, a, programs=1, config=SMALL),
        "overlap": lambda: stream.copy(long[:64], long[60:124], programs=1, config=SMALL),
        "empty": lambda: stream.write(a[:0], 1.0, programs=1, config=SMALL),
        "programs": lambda: stream.write(a, 1.0, programs=0, config=SMALL),
        "partials": lambda: stream.read(torch.zeros(3), a, programs=4, config=SMALL),
        "partial type": lambda: stream.read(torch.zeros(4).half(), a, programs=4, config=SMALL),
    }
    return said(tries)


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "triton": triton.__version__,
                "cases": cases(),
                "steps": [
                    steps_case(name, n, steps)
                    for name in ("float16", "float32", "float64")
                    for n in (1, 130, 933, 1024)
                    for steps in (1, 3, 16, 48)
                ],
                "guards hold without a mask": overrun(),
                "far": far(addresses),
                "far in 32 bits": far(addresses_in_32_bits),
                "refusals": refusals(),
            }
        )
    )
