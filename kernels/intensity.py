"""Work of any arithmetic intensity: elements read once, and as much arithmetic on each as wanted.

    Σ f(f(… f(a[i]) …))      f(v) = s · v + t, applied `steps` times

One fused multiply-add a step, so 2 · steps operations and one read for each element. With few steps
memory is the limit, with many the vector units; between them lies the ridge of the roofline. For s
other than 1 the steps have a closed form: applied k times, f gives sᵏ · v + t · (1 − sᵏ) / (1 − s).
The compiler does not know it, since it may not reorder arithmetic on floats.

The grid is that of the streams: P persistent programs, blocks p, p + P, p + 2P …, whole ones
without a mask, and one partial sum a program. A thread has several elements of a block, whose
chains of steps do not depend on each other, so that the units need not wait for a result.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from gpubench.kernels import stream

if TYPE_CHECKING:
    import torch

# 8 KiB of float32 over 8 warps: eight chains of steps a thread, where a multiply-add takes about
# four clocks. Six programs fit a multiprocessor with the 40 registers that a thread takes.
DEFAULT = stream.Config(8192, 8, 6)
UNROLLED = 16  # steps in a row; longer loops would not fit the cache of instructions


def apply(
    partials: "torch.Tensor",
    a: "torch.Tensor",
    s: float,
    t: float,
    *,
    steps: int,
    programs: int,
    config: stream.Config = DEFAULT,
) -> None:
    """Σ f(… f(a[i]) …), as partials[p] for each program p; see stream.read for the arrays.

    Args:
        partials: `programs` elements of float32, or of float64 where `a` is.
        a: n elements of one of stream.DTYPES; 16-bit ones are computed in float32.
        s: the factor of a step.
        t: what a step adds.
        steps: how many; fewer than UNROLLED, or a multiple of it.
        programs: to launch; usually `config.programs(multiprocessors)`.
        config: how; its eviction hint and stages count, too.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    if steps < 1 or (steps > UNROLLED and steps % UNROLLED):
        raise ValueError(f"steps is {steps}: up to {UNROLLED}, or a multiple of it")
    n = stream._checked(programs, a=a)
    stream._check_partials(partials, a, programs)
    row = min(steps, UNROLLED)
    options = stream._options(config, a)
    _apply[(programs,)](partials, a, s, t, n, steps // row, ROW=row, **options)


@triton.jit(do_not_specialize=["n", "s", "t", "rows"])
def _apply(
    partials,  # (P,) written
    x,  # (n,) read
    s: tl.float64,
    t: tl.float64,
    n: tl.int64,
    rows: tl.int32,  # times ROW are all steps; no constant, or the loop would be unrolled whole
    ROW: tl.constexpr,
    BLOCK: tl.constexpr,
    EVICT: tl.constexpr,
    STAGES: tl.constexpr,
):
    """partials[p] = Σ f(… f(x[i]) …) over the blocks p, p + P, p + 2P …"""
    p, programs = tl.program_id(0), tl.num_programs(0)
    whole = n // BLOCK
    sums = tl.zeros((BLOCK,), partials.dtype.element_ty)
    factor = tl.cast(s, partials.dtype.element_ty)
    added = tl.cast(t, partials.dtype.element_ty)
    for block in tl.range(p, whole, programs, num_stages=STAGES):
        v = stream._wide(stream._load(x, block, n, False, BLOCK, EVICT))
        sums += _steps(v, factor, added, rows, ROW)
    if p == programs - 1:
        v = stream._wide(stream._load(x, whole, n, True, BLOCK, EVICT))
        sums += tl.where(stream._left(whole, n, BLOCK), _steps(v, factor, added, rows, ROW), 0.0)
    tl.store(partials + p, tl.sum(sums))


@triton.jit
def _steps(v, s, t, rows, ROW: tl.constexpr):
    """f applied rows · ROW times to each element of v."""
    for _ in range(rows):
        for _ in tl.static_range(ROW):
            v = tl.fma(v, s, t)
    return v
