"""What one pass of a language model must do at the least: a prefill, or a step of decoding.

The counts behind `llm.Machine`, as Work: a benchmark that times such a pass states the work that
the model divides by its rates, so that the two cannot count differently: a test compares them.
Weights count once a pass, those of experts as far as tokens are expected to touch them, and a step
of decoding reads the cache once. What stays on chip between operators counts as nothing.
"""

from __future__ import annotations

from dataclasses import replace

from gpubench.model import LanguageModel, Work
from gpubench.roofline import capacity
from gpubench.roofline.operators import smaller, stream

_HEAD_BYTES = 2.0
# Embedding and head stay in 16 bits where weights are narrower, as in `capacity.weight_bytes`.


UPDATE_BYTES = 30.0
"""A parameter and step: Adam reads gradient, master weight and both moments, writes the last three
and the BF16 weight (2+4+4+4 + 4+4+4+2), and clears the gradient (2)."""


def prefill(model: LanguageModel, precision: str, sequences: float, tokens: float) -> Work:
    """All of `sequences` prompts of `tokens` tokens in one pass; the head on the last of each."""
    window = smaller(tokens, model.sliding_window)
    sliding = model.sliding_layers if model.sliding_window else 0
    # Causal: a query sees half of the keys on average, or its window.
    pairs = (model.layers - sliding) * tokens * tokens / 2
    pairs += sliding * (window * window / 2 + (tokens - window) * window)
    scored = Work(flops=4 * sequences * pairs * model.heads * model.head_dim)
    return _products(model, precision, sequences * tokens, sequences) + scored


def decode(
    model: LanguageModel, precision: str, kv_precision: str, sequences: float, context: float
) -> Work:
    """One token more for each of `sequences` sequences that hold `context` tokens."""
    products = _products(model, precision, sequences, sequences)
    return products + attention(model, kv_precision, sequences, context)


def attention(model: LanguageModel, kv_precision: str, sequences: float, context: float) -> Work:
    """What decoding reads of the cache, and does with it, in all layers."""
    held = capacity.held_tokens(model, context)
    cached = capacity.cache_bytes(model, context, kv_precision)
    query_values = capacity.shape(model).query_values
    return stream(sequences * cached, flops=4 * sequences * held * query_values)


def _products(model: LanguageModel, precision: str, tokens: float, sampled: float) -> Work:
    """Body and touched experts on `tokens` tokens, the head on `sampled` of them."""
    held, size = capacity.shape(model), capacity.storage_bytes(precision)
    body = stream(held.body * size, flops=2 * tokens * held.body)
    head = stream(held.head * max(_HEAD_BYTES, size), flops=2 * sampled * held.head)
    experts = Work()
    if model.experts:
        each = model.experts_per_token / model.experts
        touched = model.experts * (1 - (1 - each) ** tokens)
        flops = 2 * tokens * model.experts_per_token * held.expert
        experts = stream(touched * held.expert * size, flops=flops)
    return body + head + experts


def part_of(model: LanguageModel, layers: int) -> LanguageModel:
    """The model with fewer layers, all alike: embedding, head and last norm stay.

    Raises:
        ValueError: more layers than there are, or layers that differ.
    """
    if not 0 < layers <= model.layers:
        raise ValueError(f"{model.name} has {model.layers} layers, not {layers}")
    if layers == model.layers:
        return model
    if model.dense_layers or model.sliding_layers not in (0, model.layers):
        raise ValueError(f"the layers of {model.name} differ: no part stands for the whole")
    held = capacity.shape(model)
    layered = (held.body - model.hidden) + held.expert * model.experts
    share = layers / model.layers
    touched = (held.body - model.hidden) + held.expert * model.experts_per_token
    return replace(
        model,
        layers=layers,
        parameters=model.parameters - round((1 - share) * layered),
        active_parameters=model.active_parameters - round((1 - share) * touched),
        sliding_layers=layers if model.sliding_layers else 0,
    )


def training(model: LanguageModel, tokens: float, sequence: float, head: bool = False) -> Work:
    """Forward, backward and update of a model's layers on `tokens` tokens of such sequences.

    Backward does twice what forward does; what is computed again does not count. Bytes are those of
    the update alone. With `head` the output projection is there too, as in a whole model.
    """
    held = capacity.shape(model)
    used = held.body - model.hidden + model.experts_per_token * held.expert
    kept = held.body - model.hidden + model.experts * held.expert
    outer = held.head if head else 0.0
    attention = 6 * model.layers * sequence * model.heads * model.head_dim
    return Work(tokens * (6 * (used + outer) + attention), UPDATE_BYTES * (kept + outer))
