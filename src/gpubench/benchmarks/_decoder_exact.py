"""A decoder in float64, which all others are held against."""

from __future__ import annotations

from dataclasses import replace

from gpubench.benchmarks._decoder import Layer, Linear, Place, Rows, Tensor, Weights
from gpubench.benchmarks._decoder_ops import Plain, one_by_one
from gpubench.measuring import import_torch
from gpubench.model import LanguageModel


class Exact(Plain):
    """The same in float64, weights widened a strip of rows at a time: what others are held against.

    Activations of FP8 products are rounded to 8 bits as elsewhere, and multiplied exactly.
    """

    def embed(self, weights: Weights, at: Place) -> Tensor:
        """(tokens, hidden) of the ids."""
        return weights.embedding[at.ids].double()

    def norm(
        self, residual: Tensor, x: Tensor | None, weight: Tensor, eight: bool
    ) -> tuple[Rows, Tensor]:
        """(RMSNorm(residual + x) · weight, residual + x)."""
        return super().norm(residual, x, weight.double(), eight)

    def product(self, x: Rows, linear: Linear) -> Tensor:
        """X · Wᵀ, (tokens, n)."""
        torch = import_torch()
        values = _widened(x)
        scales = linear.scales.split(_STRIP) if linear.eight else None
        strips = linear.weight.split(_STRIP)
        return torch.cat(
            [
                values @ (strip.double() * (scales[at].double() if scales else 1.0)).T
                for at, strip in enumerate(strips)
            ],
            1,
        )

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """(tokens, heads · dim); one token a head at a time, as a cache may fill the memory."""
        if at.tokens > 1:
            return super().attend(queries, keys, values, at, model)
        torch, group = import_torch(), model.heads // model.kv_heads
        first = max(0, at.context - model.sliding_window) if model.sliding_window else 0
        found = []
        for one in range(at.sequences):
            for head in range(model.kv_heads):
                asked = queries[one, head * group : (head + 1) * group, 0].double()
                k, v = (held[one, head, first : at.context].double() for held in (keys, values))
                found.append(torch.softmax(asked @ k.T / model.head_dim**0.5, -1) @ v)
        return torch.cat(found).view(at.sequences, -1)

    def grouped(self, x: Rows, linear: Linear, ends: Tensor) -> Tensor:
        """X · Wᵀ for each expert on its rows, which end at `ends`."""
        return one_by_one(self, x, linear, ends)

    def experts(self, x: Tensor, layer: Layer, model: LanguageModel) -> Tensor:
        """As `Plain.experts`, with the router in float64."""
        return super().experts(x, replace(layer, router=layer.router.double()), model)


_STRIP = 256


def _widened(x: Rows) -> Tensor:
    return x.values.double() * (1.0 if x.scales is None else x.scales.double())
