"""Memory of a use of a model: inference, retrieval, adapters or full training, by what it is for.

All sizes are bytes over all devices; "GB" is 10⁹ here, and capacities are what is marketed.
"""

from __future__ import annotations

from gpubench.model import LanguageModel
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.capacity import cache_bytes, check_published, weight_bytes

GB, GIB = 1e9, 2.0**30

TRAINING_BYTES_PER_PARAMETER = 16
"""BF16 weight and gradient, FP32 master weight and two Adam moments: 2+2+4+4+4
(Rajbhandari et al., ZeRO, arXiv:1910.02054, section 3.1)."""

ACTIVATION_BYTES = 34
"""Stored a token, layer and hidden unit without recomputation, flash attention assumed
(Korthikanti et al., arXiv:2205.05198, equation 2 without its attention term)."""

_LORA_PROJECTIONS = 7
# Adapters on query, key, value, output, gate, up and down projections.


def adapter_parameters(model: LanguageModel, rank: int) -> float:
    """LoRA weights: rank · (inputs + outputs) of every adapted projection and layer.

    Experts are not adapted; seven dense projections are (attention and feed-forward).
    """
    query, cached = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 2 * (model.hidden + query) + 2 * (model.hidden + cached)
    ffn = (_LORA_PROJECTIONS - 4) * (model.hidden + model.ffn_hidden) if not model.experts else 0
    return float(rank * (attention + ffn) * model.layers)


def activation_bytes(model: LanguageModel, tokens: float, recomputed: bool) -> float:
    """Activations kept for the backward pass of `tokens` tokens.

    With recomputation only each layer's input (2 B) survives, plus one layer in full.
    """
    layer = tokens * model.hidden
    if recomputed:
        return layer * (2 * model.layers + ACTIVATION_BYTES)
    return layer * ACTIVATION_BYTES * model.layers


def needed(
    model: LanguageModel,
    use: str,
    precision: str,
    kv_precision: str,
    sequences: int,
    context: int,
    rank: int,
    gpus: int,
    with_: Parameters,
) -> dict[str, float]:
    """Bytes of a use by what they are for, over all devices; the sum is what is needed.

    inference and rag: weights, cache, reserve. lora: frozen weights, adapters with 16 B a
    parameter, recomputed activations. training: 16 B a parameter and recomputed activations.

    Raises:
        CannotEstimate: the architecture is not published.
    """
    check_published(model)
    tokens = float(sequences * context)
    reserve = {"reserve": gpus * with_.runtime_reserve_bytes}
    if use in ("inference", "rag"):
        return {
            "weights": weight_bytes(model, precision),
            "KV cache": sequences * cache_bytes(model, context, kv_precision),
            **reserve,
        }
    activations = {"activations": activation_bytes(model, tokens, recomputed=True)}
    if use == "lora":
        adapters = adapter_parameters(model, rank) * TRAINING_BYTES_PER_PARAMETER
        return {
            "weights": weight_bytes(model, precision),
            "adapters": adapters,
            **activations,
            **reserve,
        }
    state = model.parameters * TRAINING_BYTES_PER_PARAMETER
    return {"weights and optimizer": state, **activations, **reserve}
