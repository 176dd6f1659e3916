"""Attention of one new token a sequence over its cached keys and values: reading them is all.

    out[b, h] = Σ softmax(scale · q[b, h] · k[b, g, t])[t] · v[b, g, t]

over t < lengths[b], with g = h // G: H query heads share KV cached heads, G = H / KV queries each,
so that a cached value is read once for G queries. One sequence's cache would keep one program busy
for long and all others idle: the keys are split, each part has a program of its own, and a second
kernel puts the parts together by the logarithm of the sum of exponentials that each of them left
("Flash-Decoding", Dao and others, 2023).

The cache is static: (B, KV, capacity, D) by rows, of which a sequence uses its first `lengths[b]`
places, or the last `window` of them. It may hold 8-bit floats, which are widened as they arrive, to
float16: there queries beyond its range overflow. Scores and sums are float32.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from dataclasses import dataclass
from typing import TYPE_CHECKING

import triton
import triton.language as tl
from gpubench.kernels.checks import check_memory, described, dtype

if TYPE_CHECKING:
    import torch

QUERIES = ("float16", "bfloat16", "float32")
CACHES = (*QUERIES, "float8_e4m3fn")
LEAST_ROWS = 16  # of a matrix unit's tile: fewer queries are padded with zeros
_LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Config:
    """One way to run it; `dataclasses.asdict` makes it a record."""

    block: int = 64  # keys of one step
    num_warps: int = 4
    stages: int = 3  # steps whose keys and values are on their way
    programs_per_multiprocessor: int = 2  # wanted at once, from which the number of splits follows

    def splits(self, batch: int, kv_heads: int, longest: int, multiprocessors: int) -> int:
        """Into how many parts to cut the keys: enough programs, and no part shorter than a step."""
        wanted = triton.cdiv(
            self.programs_per_multiprocessor * multiprocessors, max(1, batch * kv_heads)
        )
        return max(1, min(wanted, triton.cdiv(longest, self.block), MOST_SPLITS))


MOST_SPLITS = 256
# What a benchmark tries: small steps leave room for more programs, deep ones have more under way.
CONFIGS = (
    Config(),
    Config(programs_per_multiprocessor=4),
    Config(block=128),
    Config(block=128, programs_per_multiprocessor=1),
    Config(block=128, num_warps=8),
    Config(block=64, stages=4, programs_per_multiprocessor=3),
    Config(block=32, stages=4, programs_per_multiprocessor=4),
)
DEFAULT = CONFIGS[0]


def decode(
    out: "torch.Tensor",
    q: "torch.Tensor",
    k: "torch.Tensor",
    v: "torch.Tensor",
    lengths: "torch.Tensor",
    parts: "torch.Tensor",
    sums: "torch.Tensor",
    *,
    scale: float,
    window: int = 0,
    config: Config = DEFAULT,
) -> None:
    """One token's attention for each sequence: checks its arguments and launches both kernels.

    Args:
        out: (B, H, D), written.
        q: (B, H, D), of the type of `out`.
        k, v: (B, KV, capacity, D), of the type of `q` or float8_e4m3fn.
        lengths: (B,) int32, places of the cache in use, on the device: a captured call follows it.
        parts: (B, H, splits, D) float32, and sums: (B, H, splits) float32, for what splits leave.
        scale: of the scores, usually 1 / √D.
        window: only so many last places are looked at; 0 for all of them.

    Raises:
        ValueError: an argument that would make the kernels wrong, or slow without saying so.
    """
    batch, heads, dim, kv_heads, capacity = _checked(out, q, k, v, lengths, parts, sums)
    splits, group = parts.shape[2], heads // kv_heads
    _split[(batch * kv_heads, splits)](
        parts,
        sums,
        q,
        k,
        v,
        lengths,
        scale * _LOG2_E,
        capacity,
        window,
        KV=kv_heads,
        GROUP=group,
        ROWS=max(LEAST_ROWS, triton.next_power_of_2(group)),
        DIM=dim,
        BLOCK=config.block,
        SPLITS=splits,
        STAGES=config.stages,
        num_warps=config.num_warps,
        enable_fp_fusion=True,
    )
    _combine[(batch * heads,)](
        out,
        parts,
        sums,
        DIM=dim,
        SPLITS=splits,
        PADDED=triton.next_power_of_2(splits),
        CHUNK=min(triton.next_power_of_2(splits), _COMBINED_AT_ONCE),
        num_warps=_COMBINING_WARPS,
        enable_fp_fusion=True,
    )


_COMBINING_WARPS, _COMBINED_AT_ONCE = 4, 64


@triton.jit(do_not_specialize=["capacity", "window"])
def _split(
    parts,  # (B, H, SPLITS, DIM) written: the average of values over one part of the keys
    sums,  # (B, H, SPLITS) written: log2 of that part's sum of exponentials
    q,  # (B, H, DIM) read
    k,  # (B, KV, capacity, DIM) read
    v,  # (B, KV, capacity, DIM) read
    lengths,  # (B,) read
    scale,  # of the scores, times log2(e)
    capacity,
    window,
    KV: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,  # GROUP and the padding of a matrix tile
    DIM: tl.constexpr,
    BLOCK: tl.constexpr,
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Program (b · KV + g, s) takes part s of the keys of sequence b for the queries of head g."""
    which, split = tl.program_id(0), tl.program_id(1)
    length = tl.load(lengths + which // KV)
    oldest = tl.where(window > 0, tl.maximum(length - window, 0), 0)
    # Whole steps to each part, so that only the last step of all has a ragged end.
    steps = tl.cdiv(tl.cdiv(length - oldest, BLOCK), SPLITS)
    start = oldest + split * steps * BLOCK
    stop = tl.minimum(start + steps * BLOCK, length)
    row, d = tl.arange(0, ROWS), tl.arange(0, DIM)  # (ROWS,), (DIM,)
    head = which * GROUP + row  # of all B · H
    query = tl.load(q + head[:, None] * DIM + d[None, :], mask=(row < GROUP)[:, None], other=0.0)
    if k.dtype.element_ty == tl.float8e4nv:
        query = query.to(tl.float16)  # which holds these floats exactly, and is one step away
    base = tl.cast(which, tl.int64) * capacity * DIM
    top = tl.full((ROWS,), float("-inf"), tl.float32)  # the largest score so far
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, DIM), tl.float32)
    for at in tl.range(start, stop, BLOCK, num_stages=STAGES):
        t = at + tl.arange(0, BLOCK)  # (BLOCK,)
        places = base + tl.cast(t, tl.int64)[:, None] * DIM + d[None, :]
        inside = t < stop
        keys = tl.load(k + places, mask=inside[:, None], other=0.0).to(query.dtype)  # (BLOCK, DIM)
        values = tl.load(v + places, mask=inside[:, None], other=0.0).to(query.dtype)
        scores = scale * tl.dot(query, tl.trans(keys), input_precision="ieee")  # (ROWS, BLOCK)
        scores = tl.where(inside[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores - higher[:, None])
        shrunk = tl.exp2(top - higher)
        total = total * shrunk + tl.sum(weights, 1)
        mixed = mixed * shrunk[:, None]
        mixed += tl.dot(weights.to(query.dtype), values, input_precision="ieee")
        top = higher
    some = total > 0.0  # a part may have no keys
    mixed = mixed / tl.where(some, total, 1.0)[:, None]
    left = tl.where(some, top + tl.log2(tl.where(some, total, 1.0)), float("-inf"))
    place = tl.cast(head, tl.int64) * SPLITS + split  # (ROWS,)
    real = row < GROUP
    tl.store(parts + place[:, None] * DIM + d[None, :], mixed, mask=real[:, None])
    tl.store(sums + place, left, mask=real)


@triton.jit
def _combine(
    out,  # (B, H, DIM) written
    parts,  # (B, H, SPLITS, DIM) read
    sums,  # (B, H, SPLITS) read
    DIM: tl.constexpr,
    SPLITS: tl.constexpr,
    PADDED: tl.constexpr,
    CHUNK: tl.constexpr,  # of the parts, which are in registers at once
):
    """out = Σ 2^sums · parts / Σ 2^sums over the parts; a program for each head of a sequence."""
    head = tl.cast(tl.program_id(0), tl.int64)
    d, s = tl.arange(0, DIM), tl.arange(0, PADDED)  # (DIM,), (PADDED,)
    share = tl.load(sums + head * SPLITS + s, mask=s < SPLITS, other=float("-inf"))
    top = tl.max(share, 0)
    weights = tl.exp2(share - tl.where(top == float("-inf"), 0.0, top))  # no key at all: zeros
    total = tl.sum(weights, 0)
    mixed = tl.zeros((DIM,), tl.float32)
    for first in tl.static_range(0, PADDED, CHUNK):
        t = first + tl.arange(0, CHUNK)  # (CHUNK,)
        some = t < SPLITS
        share = tl.load(sums + head * SPLITS + t, mask=some, other=float("-inf"))
        weights = tl.exp2(share - tl.where(top == float("-inf"), 0.0, top))
        rows = parts + (head * SPLITS + t)[:, None] * DIM + d[None, :]
        mixed += tl.sum(weights[:, None] * tl.load(rows, mask=some[:, None], other=0.0), 0)
    mixed = mixed / tl.where(total > 0.0, total, 1.0)
    tl.store(out + head * DIM + d, mixed.to(out.dtype.element_ty))


def _checked(
    out: "torch.Tensor",
    q: "torch.Tensor",
    k: "torch.Tensor",
    v: "torch.Tensor",
    lengths: "torch.Tensor",
    parts: "torch.Tensor",
    sums: "torch.Tensor",
) -> tuple[int, int, int, int, int]:
    """(batch, heads, dim, kv_heads, capacity), once the arguments are fit for the kernels."""
    if q.dim() != 3 or k.dim() != 4:
        raise ValueError(f"q {described(q)} and k {described(k)}: (B, H, D) and (B, KV, T, D)")
    (batch, heads, dim), (rows, kv_heads, capacity, width) = q.shape, k.shape
    wanted = {
        "out": (out, (batch, heads, dim)),
        "v": (v, tuple(k.shape)),
        "lengths": (lengths, (batch,)),
        "parts": (parts, (batch, heads, parts.shape[2] if parts.dim() == 4 else 0, dim)),
        "sums": (sums, (batch, heads, parts.shape[2] if parts.dim() == 4 else 0)),
    }
    if (rows, width) != (batch, dim) or heads % kv_heads or dim & (dim - 1) or dim < LEAST_ROWS:
        raise ValueError(
            f"q {described(q)} and k {described(k)} do not fit: D is a power of two of at least "
            f"{LEAST_ROWS}, the same in both, and H a multiple of KV"
        )
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != shape or not tensor.numel():
            raise ValueError(f"{name} ({described(tensor)}): its shape must be {shape}")
    if dtype(q) not in QUERIES or dtype(k) not in (dtype(q), CACHES[-1]):
        raise ValueError(f"no kernel for q {described(q)} and k {described(k)}")
    if (dtype(out), dtype(v), dtype(lengths)) != (dtype(q), dtype(k), "int32"):
        raise ValueError("out is of the type of q, v of that of k, and lengths are int32")
    if {dtype(parts), dtype(sums)} != {"float32"}:
        raise ValueError("parts and sums are float32")
    if parts.shape[2] > MOST_SPLITS:
        raise ValueError(f"{parts.shape[2]} splits: at most {MOST_SPLITS}")
    tensors = {"out": out, "q": q, "k": k, "v": v, "lengths": lengths, "parts": parts, "sums": sums}
    for name, tensor in tensors.items():
        check_memory(name, tensor)
    return batch, heads, dim, kv_heads, capacity
