"""A language model of the Llama family with random weights, in plain torch.

    x += attention(norm(x)); x += feed_forward(norm(x))      each layer, in 16 bits
    attention     queries share cached heads; RoPE; a static cache
    feed_forward  down(silu(gate) · up), or the weighted sum of a token's k best experts (Mixtral)

The architecture comes from the catalogue. Weights are normal with variance 1 / inputs, so that every
product keeps its size and nothing overflows however many layers there are. In FP8 all products but
router and head take 8-bit floats: weights with a scale for each row of them, activations with one
for each token, as `torch._scaled_mm` multiplies them.

`Plain` holds the operators as torch has them, and can be exchanged; `forward` is the only place that
knows in which order they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gpubench.errors import CannotMeasure
from gpubench.measuring import import_torch
from gpubench.model import LanguageModel

Tensor = Any  # torch is imported when it is needed

EPS = 1e-5
THETA = 10_000.0  # of RoPE: turns cost the same whatever it is
LARGEST_FP8 = 448.0
_LEAST_SCALE = 1e-12
_ROUTED = "a router chooses for each token"

DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp8": "bfloat16", "fp32": "float32"}
"""What activations are kept in, by the precision of weights: fast FP8 products give bfloat16."""
CACHES = {"fp16": "float16", "bf16": "bfloat16", "fp8": "float8_e4m3fn", "fp32": "float32"}


@dataclass(frozen=True)
class Rows:
    """Activations, (tokens, n); in 8-bit floats with the scale of each token, (tokens, 1)."""

    values: Tensor
    scales: Tensor = None


@dataclass(frozen=True)
class Linear:
    """Weights as they lie in memory, (n, k), or (experts, n, k); in FP8 with scales (…, n, 1)."""

    weight: Tensor
    scales: Tensor = None

    @property
    def eight(self) -> bool:
        """Whether they are 8-bit floats."""
        return self.scales is not None


@dataclass(frozen=True)
class Layer:
    """The weights of one layer. `router` (experts, hidden) is there where there are experts."""

    attention_norm: Tensor
    qkv: Linear
    output: Linear
    feed_forward_norm: Tensor
    gate_up: Linear
    down: Linear
    router: Tensor = None


@dataclass(frozen=True)
class Weights:
    """A whole model, or its first layers, with embedding, last norm and head."""

    model: LanguageModel
    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Tensor

    def tensors(self) -> Iterator[Tensor]:
        """Everything in memory, scales included."""
        for layer in self.layers:
            yield from (layer.attention_norm, layer.feed_forward_norm)
            for linear in (layer.qkv, layer.output, layer.gate_up, layer.down):
                yield linear.weight
                if linear.eight:
                    yield linear.scales
            if layer.router is not None:
                yield layer.router
        yield from (self.embedding, self.norm, self.head)


@dataclass(frozen=True)
class Cache:
    """Keys and values of every layer, (sequences, kv_heads, capacity, head_dim)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Where new tokens stand: `tokens` for each sequence, after which it holds `context` of them.

    On the device: `ids` and `positions` (sequences · tokens,), `lengths` (sequences,), `turns`
    (longest, 2, head_dim / 2), the cosines and sines of every position.
    """

    sequences: int
    tokens: int
    context: int
    ids: Tensor
    positions: Tensor
    lengths: Tensor
    turns: Tensor


# --------------------------------------------------------------------------- making them


def check(model: LanguageModel) -> None:
    """Raises CannotMeasure for an architecture of another family."""
    if not model.architecture_known or model.latent_dim or not model.gated_ffn:
        raise CannotMeasure(f"{model.name} is no model of the Llama family")
    alike = not model.dense_layers and model.sliding_layers in (0, model.layers)
    if not alike or model.shared_experts or model.tied_embeddings:
        raise CannotMeasure(f"{model.name} has layers of several kinds, or shares weights")


def make(model: LanguageModel, precision: str, where: str, seed: int) -> Weights:
    """Random weights of all layers on a device, the same for the same seed.

    Raises:
        CannotMeasure: the architecture is of another family.
    """
    check(model)
    torch = import_torch()
    dtype = getattr(torch, DTYPES[precision])
    drawing = torch.device(where).type != "meta"  # which holds shapes alone
    generator = torch.Generator(where).manual_seed(seed) if drawing else None

    def drawn(*shape: int, spread: float) -> Tensor:
        made = torch.empty(*shape, dtype=dtype, device=where)
        return made.normal_(0.0, spread, generator=generator) if drawing else made

    def linear(*shape: int) -> Linear:
        weight = drawn(*shape, spread=shape[-1] ** -0.5)
        return quantised_weight(weight) if precision == "fp8" else Linear(weight)

    def norm() -> Tensor:
        return torch.ones(model.hidden, dtype=dtype, device=where)

    hidden, attended = model.hidden, model.heads * model.head_dim
    cached = model.kv_heads * model.head_dim
    experts = (model.experts,) if model.experts else ()
    width = model.expert_hidden or model.ffn_hidden
    layers = tuple(
        Layer(
            attention_norm=norm(),
            qkv=linear(attended + 2 * cached, hidden),
            output=linear(hidden, attended),
            feed_forward_norm=norm(),
            gate_up=linear(*experts, 2 * width, hidden),
            down=linear(*experts, hidden, width),
            router=drawn(model.experts, hidden, spread=hidden**-0.5) if experts else None,
        )
        for _ in range(model.layers)
    )
    embedding = drawn(model.vocabulary, hidden, spread=1.0)
    return Weights(
        model, embedding, layers, norm(), drawn(model.vocabulary, hidden, spread=hidden**-0.5)
    )


def quantised_weight(weight: Tensor) -> Linear:
    """Weights (…, n, k) as 8-bit floats with a scale for each row, one matrix after the other."""
    torch = import_torch()
    eight = torch.empty(weight.shape, dtype=torch.float8_e4m3fn, device=weight.device)
    scales = torch.empty(*weight.shape[:-1], 1, dtype=torch.float32, device=weight.device)
    if weight.device.type == "meta":
        return Linear(eight, scales)
    for into, by, matrix in zip(
        eight.view(-1, *eight.shape[-2:]),
        scales.view(-1, *scales.shape[-2:]),
        weight.view(-1, *weight.shape[-2:]),
        strict=True,
    ):
        found = quantised(matrix)
        into.copy_(found.values)
        by.copy_(found.scales)
    return Linear(eight, scales)


def quantised(x: Tensor) -> Rows:
    """Rows as 8-bit floats, each over its largest value."""
    torch = import_torch()
    wide = x.float()
    scales = (wide.abs().amax(-1, keepdim=True) / LARGEST_FP8).clamp(min=_LEAST_SCALE)
    return Rows((wide / scales).to(torch.float8_e4m3fn), scales)


def cache(model: LanguageModel, kv: str, sequences: int, capacity: int, where: str) -> Cache:
    """An empty cache; `filled` gives it contents."""
    torch = import_torch()
    shape = (sequences, model.kv_heads, capacity, model.head_dim)
    dtype = getattr(torch, CACHES[kv])

    def each() -> tuple[Tensor, ...]:
        return tuple(torch.empty(shape, dtype=dtype, device=where) for _ in range(model.layers))

    return Cache(each(), each())


def filled(held: Cache, seed: int) -> Cache:
    """The cache with random normal keys and values, as many tokens before would have left them."""
    torch = import_torch()
    generator = torch.Generator(held.keys[0].device).manual_seed(seed)
    for tensor in (*held.keys, *held.values):
        for sequence in tensor:  # 8-bit types draw nothing themselves
            wide = torch.float32 if sequence.element_size() == 1 else sequence.dtype
            drawn = torch.empty(sequence.shape, dtype=wide, device=sequence.device)
            sequence.copy_(drawn.normal_(generator=generator))
    return held


def place(
    model: LanguageModel, sequences: int, tokens: int, context: int, where: str, seed: int
) -> Place:
    """Random tokens as the last `tokens` of `context`."""
    torch = import_torch()
    generator = torch.Generator(where).manual_seed(seed)
    ids = torch.randint(model.vocabulary, (sequences * tokens,), device=where, generator=generator)
    last = torch.arange(context - tokens, context, dtype=torch.int32, device=where)
    lengths = torch.full((sequences,), context, dtype=torch.int32, device=where)
    powers = torch.arange(0, model.head_dim, 2, dtype=torch.float64) / model.head_dim
    angles = torch.outer(torch.arange(context, dtype=torch.float64), THETA**-powers)
    turns = torch.stack([angles.cos(), angles.sin()], 1).float().contiguous().to(where)
    return Place(sequences, tokens, context, ids, last.repeat(sequences), lengths, turns)


# --------------------------------------------------------------------------- running them


def forward(ops: Plain, weights: Weights, held: Cache, at: Place) -> Tensor:
    """Logits (sequences, vocabulary) of what follows each sequence; the cache takes the new tokens.

    A step of decoding is one token a sequence; a prefill is a whole prompt.
    """
    torch = import_torch()
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
    """(residual, what is still to be added to it) after one layer; x is what the one before left."""
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
        torch = import_torch()
        summed = residual if x is None else residual + x
        normed = torch.nn.functional.rms_norm(summed, weight.shape, weight, EPS)
        return self.narrowed(normed, eight), summed

    def narrowed(self, x: Tensor, eight: bool) -> Rows:
        """Rows as they are, or as 8-bit floats."""
        return quantised(x) if eight else Rows(x)

    def product(self, x: Rows, linear: Linear) -> Tensor:
        """X · Wᵀ, (tokens, n)."""
        torch = import_torch()
        if not linear.eight:
            return x.values @ linear.weight.T
        return torch._scaled_mm(
            x.values,
            linear.weight.T,
            x.scales,
            linear.scales.T,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )

    def rope(
        self, qkv: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """Queries (sequences, heads, tokens, dim) turned; keys turned and values, in the cache."""
        torch = import_torch()
        heads, kv, dim = model.heads, model.kv_heads, model.head_dim
        each = qkv.view(at.sequences, at.tokens, heads + 2 * kv, dim).transpose(1, 2)
        turns = at.turns[at.positions.long()].view(at.sequences, 1, at.tokens, 2, dim // 2)
        cosine, sine = turns.unbind(-2)
        left, right = each[:, : heads + kv].chunk(2, -1)
        turned = torch.cat([left * cosine - right * sine, right * cosine + left * sine], -1)
        queries, new = turned.to(qkv.dtype).split([heads, kv], 1)
        span = slice(at.context - at.tokens, at.context)
        keys[:, :, span].copy_(new)
        values[:, :, span].copy_(each[:, heads + kv :])
        return queries.contiguous()

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """(tokens, heads · dim): each query over the keys before it, and its own."""
        torch = import_torch()
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
        torch = import_torch()
        gate, up = gate_up.chunk(2, -1)
        return self.narrowed(torch.nn.functional.silu(gate) * up, eight)

    def experts(self, x: Tensor, layer: Layer, model: LanguageModel) -> Tensor:
        """Each token's k best experts by the router, weighted by the softmax over those.

        Shapes do not depend on who is chosen, so that a step can be captured: copies of tokens are
        sorted by expert, and a grouped product takes each expert's rows.
        """
        torch = import_torch()
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
        torch = import_torch()
        weight = linear.weight.transpose(1, 2)
        if not linear.eight:
            return torch._grouped_mm(x.values, weight, offs=ends)
        return torch._scaled_grouped_mm(
            x.values,
            weight,
            x.scales[:, 0],
            linear.scales[:, :, 0],
            offs=ends,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )


def _mask(at: Place, model: LanguageModel) -> Tensor:
    """(tokens, context): whether a query sees a key."""
    torch = import_torch()
    key = torch.arange(at.context, device=at.ids.device)
    query = key[at.context - at.tokens :, None]
    seen = key <= query
    return seen & (key > query - model.sliding_window) if model.sliding_window else seen


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

    def grouped(self, x: Rows, linear: Linear, ends: Tensor) -> Tensor:
        """X · Wᵀ for each expert on its rows, which end at `ends`."""
        torch = import_torch()
        bounds = [0, *ends.tolist()]
        found = []
        for expert, (first, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            scales = linear.scales[expert] if linear.eight else None
            some = Rows(x.values[first:end], x.scales[first:end] if linear.eight else None)
            found.append(self.product(some, Linear(linear.weight[expert], scales)))
        return torch.cat(found)

    def experts(self, x: Tensor, layer: Layer, model: LanguageModel) -> Tensor:
        """As `Plain.experts`, with the router in float64."""
        from dataclasses import replace

        return super().experts(x, replace(layer, router=layer.router.double()), model)


_STRIP = 1024


def _widened(x: Rows) -> Tensor:
    return x.values.double() * (1.0 if x.scales is None else x.scales.double())


Forward = Callable[[], Tensor]
