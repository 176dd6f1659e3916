"""A language model of the Llama family as it runs, in plain torch.

    x += attention(norm(x)); x += feed_forward(norm(x))      each layer, in 16 bits
    attention     queries share cached heads; RoPE; a static cache
    feed_forward  down(silu(gate) · up), or the weighted sum of a token's k best experts (Mixtral)

`Plain` holds the operators as torch has them, and can be exchanged; `forward` is the only place
that knows in which order they come. Torch is imported by name in each of them, since torch.compile
looks through that, and not through a function of ours.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gpubench.benchmarks._decoder import (
    EPS,
    Cache,
    Layer,
    Linear,
    Place,
    Rows,
    Tensor,
    Weights,
    quantised,
    scaled_product,
)
from gpubench.model import LanguageModel


def forward(ops: Plain, weights: Weights, held: Cache, at: Place) -> Tensor:
    """Logits (sequences, vocabulary) of what follows each sequence; the cache takes the new tokens.

    A step of decoding is one token a sequence; a prefill is a whole prompt.
    """
    import torch

    residual, x = ops.embed(weights, at), None
    for layer, keys, values in zip(weights.layers, held.keys, held.values, strict=True):
        residual, x = run_layer(ops, weights.model, layer, keys, values, at, residual, x)
    rows, _ = ops.norm(residual, x, weights.norm, eight=False)
    last = torch.arange(at.tokens - 1, at.sequences * at.tokens, at.tokens, device=at.ids.device)
    sampled = rows.values if at.tokens == 1 else rows.values[last]
    return ops.product(Rows(sampled), Linear(weights.head))


def run_layer(
    ops: Plain,
    model: LanguageModel,
    layer: Layer,
    keys: Tensor,
    values: Tensor,
    at: Place,
    residual: Tensor,
    x: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """(residual, what is to be added to it) after one layer; `x` is what the one before left."""
    rows, residual = ops.norm(residual, x, layer.attention_norm, layer.qkv.eight)
    queries = ops.rope(ops.product(rows, layer.qkv), keys, values, at, model)
    mixed = ops.attend(queries, keys, values, at, model)
    x = ops.product(ops.narrowed(mixed, layer.output.eight), layer.output)
    routed = layer.router is not None
    rows, residual = ops.norm(
        residual, x, layer.feed_forward_norm, layer.gate_up.eight and not routed
    )
    if routed:
        return residual, ops.experts(rows.values, layer, model)
    inner = ops.swiglu(ops.product(rows, layer.gate_up), layer.down.eight)
    return residual, ops.product(inner, layer.down)


class Plain:
    """The operators as torch has them."""

    def embed(self, weights: Weights, at: Place) -> Tensor:
        """(tokens, hidden) of the ids."""
        return weights.embedding[at.ids]

    def norm(
        self, residual: Tensor, x: Tensor | None, weight: Tensor, eight: bool
    ) -> tuple[Rows, Tensor]:
        """(RMSNorm(residual + x) · weight, residual + x)."""
        import torch

        summed = residual if x is None else residual + x
        normed = torch.nn.functional.rms_norm(summed, weight.shape, weight, EPS)
        return self.narrowed(normed, eight), summed

    def narrowed(self, x: Tensor, eight: bool) -> Rows:
        """Rows as they are, or as 8-bit floats."""
        return quantised(x) if eight else Rows(x)

    def product(self, x: Rows, linear: Linear) -> Tensor:
        """X · Wᵀ, (tokens, n)."""
        return scaled_product(x, linear) if linear.eight else x.values @ linear.weight.T

    def rope(
        self, qkv: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """Queries (sequences, heads, tokens, dim) turned; keys turned and values, in the cache."""
        import torch

        heads, kv, dim = model.heads, model.kv_heads, model.head_dim
        each = qkv.view(at.sequences, at.tokens, heads + 2 * kv, dim).transpose(1, 2)
        turns = at.turns[at.positions.long()].view(at.sequences, 1, at.tokens, 2, dim // 2)
        cosine, sine = turns.unbind(-2)
        left, right = each[:, : heads + kv].chunk(2, -1)
        turned = torch.cat([left * cosine - right * sine, right * cosine + left * sine], -1)
        queries, new = turned[:, :heads].to(qkv.dtype), turned[:, heads:]
        span = slice(at.context - at.tokens, at.context)
        keys[:, :, span].copy_(new)
        values[:, :, span].copy_(each[:, heads + kv :])
        return queries.contiguous()

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """(tokens, heads · dim): each query over the keys before it, and its own."""
        import torch

        first = 0
        masked: dict[str, Any] = {}
        if at.tokens == 1:
            first = max(0, at.context - model.sliding_window) if model.sliding_window else 0
        elif at.tokens < at.context or 0 < model.sliding_window < at.context:
            masked["attn_mask"] = _mask(at, model)
        else:
            masked["is_causal"] = True
        found = torch.nn.functional.scaled_dot_product_attention(
            queries,
            keys[:, :, first : at.context].to(queries.dtype),
            values[:, :, first : at.context].to(queries.dtype),
            enable_gqa=model.heads != model.kv_heads,
            **masked,
        )
        return found.transpose(1, 2).reshape(at.sequences * at.tokens, -1)

    def swiglu(self, gate_up: Tensor, eight: bool) -> Rows:
        """silu(gate) · up, of rows that hold gate and then up."""
        import torch

        gate, up = gate_up.chunk(2, -1)
        return self.narrowed(torch.nn.functional.silu(gate) * up, eight)

    def experts(self, x: Tensor, layer: Layer, model: LanguageModel) -> Tensor:
        """Each token's k best experts by the router, weighted by the softmax over those.

        Shapes do not depend on who is chosen, so that a step can be captured: copies of tokens are
        sorted by expert, and a grouped product takes each expert's rows.
        """
        import torch

        k, experts = model.experts_per_token, model.experts
        scores, chosen = (x @ layer.router.T).float().topk(k, -1)
        shares = torch.softmax(scores, -1).to(x.dtype)
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        counts = (flat[:, None] == torch.arange(experts, device=x.device)).sum(0)
        ends = counts.cumsum(0).to(torch.int32)
        rows = self.narrowed(x[order // k], layer.gate_up.eight)
        inner = self.swiglu(self.grouped(rows, layer.gate_up, ends), layer.down.eight)
        found = self.grouped(inner, layer.down, ends)
        back = torch.empty_like(found).index_copy_(0, order, found)
        return (back.view(len(x), k, -1) * shares[..., None]).sum(1)

    def grouped(self, x: Rows, linear: Linear, ends: Tensor) -> Tensor:
        """X · Wᵀ for each expert on its rows, which end at `ends`."""
        import torch

        weight = linear.weight.transpose(1, 2)
        if not linear.eight:
            return torch._grouped_mm(x.values, weight, offs=ends)
        if ends.device.type == "cpu":  # where torch has no such product of 8-bit floats
            return one_by_one(self, x, linear, ends)
        return torch._scaled_grouped_mm(
            x.values,
            weight,
            x.scales[:, 0],
            linear.scales[:, :, 0],
            offs=ends,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )


def one_by_one(ops: Plain, x: Rows, linear: Linear, ends: Tensor) -> Tensor:
    """A grouped product, expert by expert, which waits for the device to tell who is chosen."""
    import torch

    found = []
    for expert, (first, end) in enumerate(pairwise([0, *ends.tolist()])):
        scales = linear.scales[expert] if linear.eight else None
        some = Rows(x.values[first:end], x.scales[first:end] if linear.eight else None)
        found.append(ops.product(some, Linear(linear.weight[expert], scales)))
    return torch.cat(found)


def _mask(at: Place, model: LanguageModel) -> Tensor:
    """(tokens, context): whether a query sees a key."""
    import torch

    key = torch.arange(at.context, device=at.ids.device)
    query = key[at.context - at.tokens :, None]
    seen = key <= query
    return seen & (key > query - model.sliding_window) if model.sliding_window else seen
