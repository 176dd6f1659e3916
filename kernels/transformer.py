"""What a transformer's layer does between its matrix products: one pass over memory each.

    norm      r += x;  y = r / √(mean(r²) + ε) · w          a row of `hidden` values at a time
    rope      q, k turned by their positions; k and v into the cache
    swiglu    y = gate / (1 + e^-gate) · up                 gate and up beside each other in a row
    quantise  y = x / s in 8-bit floats, s = max|x| / 448   a row at a time

`norm` and `swiglu` can quantise what they write, row by row, so that a product in 8-bit floats
costs no pass of its own. Whatever the type in memory, arithmetic is in float32.
"""

# ruff: noqa: N803, N806 - constants of a Triton kernel are written in upper case

from typing import TYPE_CHECKING

import triton
import triton.language as tl
from gpubench.kernels.checks import check_memory, described, dtype

if TYPE_CHECKING:
    import torch

DTYPES = ("float16", "bfloat16", "float32")
EIGHT_BITS = "float8_e4m3fn"
LARGEST = tl.constexpr(448.0)  # of float8_e4m3fn
# So small a row becomes zeros: no division by nothing.
LEAST_SCALE = tl.constexpr(1e-12)


def norm(
    out: "torch.Tensor",
    residual: "torch.Tensor",
    x: "torch.Tensor | None",
    weight: "torch.Tensor",
    eps: float,
    scales: "torch.Tensor | None" = None,
) -> None:
    """residual += x, then out = RMSNorm(residual) · weight.

    Args:
        out: (rows, hidden), of the type of `residual`, or float8_e4m3fn if there are `scales`.
        residual: (rows, hidden), read, and written if there is an `x`.
        x: (rows, hidden), or None where nothing is to be added.
        weight: (hidden,).
        scales: (rows, 1) float32, written: what the rows of `out` are to be multiplied by.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    rows, hidden = _shape("residual", residual)
    _check("out", out, (rows, hidden), _kept(residual, scales))
    _check("weight", weight, (hidden,), dtype(residual))
    if x is not None:
        _check("x", x, (rows, hidden), dtype(residual))
    _check_scales(scales, rows)
    block = triton.next_power_of_2(hidden)
    _norm[(rows,)](
        out,
        residual,
        residual if x is None else x,
        weight,
        residual if scales is None else scales,
        eps,
        hidden,
        ADD=x is not None,
        QUANTISE=scales is not None,
        BLOCK=block,
        num_warps=_warps(block),
        enable_fp_fusion=True,
    )


def rope(
    q: "torch.Tensor",
    k_cache: "torch.Tensor",
    v_cache: "torch.Tensor",
    qkv: "torch.Tensor",
    turns: "torch.Tensor",
    positions: "torch.Tensor",
) -> None:
    """Queries turned by their positions, keys too and into the cache, values into the cache.

    A vector's first half is paired with its second, as Llama's released weights are.

    Args:
        q: (B, H, T, D), written.
        k_cache, v_cache: (B, KV, capacity, D), written at `positions`; float8_e4m3fn, or as `qkv`.
        qkv: (B · T, (H + 2 KV) · D): queries, keys, values of each token.
        turns: (longest, 2, D / 2) float32, cosines and sines of each position.
        positions: (B · T,) int32.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    batch, heads, tokens, dim = q.shape
    rows, kv_heads, capacity, width = k_cache.shape
    if (rows, width) != (batch, dim) or dim < 16 or dim & (dim - 1):
        raise ValueError(f"q {described(q)} and k_cache {described(k_cache)} do not fit")
    _check("qkv", qkv, (batch * tokens, (heads + 2 * kv_heads) * dim), dtype(q))
    _check("q", q, (batch, heads, tokens, dim), dtype(qkv))
    cached = dtype(k_cache)
    if cached not in (dtype(q), EIGHT_BITS):
        raise ValueError(f"k_cache is {cached}: of the type of q, or {EIGHT_BITS}")
    for name, cache in (("k_cache", k_cache), ("v_cache", v_cache)):
        _check(name, cache, (batch, kv_heads, capacity, dim), cached)
    _check("turns", turns, (len(turns), 2, dim // 2), "float32")
    _check("positions", positions, (batch * tokens,), "int32")
    together = max(1, _TURNED // dim)
    _rope[(batch * tokens, triton.cdiv(heads + 2 * kv_heads, together))](
        q,
        k_cache,
        v_cache,
        qkv,
        turns,
        positions,
        tokens,
        capacity,
        HEADS=heads,
        KV=kv_heads,
        DIM=dim,
        TOGETHER=together,
        num_warps=4,
        enable_fp_fusion=True,
    )


# Elements of q, k and v that one program turns: sixteen bytes a thread of either half.
_TURNED = 2048


def swiglu(
    out: "torch.Tensor", gate_up: "torch.Tensor", scales: "torch.Tensor | None" = None
) -> None:
    """out = silu(gate) · up, of rows that hold gate and then up.

    Args:
        out: (rows, n), of the type of `gate_up`, or float8_e4m3fn if there are `scales`.
        gate_up: (rows, 2 n).
        scales: (rows, 1) float32, written.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    rows, double = _shape("gate_up", gate_up)
    if double % 2:
        raise ValueError(f"gate_up ({described(gate_up)}): a row holds two halves")
    _check("out", out, (rows, double // 2), _kept(gate_up, scales))
    _rowwise(out, gate_up, scales, double // 2, gated=True)


def quantise(out: "torch.Tensor", x: "torch.Tensor", scales: "torch.Tensor") -> None:
    """x as float8_e4m3fn times a scale for each row.

    Args:
        out: (rows, n) float8_e4m3fn.
        x: (rows, n).
        scales: (rows, 1) float32, written: out · scales is x.

    Raises:
        ValueError: an argument that would make the kernel wrong, or slow without saying so.
    """
    rows, n = _shape("x", x)
    _check("out", out, (rows, n), EIGHT_BITS)
    _rowwise(out, x, scales, n, gated=False)


def _rowwise(
    out: "torch.Tensor",
    x: "torch.Tensor",
    scales: "torch.Tensor | None",
    n: int,
    *,
    gated: bool,
) -> None:
    rows = x.shape[0]
    _check_scales(scales, rows)
    # The largest value of a row must be known first, so a program keeps the whole row.
    block = triton.next_power_of_2(n) if scales is not None else _BLOCK
    _rows[(rows, 1 if scales is not None else triton.cdiv(n, block))](
        out,
        x,
        x if scales is None else scales,
        n,
        GATED=gated,
        QUANTISE=scales is not None,
        BLOCK=block,
        num_warps=_warps(block),
        enable_fp_fusion=True,
    )


_BLOCK = 2048


def _warps(block: int) -> int:
    """So many that a thread keeps 16 values, or 32 of the longest rows."""
    return min(32, max(1, block // (32 * 16)))


@triton.jit
def _norm(
    out,  # (rows, hidden) written
    residual,  # (rows, hidden) read, written if ADD
    x,  # (rows, hidden) read if ADD
    weight,  # (hidden,) read
    scales,  # (rows,) written if QUANTISE
    eps,
    hidden,
    ADD: tl.constexpr,
    QUANTISE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program for each row, which stays in registers."""
    row, i = tl.cast(tl.program_id(0), tl.int64), tl.arange(0, BLOCK)  # (BLOCK,)
    inside, at = i < hidden, row * hidden + i
    r = tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        r += tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(residual + at, r.to(residual.dtype.element_ty), mask=inside)
        # What later layers see is what was rounded.
        r = r.to(residual.dtype.element_ty).to(tl.float32)
    inverse = 1.0 / tl.sqrt(tl.sum(r * r, 0) / hidden + eps)
    y = r * inverse * tl.load(weight + i, mask=inside, other=0.0).to(tl.float32)
    _write(out, scales, y, at, row, inside, QUANTISE)


@triton.jit
def _rope(
    q,  # (B, HEADS, tokens, DIM) written
    k_cache,  # (B, KV, capacity, DIM) written
    v_cache,  # (B, KV, capacity, DIM) written
    qkv,  # (B · tokens, (HEADS + 2 KV) · DIM) read
    turns,  # (longest, 2, DIM / 2) read
    positions,  # (B · tokens,) read
    tokens,
    capacity,
    HEADS: tl.constexpr,
    KV: tl.constexpr,
    DIM: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Program (r, p) takes the heads p · TOGETHER and following of token r."""
    HALF: tl.constexpr = DIM // 2
    row, first = tl.cast(tl.program_id(0), tl.int64), tl.program_id(1) * TOGETHER
    head = first + tl.arange(0, TOGETHER)  # (TOGETHER,) of queries, then keys, then values
    i = tl.arange(0, HALF)  # (HALF,)
    position = tl.load(positions + row)
    cosine = tl.load(turns + position * DIM + i)
    sine = tl.load(turns + position * DIM + HALF + i)
    total: tl.constexpr = HEADS + 2 * KV
    at = qkv + row * total * DIM + head[:, None] * DIM + i[None, :]  # (TOGETHER, HALF)
    real = (head < total)[:, None]
    left = tl.load(at, mask=real, other=0.0).to(tl.float32)
    right = tl.load(at + HALF, mask=real, other=0.0).to(tl.float32)
    turned = (head < HEADS + KV)[:, None]  # values stay as they are
    c = tl.where(turned, cosine[None, :], 1.0)
    s = tl.where(turned, sine[None, :], 0.0)
    new_left, new_right = left * c - right * s, right * c + left * s
    batch, token = row // tokens, row % tokens
    query = ((batch * HEADS + head) * tokens + token)[:, None] * DIM + i[None, :]
    _pair(q, query, new_left, new_right, (head < HEADS)[:, None], HALF)
    key = ((batch * KV + head - HEADS) * capacity + position)[:, None] * DIM + i[None, :]
    among = ((head >= HEADS) & (head < HEADS + KV))[:, None]
    _pair(k_cache, key, new_left, new_right, among, HALF)
    value = ((batch * KV + head - HEADS - KV) * capacity + position)[:, None] * DIM + i[None, :]
    among = ((head >= HEADS + KV) & (head < total))[:, None]
    _pair(v_cache, value, new_left, new_right, among, HALF)


@triton.jit
def _pair(out, at, left, right, mask, HALF: tl.constexpr):
    """Both halves of some vectors."""
    tl.store(out + at, left.to(out.dtype.element_ty), mask=mask)
    tl.store(out + at + HALF, right.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _rows(
    out,  # (rows, n) written
    x,  # (rows, n) read, or (rows, 2 n) if GATED
    scales,  # (rows,) written if QUANTISE
    n,
    GATED: tl.constexpr,
    QUANTISE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program (r, p) takes block p of row r; the whole row if QUANTISE."""
    row = tl.cast(tl.program_id(0), tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)  # (BLOCK,)
    inside = i < n
    if GATED:
        gate = tl.load(x + row * 2 * n + i, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(x + row * 2 * n + n + i, mask=inside, other=0.0).to(tl.float32)
        y = gate / (1.0 + tl.exp(-gate)) * up
    else:
        y = tl.load(x + row * n + i, mask=inside, other=0.0).to(tl.float32)
    _write(out, scales, y, row * n + i, row, inside, QUANTISE)


@triton.jit
def _write(out, scales, y, at, row, inside, QUANTISE: tl.constexpr):
    """Some values of a row as they are, or a whole row over its scale."""
    if QUANTISE:
        scale = tl.maximum(tl.max(tl.abs(y), 0) / LARGEST, LEAST_SCALE)
        tl.store(scales + row, scale)
        y = y / scale
    tl.store(out + at, y.to(out.dtype.element_ty), mask=inside)


def _kept(x: "torch.Tensor", scales: "torch.Tensor | None") -> str:
    return dtype(x) if scales is None else EIGHT_BITS


def _shape(name: str, x: "torch.Tensor") -> tuple[int, int]:
    if x.dim() != 2 or not x.numel() or dtype(x) not in DTYPES:
        raise ValueError(f"{name} ({described(x)}): must be rows of {', '.join(DTYPES)}")
    _check(name, x, tuple(x.shape), dtype(x))
    return x.shape[0], x.shape[1]


def _check_scales(scales: "torch.Tensor | None", rows: int) -> None:
    if scales is not None:
        _check("scales", scales, (rows, 1), "float32")


def _check(name: str, x: "torch.Tensor", shape: tuple[int, ...], kind: str) -> None:
    """Raises ValueError unless a tensor has this shape and type and lies as the kernels need it."""
    if tuple(x.shape) != shape or dtype(x) != kind or not x.numel():
        raise ValueError(f"{name} ({described(x)}): must be {' × '.join(map(str, shape))} {kind}")
    check_memory(name, x)
