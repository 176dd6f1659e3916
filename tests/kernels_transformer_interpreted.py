"""Runs a transformer's kernels through Triton's interpreter, and prints what they did to memory.

    TRITON_INTERPRET=1 python tests/kernels_transformer_interpreted.py

Every array lies between guard bands of poison, and outputs start poisoned. The references are plain
torch in float64. One JSON object of lists of cases, and what the wrappers say to mistakes.
"""

from __future__ import annotations

import os

# Triton reads this once, while it is imported.
os.environ["TRITON_INTERPRET"] = "1"

import json
import math
from collections.abc import Callable
from typing import Any

import torch

from gpubench.kernels import attention, skinny, transformer
from kernels_refusals import said

GUARD = 128
EIGHT = torch.float8_e4m3fn
EPS = {torch.float16: 2.0**-10, torch.float32: 2.0**-23, EIGHT: 2.0**-3}


class Guarded:
    """A tensor between two bands of NaN; `seed` fills it, else it is poison itself."""

    def __init__(self, *shape: int, dtype: torch.dtype, seed: int | None = None) -> None:
        n = math.prod(shape)
        self.whole = torch.zeros(n + 2 * GUARD, dtype=torch.uint8 if dtype == EIGHT else dtype)
        if dtype == EIGHT:
            self.whole.fill_(0x7F)
            self.whole = self.whole.view(EIGHT)
        else:
            self.whole.fill_(math.nan)
        self.array = self.whole[GUARD : GUARD + n].view(*shape)
        if seed is not None:
            drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
            self.array.copy_(drawn.to(dtype))
        self.before = self.array.float().clone()

    @property
    def holds(self) -> bool:
        bands = self.whole[:GUARD].float(), self.whole[GUARD + self.array.numel() :].float()
        return all(bool(band.isnan().all()) for band in bands)

    @property
    def unchanged(self) -> bool:
        return torch.equal(self.array.float(), self.before)


def judged(
    name: str, written: list[tuple[Guarded, torch.Tensor, float]], read: list[Guarded]
) -> dict[str, Any]:
    """Whether what was written is right to so much of its size, and all else untouched."""

    def right(found: Guarded, wanted: torch.Tensor, tolerance: float) -> bool:
        off = (found.array.double() - wanted).abs()
        allowed = tolerance * (wanted.abs() + wanted.abs().mean())
        if found.array.dtype == EIGHT:
            # The interpreter loses the carry where rounding reaches the next power of two.
            rounded = wanted.float().to(EIGHT).double()
            carried = torch.frexp(rounded).exponent != torch.frexp(wanted).exponent
            allowed[carried] += rounded[carried].abs() / 2
        return bool((off <= allowed).all())

    return {
        "case": name,
        "right": all(right(*one) for one in written),
        "guards_hold": all(one.holds for one in (*read, *(found for found, _, _ in written))),
        "inputs_unchanged": all(one.unchanged for one in read),
    }


# --------------------------------------------------------------------------- attention


def attended(
    lengths: list[int],
    heads: int,
    kv: int,
    dim: int,
    splits: int,
    dtype: torch.dtype,
    cache: torch.dtype,
    window: int = 0,
) -> dict[str, Any]:
    """Ragged lengths; what lies in the cache beyond a sequence's length is NaN."""
    batch, capacity = len(lengths), 80
    q = Guarded(batch, heads, dim, dtype=dtype, seed=1)
    k = Guarded(batch, kv, capacity, dim, dtype=cache, seed=2)
    v = Guarded(batch, kv, capacity, dim, dtype=cache, seed=3)
    wanted = torch.zeros(batch, heads, dim, dtype=torch.float64)
    for b, length in enumerate(lengths):
        for cached in (k, v):
            beyond = cached.array[b, :, length:]
            beyond.copy_(torch.full(beyond.shape, math.nan).to(cache))
        oldest = max(0, length - window) if window else 0
        for h in range(heads):
            keys = k.array[b, h // (heads // kv), oldest:length].double()
            scores = keys @ q.array[b, h].double() / math.sqrt(dim)
            values = v.array[b, h // (heads // kv), oldest:length].double()
            if length:
                wanted[b, h] = torch.softmax(scores, 0) @ values
    k.before, v.before = k.array.float().nan_to_num(), v.array.float().nan_to_num()
    out = Guarded(batch, heads, dim, dtype=dtype)
    parts = Guarded(batch, heads, splits, dim, dtype=torch.float32)
    sums = Guarded(batch, heads, splits, dtype=torch.float32)
    attention.decode(
        out.array,
        q.array,
        k.array,
        v.array,
        torch.tensor(lengths, dtype=torch.int32),
        parts.array,
        sums.array,
        scale=1 / math.sqrt(dim),
        window=window,
        config=attention.Config(block=16, stages=2),
    )
    name = f"{lengths} {heads}/{kv}x{dim} in {splits} {dtype} {cache} window {window}"
    # A score is rounded some times before its exponential; how, depends on the processor's BLAS.
    found = judged(name, [(out, wanted, 16 * EPS[dtype])], [q])
    found["guards_hold"] &= all(one.holds for one in (k, v, parts, sums))
    found["inputs_unchanged"] &= all(
        torch.equal(one.array.float().nan_to_num(), one.before) for one in (k, v)
    )
    return found


def attentions() -> list[dict[str, Any]]:
    half, single = torch.float16, torch.float32
    cases = [
        ([1], 4, 4, 16, 1, single, single),
        ([80, 1, 17, 16], 8, 1, 32, 3, single, single),
        ([33, 79], 16, 2, 64, 5, half, half),
        ([64, 65, 15], 6, 2, 16, 2, half, half),
        ([3, 0], 4, 2, 16, 7, single, single),  # more splits than steps, and nothing at all
        ([80, 41], 4, 2, 16, 100, single, single),  # more than are put together at once
        ([80, 41], 32, 1, 16, 2, half, half),  # more queries a head than a tile has rows
        ([50, 20], 8, 2, 32, 3, half, EIGHT),
    ]
    found = [attended(*case) for case in cases]
    for window in (1, 16, 20, 500):
        found.append(attended([70, 12], 4, 2, 16, 3, single, single, window=window))
    return found


# --------------------------------------------------------------------------- what lies between


def normed(rows: int, hidden: int, dtype: torch.dtype, add: bool, eight: bool) -> dict[str, Any]:
    residual = Guarded(rows, hidden, dtype=dtype, seed=4)
    x, weight = Guarded(rows, hidden, dtype=dtype, seed=5), Guarded(hidden, dtype=dtype, seed=6)
    out = Guarded(rows, hidden, dtype=EIGHT if eight else dtype)
    scales = Guarded(rows, 1, dtype=torch.float32)
    summed = residual.array + x.array if add else residual.array.clone()
    r = summed.double()
    wanted = r / (r.square().mean(1, keepdim=True) + 1e-5).sqrt() * weight.array.double()
    transformer.norm(
        out.array,
        residual.array,
        x.array if add else None,
        weight.array,
        1e-5,
        scales.array if eight else None,
    )
    written = [(residual, summed.double(), 0.0)]
    if eight:
        written += _eighth(out, scales, wanted)
    else:
        written.append((out, wanted, 2 * EPS[dtype]))
    return judged(f"norm {rows} x {hidden} {dtype} {add} {eight}", written, [x, weight])


def _eighth(
    out: Guarded, scales: Guarded, wanted: torch.Tensor
) -> list[tuple[Guarded, torch.Tensor, float]]:
    """What rows quantised by their largest value must be."""
    by = wanted.abs().amax(1, keepdim=True) / 448.0
    return [(scales, by, 1e-3), (out, (wanted / by), EPS[EIGHT])]


def gated(rows: int, n: int, dtype: torch.dtype, eight: bool) -> dict[str, Any]:
    x = Guarded(rows, 2 * n, dtype=dtype, seed=7)
    out = Guarded(rows, n, dtype=EIGHT if eight else dtype)
    scales = Guarded(rows, 1, dtype=torch.float32)
    gate, up = x.array.double().chunk(2, 1)
    wanted = gate * torch.sigmoid(gate) * up
    transformer.swiglu(out.array, x.array, scales.array if eight else None)
    written = _eighth(out, scales, wanted) if eight else [(out, wanted, 2 * EPS[dtype])]
    return judged(f"swiglu {rows} x {n} {dtype} {eight}", written, [x])


def quantised(rows: int, n: int, dtype: torch.dtype) -> dict[str, Any]:
    x = Guarded(rows, n, dtype=dtype, seed=8)
    x.array[0].zero_()  # a row of zeros has no largest value to be divided by
    x.before = x.array.float().clone()
    out, scales = Guarded(rows, n, dtype=EIGHT), Guarded(rows, 1, dtype=torch.float32)
    transformer.quantise(out.array, x.array, scales.array)
    wanted = x.array.double()
    by = (wanted.abs().amax(1, keepdim=True) / 448.0).clamp(min=1e-12)
    written = [(scales, by, 1e-3), (out, wanted / by, EPS[EIGHT])]
    return judged(f"quantise {rows} x {n} {dtype}", written, [x])


def turned(
    batch: int, tokens: int, heads: int, kv: int, dim: int, dtype: torch.dtype, cache: torch.dtype
) -> dict[str, Any]:
    """Tokens at places of their own; the rest of the cache stays as it was."""
    capacity = 24
    qkv = Guarded(batch * tokens, (heads + 2 * kv) * dim, dtype=dtype, seed=9)
    angles = torch.outer(torch.arange(capacity).float(), 0.5 ** torch.arange(dim // 2).float())
    turns = torch.stack([angles.cos(), angles.sin()], 1).contiguous()
    places = [(3 * b + t) % capacity for b in range(batch) for t in range(tokens)]
    q = Guarded(batch, heads, tokens, dim, dtype=dtype)
    caches = [Guarded(batch, kv, capacity, dim, dtype=cache, seed=seed) for seed in (10, 11)]
    rows = qkv.array.double().view(batch, tokens, heads + 2 * kv, dim)
    left, right = rows.chunk(2, -1)
    at = torch.tensor(places).view(batch, tokens)
    c, s = (turns[at, which].double()[:, :, None] for which in (0, 1))
    both = torch.cat([left * c - right * s, right * c + left * s], -1)
    wanted_q = both[:, :, :heads].transpose(1, 2)
    wanted = [one.array.double().clone() for one in caches]
    for b in range(batch):
        for t in range(tokens):
            wanted[0][b, :, at[b, t]] = both[b, t, heads : heads + kv]
            wanted[1][b, :, at[b, t]] = rows[b, t, heads + kv :]
    transformer.rope(
        q.array,
        caches[0].array,
        caches[1].array,
        qkv.array,
        turns,
        torch.tensor(places, dtype=torch.int32),
    )
    written = [(q, wanted_q, 2 * EPS[dtype])]
    written += [(one, right_one, EPS[cache]) for one, right_one in zip(caches, wanted, strict=True)]
    return judged(f"rope {batch} {tokens} {heads}/{kv}x{dim} {dtype} {cache}", written, [qkv])


def between() -> list[dict[str, Any]]:
    half, single = torch.float16, torch.float32
    found = []
    for dtype in (half, single):
        for rows, n in ((1, 16), (3, 100), (2, 257), (1, 2500)):
            for eight in (False, True):
                found += [normed(rows, n, dtype, add, eight) for add in (False, True)]
                found.append(gated(rows, n, dtype, eight))
            found.append(quantised(rows + 1, n, dtype))
        found.append(turned(2, 3, 6, 2, 16, dtype, dtype))
        found.append(turned(1, 1, 8, 1, 128, dtype, dtype))
        found.append(turned(3, 1, 40, 8, 64, dtype, EIGHT))
    return found


# --------------------------------------------------------------------------- products of few rows


def skinny_product(m: int, n: int, k: int, dtype: torch.dtype) -> dict[str, Any]:
    x, w = Guarded(m, k, dtype=dtype, seed=12), Guarded(n, k, dtype=dtype, seed=13)
    eight = dtype == EIGHT
    out = Guarded(m, n, dtype=torch.float16 if eight else dtype)
    wanted = x.array.double() @ w.array.double().T
    scales: list[torch.Tensor] = []
    if eight:
        scales = [torch.rand(m, 1) + 0.5, torch.rand(n, 1) + 0.5]
        wanted = wanted * scales[0].double() * scales[1].double().T
    config = skinny.Config(block_n=16, block_bytes=64, num_warps=1, stages=2)
    skinny.multiply(out.array, x.array, w.array, *scales, config=config)
    tolerance = 4 * EPS[out.array.dtype] * math.sqrt(k)
    return judged(f"skinny {m} x {n} x {k} {dtype}", [(out, wanted, tolerance)], [x, w])


def products() -> list[dict[str, Any]]:
    shapes = ((1, 16, 16), (1, 37, 80), (5, 50, 33), (17, 64, 128), (32, 20, 96))
    types = (torch.float16, torch.float32, EIGHT)
    return [skinny_product(*shape, dtype) for shape in shapes for dtype in types]


# --------------------------------------------------------------------------- mistakes


def refusals() -> dict[str, str]:
    """What the wrappers say to arguments that would make them wrong or slow."""
    q, cache = torch.zeros(2, 4, 16), torch.zeros(2, 2, 8, 16)
    lengths, parts = torch.zeros(2, dtype=torch.int32), torch.zeros(2, 4, 3, 16)
    sums, rows = torch.zeros(2, 4, 3), torch.zeros(4, 64)

    def attend(**other: Any) -> None:
        given = {"out": q.clone(), "q": q, "k": cache, "v": cache, "lengths": lengths}
        given |= {"parts": parts, "sums": sums} | other
        attention.decode(**given, scale=1.0)

    tries: dict[str, Callable[[], None]] = {
        "heads": lambda: attend(q=torch.zeros(2, 3, 16)),
        "cache type": lambda: attend(k=cache.double()),
        "lengths": lambda: attend(lengths=lengths.long()),
        "parts": lambda: attend(parts=parts.half()),
        "sums": lambda: attend(sums=torch.zeros(2, 4, 2)),
        "stride": lambda: attend(v=torch.zeros(2, 2, 16, 16)[:, :, ::2]),
        "norm weight": lambda: transformer.norm(rows, rows, rows, torch.zeros(63), 1e-5),
        "norm type": lambda: transformer.norm(rows.half(), rows, None, torch.zeros(64), 1e-5),
        "no scales": lambda: transformer.norm(rows.to(EIGHT), rows, None, torch.zeros(64), 1e-5),
        "halves": lambda: transformer.swiglu(rows, torch.zeros(4, 127)),
        "scales": lambda: transformer.quantise(rows.to(EIGHT), rows, torch.zeros(4)),
        "integers": lambda: transformer.swiglu(rows.int(), torch.zeros(4, 128).int()),
        "positions": lambda: transformer.rope(
            torch.zeros(2, 4, 1, 16),
            cache,
            cache,
            torch.zeros(2, 128),
            torch.zeros(9, 2, 8),
            torch.zeros(3, dtype=torch.int32),
        ),
        "many rows": lambda: skinny.multiply(
            torch.zeros(33, 8), torch.zeros(33, 16), torch.zeros(8, 16)
        ),
        "scales missing": lambda: skinny.multiply(
            torch.zeros(1, 8).half(), torch.zeros(1, 16).to(EIGHT), torch.zeros(8, 16).to(EIGHT)
        ),
        "no fit": lambda: skinny.multiply(
            torch.zeros(1, 8), torch.zeros(1, 16), torch.zeros(8, 17)
        ),
    }
    return said(tries)


def mistaken() -> dict[str, Any]:
    """A norm held against one whose weights are 1 % larger, and written a place too far."""
    out, rows = Guarded(2, 64, dtype=torch.float32), Guarded(2, 64, dtype=torch.float32, seed=1)
    weight = Guarded(64, dtype=torch.float32, seed=2)
    r = rows.array.double()
    wanted = r / (r.square().mean(1, keepdim=True) + 1e-5).sqrt() * weight.array.double()
    transformer.norm(out.array, rows.array, None, weight.array, 1e-5)
    out.whole[GUARD + 128] = 1.0
    rows.array[0, 0] += 1
    return judged("", [(out, 1.01 * wanted, 1e-6)], [rows])


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "attention": attentions(),
                "between": between(),
                "products": products(),
                "refusals": refusals(),
                "mistaken": mistaken(),
            }
        )
    )
