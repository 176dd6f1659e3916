"""A language model of the Llama family with random weights: its architecture as tensors.

The architecture comes from the catalogue. Weights are normal with variance 1 / inputs, so that
every product keeps its size and nothing overflows however many layers there are. In FP8 all
products but router and head take 8-bit floats: weights with a scale for each row of them,
activations with one for each token, as `torch._scaled_mm` multiplies them.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        if precision != "fp8":
            return Linear(drawn(*shape, spread=shape[-1] ** -0.5))
        found = quantised_weight(drawn(*shape, spread=shape[-1] ** -0.5))
        # Else the next ones settle in what these temporaries left, and gigabytes stay broken up.
        if where.startswith("cuda"):
            torch.cuda.empty_cache()
        return found

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
    """Weights (…, n, k) as 8-bit floats with a scale for each row, a strip after the other."""
    torch = import_torch()
    eight = torch.empty(weight.shape, dtype=torch.float8_e4m3fn, device=weight.device)
    scales = torch.empty(*weight.shape[:-1], 1, dtype=torch.float32, device=weight.device)
    if weight.device.type == "meta":
        return Linear(eight, scales)
    k, rows = weight.shape[-1], max(1, _DRAWN // weight.shape[-1])
    strips = (
        tensor.view(-1, n).split(rows) for tensor, n in ((eight, k), (scales, 1), (weight, k))
    )
    for into, by, strip in zip(*strips, strict=True):  # in 32 bits a whole matrix takes gigabytes
        found = quantised(strip)
        into.copy_(found.values)
        by.copy_(found.scales)
    return Linear(eight, scales)


# Values in 32 bits at once: a quarter of a gigabyte.
_DRAWN = 2**26


def quantised(x: Tensor) -> Rows:
    """Rows as 8-bit floats, each over its largest value."""
    import torch

    wide = x.float()
    scales = (wide.abs().amax(-1, keepdim=True) / LARGEST_FP8).clamp(min=_LEAST_SCALE)
    return Rows((wide / scales).to(torch.float8_e4m3fn), scales)


def scaled_product(x: Rows, linear: Linear) -> Tensor:
    """X · Wᵀ of 8-bit floats with a scale a row, (tokens, n) in BF16."""
    torch = import_torch()
    return torch._scaled_mm(
        x.values,
        linear.weight.T,
        x.scales,
        linear.scales.T,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


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
        if tensor.element_size() > 1:
            tensor.normal_(generator=generator)
            continue
        for some in tensor.split(max(1, _DRAWN // tensor[0].numel())):  # 8 bits draw nothing
            drawn = torch.empty(some.shape, dtype=torch.float32, device=some.device)
            some.copy_(drawn.normal_(generator=generator))
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
