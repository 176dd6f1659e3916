"""A language model of one's own, from the `config.json` that its weights are published with.

Keys are those of Hugging Face's transformers. Only families whose layers are known are read: a name
that is not in `FAMILIES` may hide another kind of attention or feed-forward, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpubench.catalogue import derived
from gpubench.errors import CatalogueError, near_matches
from gpubench.model import LanguageModel

FAMILIES = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma"),
    *("gemma2", "gemma3_text", "phi3", "granite", "olmo2", "glm4", "glm4_moe", "gpt_oss"),
    *("deepseek_v2", "deepseek_v3", "kimi_k2"),
)
"""`model_type` of decoders with a gated feed-forward and full, sliding or latent attention."""

_TIED = ("gemma", "gemma2", "gemma3_text")
# Embedding and head share their weights unless the file says otherwise.

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma": {"head_dim": 256},
    "gemma2": {
        "head_dim": 256,
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "sliding_window": 4096,
    },
    "gemma3_text": {
        "head_dim": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "qwen2": {"use_sliding_window": False},
    "qwen2_moe": {"use_sliding_window": False},
    "qwen3": {"head_dim": 128, "use_sliding_window": False},
    "qwen3_moe": {"use_sliding_window": False},
}
"""What the classes of transformers 5 assume where a published file leaves it out."""

_ALTERNATING = {"gemma2": 2, "gemma3_text": 6, "gpt_oss": 2}
# One layer of so many sees everything, where the file does not list the layers.

_OF_THE_WHOLE = ("quantization_config", "torch_dtype", "dtype")

_DTYPES = {"bfloat16": "bf16", "float16": "fp16"}
# FP32 is missing: engines serve such weights in 16 bits unless they are told otherwise.

_EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts")
_MOST_BYTES = 10 * 2**20
_MOST = 10**8


def is_config(name: str) -> bool:
    """Whether a name that was typed is a path: of a JSON file, or of a folder.

    A folder by a name without a slash is one only with a configuration in it, since it may be
    called like a listed model by chance.
    """
    try:
        folder = "/" in name and Path(name).is_dir()
        return folder or name.endswith(".json") or (Path(name) / "config.json").is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read(path: Path) -> LanguageModel:
    """The architecture that a configuration describes; its id is the path.

    Parameters are counted from the matrices, norms and biases left out.

    Raises:
        CatalogueError: the file cannot be read, lacks a key, or is of a family not in FAMILIES.
    """
    file = path / "config.json" if path.is_dir() else path
    config = _document(file)
    try:
        model = _model(file, config)
        total = derived.parameters_from_architecture(model)
    except KeyError as error:
        raise CatalogueError(f"{file} has no key {error}: is it a model's config.json?") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CatalogueError(f"{file} holds a value that no architecture has: {error}") from None
    layers = model.layers - model.dense_layers if model.experts else 0
    idle = layers * (model.experts - model.experts_per_token) * 3 * model.hidden
    return replace(model, parameters=total, active_parameters=total - idle * model.expert_hidden)


def _document(file: Path) -> Mapping[str, Any]:
    try:
        if file.exists() and not file.is_file():
            raise CatalogueError(f"{file} is no regular file")
        if file.stat().st_size > _MOST_BYTES:
            raise CatalogueError(f"{file} is far too large to be a model's config.json")
        config = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise CatalogueError(f"cannot read {file}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise CatalogueError(f"{file} is no JSON document") from None
    if isinstance(config, dict) and isinstance(config.get("text_config"), dict):
        # The decoder of a model that also sees; how weights are stored is told of the whole.
        shared = {name: config[name] for name in _OF_THE_WHOLE if name in config}
        config = {**shared, **config["text_config"]}
    if not isinstance(config, dict):
        raise CatalogueError(f"{file} holds no JSON object: is it a model's config.json?")
    family = str(config.get("model_type", ""))
    if family not in FAMILIES:
        near = near_matches(family, FAMILIES)
        offer = f"; near is {' or '.join(near)}" if near else ""
        raise CatalogueError(
            f"{file}: the layers of model_type '{family}' are not known{offer}; known are "
            f"{', '.join(FAMILIES)}"
        )
    stated = {name: value for name, value in config.items() if value is not None}
    return {**_DEFAULTS.get(family, {}), **stated}


def _model(file: Path, config: Mapping[str, Any]) -> LanguageModel:
    family, layers = str(config["model_type"]), _count(config, "num_hidden_layers")
    hidden, heads = _count(config, "hidden_size"), _count(config, "num_attention_heads")
    experts = next((_count(config, name) for name in _EXPERTS if config.get(name)), 0)
    window, sliding = _sliding(config, family, layers)
    folder = file.parent.name if file.name == "config.json" else ""
    quantised = config.get("quantization_config") or {}
    kind = config.get("dtype", config.get("torch_dtype"))  # as transformers 5 and those before say
    stored = _stored(quantised) if quantised else _DTYPES.get(str(kind), "")
    model = LanguageModel(
        id=str(file),
        # Not a name that a listed model may have.
        name=f"{folder if folder else file.name.removesuffix('.json')} (own)",
        parameters=0.0,
        active_parameters=0.0,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_count(config, "num_key_value_heads", heads),
        head_dim=_count(config, "head_dim", hidden // heads),
        ffn_hidden=_count(config, "intermediate_size"),
        vocabulary=_count(config, "vocab_size"),
        source=str(file),
        sliding_window=window,
        sliding_layers=sliding,
        context=_count(config, "max_position_embeddings", 0),
        tied_embeddings=_yes(config, "tie_word_embeddings", family in _TIED),
        stored=stored,
        remark="its way of quantising is not known" if quantised and not stored else "",
    )
    if not model.head_dim:
        raise ValueError(f"{heads} heads do not share {hidden} hidden units")
    if heads % model.kv_heads:
        raise ValueError(f"{heads} heads do not share {model.kv_heads} of keys and values")
    if config.get("kv_lora_rank"):
        model = _latent(model, config)
    return _mixed(model, config, experts) if experts else model


def _stored(quantised: Any) -> str:
    """The precision that a `quantization_config` stands for; "" where it cannot be told."""
    if not isinstance(quantised, dict):
        return ""
    method = str(quantised.get("quant_method", "")).lower()
    if method in _METHODS:
        return _METHODS[method]
    if method in ("gptq", "awq"):
        return _of_bits("int", quantised.get("bits", quantised.get("w_bit")))
    if method == "bitsandbytes":
        loaded = (name for name in _LOADED if quantised.get(name) is True)
        return _LOADED[next(loaded, "")]
    if method == "modelopt":
        return _ALGORITHMS.get(str(quantised.get("quant_algo", "")), "")
    if method == "compressed-tensors" and isinstance(quantised.get("config_groups"), dict):
        found = {_of_group(group) for group in quantised["config_groups"].values()}
        return found.pop() if len(found) == 1 else ""
    return ""


def _of_group(group: Any) -> str:
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        return ""
    return _of_bits(weights.get("type"), weights.get("num_bits"))


def _of_bits(kind: Any, bits: Any) -> str:
    found = f"{_KINDS.get(str(kind), '')}{bits}"
    return found if found in _STORED else ""


_LOADED = {"load_in_4bit": "int4", "load_in_8bit": "int8", "": ""}
_METHODS = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "fp4"}
_ALGORITHMS = {"FP8": "fp8", "NVFP4": "fp4"}
_KINDS = {"float": "fp", "int": "int"}
_STORED = ("fp8", "fp4", "int8", "int4")


def _count(config: Mapping[str, Any], key: str, otherwise: int | None = None) -> int:
    """A whole number, above zero unless `otherwise` says so. Raises KeyError or ValueError."""
    value = config.get(key)
    if value is None:
        if otherwise is None:
            raise KeyError(key)
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _MOST:
        raise ValueError(f"{key} is {value!r}, not a number from 1 to {_MOST - 1}")
    return value


def _share(config: Mapping[str, Any], key: str, most: int) -> int:
    """A whole number up to `most`; 0 where it is not stated. Raises ValueError."""
    value = config.get(key) or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{key} is {value!r}, not a number from 0 to {most}")
    return value


def _yes(config: Mapping[str, Any], key: str, otherwise: bool) -> bool:
    value = config.get(key, otherwise)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}, neither true nor false")
    return value


def _sliding(config: Mapping[str, Any], family: str, layers: int) -> tuple[int, int]:
    """(window, layers that keep only so many tokens)."""
    if not config.get("sliding_window") or config.get("use_sliding_window") is False:
        return 0, 0
    window, listed = _count(config, "sliding_window"), config.get("layer_types")
    if isinstance(listed, list):
        if len(listed) != layers:
            raise ValueError(f"layer_types lists {len(listed)} layers of {layers}")
        found = sum(kind == "sliding_attention" for kind in listed)
        return (window, found) if found else (0, 0)
    if family in _ALTERNATING:
        every = _count(config, "sliding_window_pattern", _ALTERNATING[family])
        return window, layers - layers // every
    return window, layers - _share(config, "max_window_layers", layers)


def _latent(model: LanguageModel, config: Mapping[str, Any]) -> LanguageModel:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1)."""
    latent, rope = _count(config, "kv_lora_rank"), _count(config, "qk_rope_head_dim")
    plain, values = _count(config, "qk_nope_head_dim"), _count(config, "v_head_dim")
    queries, rank = model.heads * (plain + rope), _share(config, "q_lora_rank", _MOST)
    weights = rank * (model.hidden + queries) if rank else model.hidden * queries
    weights += model.hidden * (latent + rope) + latent * model.heads * (plain + values)
    weights += model.heads * values * model.hidden
    return replace(
        model,
        kv_heads=1,
        head_dim=plain + rope,
        latent_dim=latent + rope,
        attention_parameters=float(weights),
    )


def _mixed(model: LanguageModel, config: Mapping[str, Any], experts: int) -> LanguageModel:
    """A mixture of experts; layers without them have the dense feed-forward."""
    if any((config.get(name) or 1) != 1 for name in ("decoder_sparse_step", "moe_layer_freq")):
        raise ValueError("mixtures in every second layer are not known here")
    width = _count(config, "moe_intermediate_size", model.ffn_hidden)
    shared = _share(config, "n_shared_experts", experts)
    if config.get("shared_expert_intermediate_size"):
        shared, left = divmod(_count(config, "shared_expert_intermediate_size"), width)
        if left:
            raise ValueError(f"the shared expert is no whole number of experts of {width}")
    alone = config.get("mlp_only_layers") or []
    if not isinstance(alone, list) or len(alone) > model.layers:
        raise ValueError(f"mlp_only_layers is no list of some of {model.layers} layers")
    dense = _share(config, "first_k_dense_replace", model.layers) or len(alone)
    chosen = "experts_per_token" if "experts_per_token" in config else "num_experts_per_tok"
    used = _count(config, chosen)
    if used > experts:
        raise ValueError(f"{chosen} is {used}, of {experts} experts")
    return replace(
        model,
        experts=experts,
        experts_per_token=used,
        shared_experts=shared,
        expert_hidden=width,
        dense_layers=dense,
    )
