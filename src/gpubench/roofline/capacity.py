"""What serving holds in memory: weights, caches and the reserve, and how much that leaves.

All sizes are bytes. GB is 10⁹; device memory marketed in "GB" is reported nearly as GiB by the
driver (81,559 MiB for 80 GB, 143,771 MiB for 141 GB), which `usable_memory` accounts for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.quantities import STORAGE_BITS
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.ceilings import usable_memory
from gpubench.roofline.operators import smaller, whole

_LOGIT_BYTES = 4.0

_SCALE_BITS = {"int4": 0.25, "fp4": 0.25}
# One 8-bit scale for 32 values (OCP MX formats 1.0), or 16-bit scale and zero for 128 (GPTQ, AWQ).

_CACHE_PRECISIONS = ("fp8", "fp16", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class Shape:
    """Weights of a model by what reads them, in parameters over all layers.

    `body` is read for every token (attention, dense and shared feed-forward), `expert` is one
    routed expert over all its layers, `head` the output projection; `embedding` is looked up only.
    """

    body: float
    expert: float
    head: float
    embedding: float
    cache_values: float
    query_values: float


@lru_cache(maxsize=512)
def shape(model: LanguageModel) -> Shape:
    """Split a model's parameters; the body is what experts, head and embedding leave over.

    Raises:
        CannotEstimate: the architecture is not published.
    """
    check_published(model)
    head = float(model.vocabulary * model.hidden)
    matrices = 3 if model.gated_ffn else 2
    moe_layers = model.layers - model.dense_layers if model.experts else 0
    width = model.expert_hidden or model.ffn_hidden
    expert = float(matrices * model.hidden * width * moe_layers)
    embedding = 0.0 if model.tied_embeddings else head
    return Shape(
        body=model.parameters - expert * model.experts - head - embedding,
        expert=expert,
        head=head,
        embedding=embedding,
        cache_values=float(_values_per_token(model)),
        query_values=float(model.heads * _query_dim(model)),
    )


def check_published(model: LanguageModel) -> None:
    """Raise CannotEstimate where the architecture is not known: its sizes are zeros."""
    if not model.layers or not model.hidden:
        raise CannotEstimate(f"nobody has published the architecture of {model.name}")


def _values_per_token(model: LanguageModel) -> int:
    """Cache values of one token and layer: latent, or keys and values of every kv head."""
    return model.latent_dim or 2 * model.kv_heads * model.head_dim


def _query_dim(model: LanguageModel) -> float:
    """Dimensions a score and its weighted sum cover, halved: absorbed latents, or the head."""
    return model.latent_dim * 0.95 if model.latent_dim else float(model.head_dim)


def weight_bytes(model: LanguageModel, precision: str) -> float:
    """All weights. Below 16 bits, embedding and head stay in 16 bits, as serving engines do."""
    held = shape(model)
    size = storage_bytes(precision)
    outer = held.head + held.embedding
    return (model.parameters - outer) * size + outer * max(size, 2.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """A share of the layers, and whether embedding and head are beside them."""

    layers: float
    first: bool
    last: bool


@lru_cache(maxsize=512)
def stages(model: LanguageModel, pipeline: int) -> tuple[Stage, ...]:
    """The stages that fill up first: one for all, or the first and the last of several.

    Layers that do not divide go to others than the last, which has the head as well; that the
    first is one of them is the worst case.
    """
    if pipeline == 1:
        return (Stage(1.0, True, True),)
    most, least = -(-model.layers // pipeline), model.layers // pipeline
    return (
        Stage(most / model.layers, True, False),
        Stage(least / model.layers, False, True),
    )


def stage_bytes(model: LanguageModel, precision: str, tensor: int, stage: Stage) -> float:
    """Weights on each of a stage's devices."""
    held, size = shape(model), storage_bytes(precision)
    wide = max(size, 2.0)
    # Stages apart cannot share one table between embedding and head.
    alone = stage.first and not stage.last
    table = (held.head if alone else held.embedding) * wide if stage.first else 0.0
    split = stage.layers * (model.parameters - held.head - held.embedding) * size
    if stage.last:
        split += held.head * wide
    return split / tensor + table


def storage_bytes(precision: str) -> float:
    """Bytes one stored value takes, block scales included. Raises CannotEstimate if unknown."""
    try:
        return (STORAGE_BITS[precision] + _SCALE_BITS.get(precision, 0.0)) / 8
    except KeyError:
        raise CannotEstimate(
            f"no storage size known for '{precision}': use one of {', '.join(STORAGE_BITS)}"
        ) from None


def cache_precision(stored: str) -> str:
    """How engines store the cache of weights stored so, where nobody says: alike, or in FP16."""
    return stored if stored in _CACHE_PRECISIONS else "fp16"


def cache_bytes_per_token(model: LanguageModel, kv_precision: str) -> float:
    """KV cache of one token over all layers, windows not yet applied. Raises CannotEstimate."""
    return _values_per_token(model) * model.layers * _cached_bits(kv_precision) / 8


def cache_bytes(model: LanguageModel, context: float, kv_precision: str) -> float:
    """KV cache of one sequence of `context` tokens; sliding layers keep only their window."""
    return _values_per_token(model) * held_tokens(model, context) * _cached_bits(kv_precision) / 8


def _cached_bits(precision: str) -> float:
    try:
        return STORAGE_BITS[precision]
    except KeyError:
        raise CannotEstimate(
            f"no cache is stored in '{precision}': use one of {', '.join(STORAGE_BITS)}"
        ) from None


def held_tokens(model: LanguageModel, context: float) -> float:
    """Tokens kept for a sequence, summed over layers."""
    sliding = model.sliding_layers if model.sliding_window else 0
    return (model.layers - sliding) * context + sliding * smaller(context, model.sliding_window)


def reserve_bytes(
    model: LanguageModel, engine: Engine, tensor: int, with_: Parameters, samples: bool = True
) -> float:
    """What a serving process holds beside weights and cache on every device.

    Context and libraries; 16-bit buffers for the tokens of an iteration: hidden vectors and a
    shard's feed-forward rows; and, where a stage `samples`, what that keeps for every sequence the
    engine may schedule, 32-bit logits and their sorted copies over the whole vocabulary.
    """
    widest = max(model.ffn_hidden, model.expert_hidden * model.experts_per_token)
    buffers = with_.layer_buffers * (widest / tensor + model.hidden)
    held = with_.runtime_reserve_bytes + 2.0 * engine.tokens * buffers
    if samples:
        held += with_.logit_buffers * _LOGIT_BYTES * engine.sequences * model.vocabulary
    return held


def cache_budget(
    part: Accelerator,
    model: LanguageModel,
    precision: str,
    gpus: int,
    engine: Engine,
    with_: Parameters,
) -> float:
    """Bytes all devices together can give to the KV cache; may be negative.

    A sequence is cached in all stages, so that the one that fills up first decides for all.
    """
    tensor = gpus // engine.pipeline
    usable = engine.memory_fraction * usable_memory(part, with_)
    fraction = engine.cache_fraction or with_.cache_fraction
    fixed = _fixed_bytes(model, precision, tensor, engine, with_)
    return min(tensor * fraction * (usable - held) / layers for held, layers in fixed)


def device_bytes(
    model: LanguageModel,
    precision: str,
    gpus: int,
    engine: Engine,
    cache: float,
    with_: Parameters,
) -> float:
    """Bytes in use on the fullest device, with `cache` bytes cached on all of them together."""
    tensor = gpus // engine.pipeline
    fixed = _fixed_bytes(model, precision, tensor, engine, with_)
    return max(held + layers * cache / tensor for held, layers in fixed)


def _fixed_bytes(
    model: LanguageModel, precision: str, tensor: int, engine: Engine, with_: Parameters
) -> list[tuple[float, float]]:
    """What each of a stage's devices holds beside its cache, and the stage's share of layers."""
    return [
        (
            stage_bytes(model, precision, tensor, stage)
            + reserve_bytes(model, engine, tensor, with_, stage.last),
            stage.layers,
        )
        for stage in stages(model, engine.pipeline)
    ]


def sequences_that_fit(budget: float, model: LanguageModel, context: float, kv: str) -> int:
    """Whole sequences of `context` tokens in `budget` bytes of cache."""
    return int(whole(budget / cache_bytes(model, context, kv)))
