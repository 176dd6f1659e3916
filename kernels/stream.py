"""Streams through device memory: the plainest work whose only limit is bandwidth.

Seven patterns over arrays of n elements, named as in McCalpin's STREAM and in BabelStream:

    read    Σ a[i]                    write   a[i] = s
    copy    c[i] = a[i]               mul     b[i] = s · c[i]
    add     c[i] = a[i] + b[i]        triad   a[i] = b[i] + s · c[i]
    dot     Σ a[i] · b[i]

The grid is persistent: P programs stay on the multiprocessors and program p handles the blocks
p, p + P, p + 2P … of BLOCK elements, so that at any moment all programs walk through one window of
memory. Whole blocks carry no mask, and each thread moves 16 bytes at a time; what is left after
them, fewer than BLOCK elements, is done with a mask by the last program, which never has more
whole blocks than another. Elements are counted in 64 bits.

Sums leave one partial sum a program, so that no read can be optimised away and nothing is added
across programs in an order that changes from run to run.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import triton
import triton.language as tl
from gpubench.kernels.checks import VECTOR_BYTES, check_place, dtype

if TYPE_CHECKING:
    import torch

DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Config:
    """One way to run a pattern; `dataclasses.asdict` makes it a record."""

    block_bytes: int  # of each array, handled by one program at a time; a power of two
    num_warps: int  # of one program
    programs_per_multiprocessor: int
    evict: str = "evict_first"  # streams leave the caches first, or "" for the usual policy
    stages: int = 1  # loads run stages − 1 blocks ahead, through shared memory on NVIDIA

    def __post_init__(self) -> None:
        threads = 32 * self.num_warps
        if self.block_bytes & (self.block_bytes - 1) or self.block_bytes < VECTOR_BYTES * threads:
            raise ValueError(
                f"block_bytes is {self.block_bytes}: {self.num_warps} warps need a power of two "
                f"of at least {VECTOR_BYTES * threads}, {VECTOR_BYTES} bytes a thread"
            )

    def block(self, element_bytes: int) -> int:
        """Elements of one block."""
        return self.block_bytes // element_bytes

    def programs(self, multiprocessors: int) -> int:
        """Programs to launch on a device with so many multiprocessors (compute units on AMD)."""
        return self.programs_per_multiprocessor * multiprocessors


KIB = 1024
# What `search` tries; docs/kernels.md has the reasons. The first is the default.
CONFIGS = (
    Config(8 * KIB, 8, 8),
    Config(8 * KIB, 8, 8, evict=""),
    Config(8 * KIB, 8, 6),
    Config(8 * KIB, 8, 4),
    Config(8 * KIB, 8, 4, evict=""),
    Config(8 * KIB, 8, 2),
    Config(8 * KIB, 4, 8),
    Config(8 * KIB, 4, 8, evict=""),
    Config(4 * KIB, 4, 16),
    Config(16 * KIB, 8, 4),
    Config(8 * KIB, 8, 64),
    Config(8 * KIB, 8, 64, evict=""),
    Config(4 * KIB, 4, 8, stages=3),
    Config(8 * KIB, 8, 4, stages=3),
)
DEFAULT = CONFIGS[0]


# Each wrapper names what it writes first, as an assignment does, checks, and launches on the
# current stream. It allocates nothing and returns nothing, so it can be timed barely, and captured
# into a CUDA graph once a first call has compiled the kernel.


def read(
    partials: "torch.Tensor", a: "torch.Tensor", *, programs: int, config: Config = DEFAULT
) -> None:
    """Σ a[i], as partials[p] for each program p: `programs` elements of `partial_dtype(a)`."""
    n = _checked(programs, a=a)
    _check_partials(partials, a, programs)
    _sum[(programs,)](partials, a, a, n, PATTERN="read", **_options(config, a))


def write(a: "torch.Tensor", s: float, *, programs: int, config: Config = DEFAULT) -> None:
    """a[i] = s."""
    n = _checked(programs, a=a)
    _map[(programs,)](a, a, a, s, n, PATTERN="write", **_options(config, a))


def copy(c: "torch.Tensor", a: "torch.Tensor", *, programs: int, config: Config = DEFAULT) -> None:
    """c[i] = a[i]."""
    n = _checked(programs, c=c, a=a)
    _map[(programs,)](c, a, a, 0.0, n, PATTERN="copy", **_options(config, a))


def mul(
    b: "torch.Tensor", c: "torch.Tensor", s: float, *, programs: int, config: Config = DEFAULT
) -> None:
    """b[i] = s · c[i]."""
    n = _checked(programs, b=b, c=c)
    _map[(programs,)](b, c, c, s, n, PATTERN="mul", **_options(config, b))


def add(
    c: "torch.Tensor",
    a: "torch.Tensor",
    b: "torch.Tensor",
    *,
    programs: int,
    config: Config = DEFAULT,
) -> None:
    """c[i] = a[i] + b[i]."""
    n = _checked(programs, c=c, a=a, b=b)
    _map[(programs,)](c, a, b, 0.0, n, PATTERN="add", **_options(config, c))


def triad(
    a: "torch.Tensor",
    b: "torch.Tensor",
    c: "torch.Tensor",
    s: float,
    *,
    programs: int,
    config: Config = DEFAULT,
) -> None:
    """a[i] = b[i] + s · c[i]."""
    n = _checked(programs, a=a, b=b, c=c)
    _map[(programs,)](a, b, c, s, n, PATTERN="triad", **_options(config, a))


def dot(
    partials: "torch.Tensor",
    a: "torch.Tensor",
    b: "torch.Tensor",
    *,
    programs: int,
    config: Config = DEFAULT,
) -> None:
    """Σ a[i] · b[i], as partials[p] for each program p, as in `read`."""
    n = _checked(programs, a=a, b=b)
    _check_partials(partials, a, programs)
    _sum[(programs,)](partials, a, b, n, PATTERN="dot", **_options(config, a))


def partial_dtype(array: "torch.Tensor") -> str:
    """The type in which sums over an array are kept: float64 for float64, else float32."""
    return "float64" if dtype(array) == "float64" else "float32"


@triton.jit(do_not_specialize=["n"])
def _map(
    out,  # (n,) written
    x,  # (n,) read, unless PATTERN is "write"
    y,  # (n,) read by "add" and "triad"
    s: tl.float64,
    n: tl.int64,
    PATTERN: tl.constexpr,
    BLOCK: tl.constexpr,
    EVICT: tl.constexpr,
    STAGES: tl.constexpr,
):
    """out[i] = value(x[i], y[i], s); program p writes the blocks p, p + P, p + 2P …"""
    p, programs = tl.program_id(0), tl.num_programs(0)
    whole = n // BLOCK
    for block in tl.range(p, whole, programs, num_stages=STAGES):
        value = _value(x, y, s, block, n, PATTERN, False, BLOCK, EVICT)  # (BLOCK,)
        tl.store(_at(out, block, BLOCK), value, eviction_policy=EVICT)
    if p == programs - 1:
        value = _value(x, y, s, whole, n, PATTERN, True, BLOCK, EVICT)
        tl.store(_at(out, whole, BLOCK), value, mask=_left(whole, n, BLOCK), eviction_policy=EVICT)


@triton.jit(do_not_specialize=["n"])
def _sum(
    partials,  # (P,) written
    x,  # (n,) read
    y,  # (n,) read by "dot"
    n: tl.int64,
    PATTERN: tl.constexpr,
    BLOCK: tl.constexpr,
    EVICT: tl.constexpr,
    STAGES: tl.constexpr,
):
    """partials[p] = Σ value(x[i], y[i]) over the blocks p, p + P, p + 2P …"""
    p, programs = tl.program_id(0), tl.num_programs(0)
    whole = n // BLOCK
    # One sum for each place in a block, so that the loop adds without waiting for other threads.
    sums = tl.zeros((BLOCK,), partials.dtype.element_ty)
    for block in tl.range(p, whole, programs, num_stages=STAGES):
        sums += _value(x, y, 0.0, block, n, PATTERN, False, BLOCK, EVICT)
    if p == programs - 1:
        sums += _value(x, y, 0.0, whole, n, PATTERN, True, BLOCK, EVICT)
    tl.store(partials + p, tl.sum(sums))


@triton.jit
def _value(
    x,
    y,
    s,
    block,
    n,
    PATTERN: tl.constexpr,
    RAGGED: tl.constexpr,
    BLOCK: tl.constexpr,
    EVICT: tl.constexpr,
):
    """What a pattern computes for one block, (BLOCK,); zero beyond n where the block is RAGGED."""
    if PATTERN == "write":
        value = tl.full((BLOCK,), tl.cast(s, x.dtype.element_ty), x.dtype.element_ty)
    elif PATTERN == "copy":
        value = _load(x, block, n, RAGGED, BLOCK, EVICT)
    elif PATTERN == "read":
        value = _wide(_load(x, block, n, RAGGED, BLOCK, EVICT))
    elif PATTERN == "mul":
        c = _wide(_load(x, block, n, RAGGED, BLOCK, EVICT))
        value = tl.cast(s, c.dtype) * c
    elif PATTERN == "add":
        a = _wide(_load(x, block, n, RAGGED, BLOCK, EVICT))
        b = _wide(_load(y, block, n, RAGGED, BLOCK, EVICT))
        value = a + b
    elif PATTERN == "triad":
        b = _wide(_load(x, block, n, RAGGED, BLOCK, EVICT))
        c = _wide(_load(y, block, n, RAGGED, BLOCK, EVICT))
        value = b + tl.cast(s, c.dtype) * c
    else:
        tl.static_assert(PATTERN == "dot")
        a = _wide(_load(x, block, n, RAGGED, BLOCK, EVICT))
        b = _wide(_load(y, block, n, RAGGED, BLOCK, EVICT))
        value = a * b
    return value


@triton.jit
def _load(x, block, n, RAGGED: tl.constexpr, BLOCK: tl.constexpr, EVICT: tl.constexpr):
    """One block of x, (BLOCK,), without a mask unless it is RAGGED."""
    if RAGGED:
        left = _left(block, n, BLOCK)
        loaded = tl.load(_at(x, block, BLOCK), mask=left, other=0, eviction_policy=EVICT)
    else:
        loaded = tl.load(_at(x, block, BLOCK), eviction_policy=EVICT)
    return loaded


@triton.jit
def _at(x, block, BLOCK: tl.constexpr):
    """The addresses of one block of x, (BLOCK,), by 64-bit arithmetic."""
    return x + tl.cast(block, tl.int64) * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def _left(block, n, BLOCK: tl.constexpr):
    """Which elements of a block lie before n, (BLOCK,)."""
    return tl.arange(0, BLOCK) < n - block * BLOCK


@triton.jit
def _wide(x):
    """x in the type we compute in: float32 at the least."""
    return x if x.dtype == tl.float64 else x.to(tl.float32)


def _checked(programs: int, **arrays: "torch.Tensor") -> int:
    """The common size n of the arrays, once they are known to be fit for the kernels.

    Raises:
        ValueError: an array that would make the kernels wrong, or slow without saying so.
    """
    if programs < 1:
        raise ValueError(f"programs is {programs}: launch at least one")
    (first, model), *others = arrays.items()
    _check_array(first, model)
    for name, array in others:
        _check_array(name, array)
        if (array.numel(), array.dtype, array.device) != (
            model.numel(),
            model.dtype,
            model.device,
        ):
            raise ValueError(
                f"{first} and {name} differ in size, type or device: "
                f"{_described(model)}, {_described(array)}"
            )
    _check_apart(arrays)
    return model.numel()


def _check_array(name: str, array: "torch.Tensor") -> None:
    said = f"{name} ({_described(array)})"
    if dtype(array) not in DTYPES:
        raise ValueError(f"{said}: the type must be one of {', '.join(DTYPES)}")
    if not array.numel() or not array.is_contiguous():
        raise ValueError(f"{said}: must be contiguous, with at least one element")
    if array.data_ptr() % VECTOR_BYTES:
        raise ValueError(
            f"{said}: starts {array.data_ptr() % VECTOR_BYTES} bytes past a multiple of "
            f"{VECTOR_BYTES}, which would forbid {VECTOR_BYTES}-byte loads and stores"
        )
    check_place(name, said, array)


def _check_apart(arrays: dict[str, "torch.Tensor"]) -> None:
    """Raises ValueError if two arrays share memory: they would move fewer bytes than counted."""
    ordered = sorted(arrays.items(), key=lambda item: item[1].data_ptr())
    for (left, array), (right, following) in pairwise(ordered):
        if array.data_ptr() + array.numel() * array.element_size() > following.data_ptr():
            raise ValueError(f"{left} and {right} share memory: give each an array of its own")


def _check_partials(partials: "torch.Tensor", array: "torch.Tensor", programs: int) -> None:
    wanted = partial_dtype(array)
    if (partials.numel(), dtype(partials), partials.device) != (
        programs,
        wanted,
        array.device,
    ) or (not partials.is_contiguous()):
        raise ValueError(
            f"partials ({_described(partials)}): must be contiguous, {programs} elements of "
            f"{wanted} on {array.device}, one for each program"
        )


def _options(config: Config, array: "torch.Tensor") -> dict[str, int | str]:
    return {
        "BLOCK": config.block(array.element_size()),
        "EVICT": config.evict,
        "STAGES": config.stages,
        "num_warps": config.num_warps,
        # Said everywhere, since what Triton does unasked is another thing from 3.10 on.
        "enable_fp_fusion": True,
    }


def _described(array: "torch.Tensor") -> str:
    return f"{array.numel()} × {dtype(array)} on {array.device}"
