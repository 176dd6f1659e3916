"""The model that the inference benchmark runs, against transformers' own on the same weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from gpubench import catalogue  # noqa: E402
from gpubench.benchmarks import _decoder, _decoder_ops  # noqa: E402
from gpubench.benchmarks._decoder import Place  # noqa: E402
from gpubench.benchmarks._decoder_exact import Exact  # noqa: E402
from gpubench.benchmarks._decoder_ops import Plain  # noqa: E402
from gpubench.errors import CannotMeasure  # noqa: E402
from gpubench.model import LanguageModel  # noqa: E402
from gpubench.roofline import capacity, steps  # noqa: E402

KNOWN = catalogue.load()


def tiny(**more: Any) -> LanguageModel:
    """Two layers with the proportions of a real model."""
    given = {
        "id": "tiny",
        "name": "Tiny",
        "parameters": 1.0,
        "active_parameters": 1.0,
        "layers": 2,
        "hidden": 64,
        "heads": 8,
        "kv_heads": 2,
        "head_dim": 16,
        "ffn_hidden": 96,
        "vocabulary": 128,
        "source": "",
        **more,
    }
    return LanguageModel(**given)


def mixture(**more: Any) -> LanguageModel:
    return tiny(ffn_hidden=0, experts=4, experts_per_token=2, expert_hidden=48, **more)


def theirs(weights: _decoder.Weights) -> Any:
    """transformers' model with these weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers")
    model = weights.model
    shared = {
        "hidden_size": model.hidden,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocabulary,
        "rms_norm_eps": _decoder.EPS,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "attn_implementation": "eager",
        "rope_parameters": {"rope_type": "default", "rope_theta": _decoder.THETA},
    }
    if model.experts:
        config = transformers.MixtralConfig(
            intermediate_size=model.expert_hidden,
            num_local_experts=model.experts,
            num_experts_per_tok=model.experts_per_token,
            sliding_window=model.sliding_window or None,
            **shared,
        )
        made = transformers.MixtralForCausalLM(config)
    elif model.sliding_window:
        config = transformers.MistralConfig(
            intermediate_size=model.ffn_hidden, sliding_window=model.sliding_window, **shared
        )
        made = transformers.MistralForCausalLM(config)
    else:
        config = transformers.LlamaConfig(intermediate_size=model.ffn_hidden, **shared)
        made = transformers.LlamaForCausalLM(config)
    made.load_state_dict(named(weights), strict=True)
    return made.eval()


def named(weights: _decoder.Weights) -> dict[str, Any]:
    """Our weights under the names of transformers' state."""
    model = weights.model
    found = {
        "model.embed_tokens.weight": weights.embedding,
        "model.norm.weight": weights.norm,
        "lm_head.weight": weights.head,
    }
    wide, narrow = model.heads * model.head_dim, model.kv_heads * model.head_dim
    for place, layer in enumerate(weights.layers):
        at = f"model.layers.{place}."
        q, k, v = layer.qkv.weight.split([wide, narrow, narrow])
        found |= {
            f"{at}input_layernorm.weight": layer.attention_norm,
            f"{at}post_attention_layernorm.weight": layer.feed_forward_norm,
            f"{at}self_attn.q_proj.weight": q,
            f"{at}self_attn.k_proj.weight": k,
            f"{at}self_attn.v_proj.weight": v,
            f"{at}self_attn.o_proj.weight": layer.output.weight,
        }
        if model.experts:
            found |= {
                f"{at}mlp.gate.weight": layer.router,
                f"{at}mlp.experts.gate_up_proj": layer.gate_up.weight,
                f"{at}mlp.experts.down_proj": layer.down.weight,
            }
        else:
            gate, up = layer.gate_up.weight.chunk(2)
            found |= {
                f"{at}mlp.gate_proj.weight": gate,
                f"{at}mlp.up_proj.weight": up,
                f"{at}mlp.down_proj.weight": layer.down.weight,
            }
    return found


def prefilled(ops: Plain, weights: _decoder.Weights, at: Place, kv: str, room: int) -> Any:
    held = _decoder.cache(weights.model, kv, at.sequences, room, "cpu")
    return _decoder_ops.forward(ops, weights, held, at), held


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [tiny(), tiny(kv_heads=8), tiny(sliding_window=5, sliding_layers=2), mixture()]
)
def test_a_prompt_and_the_steps_after_it_are_those_of_transformers(model: LanguageModel) -> None:
    weights = _decoder.make(model, "fp32", "cpu", seed=3)
    other, sequences, prompt, further = theirs(weights), 3, 11, 4
    ids = torch.randint(model.vocabulary, (sequences, prompt + further))
    with torch.no_grad():
        wanted = other(ids).logits
    at = _decoder.place(model, sequences, prompt, prompt, "cpu", seed=0)
    at = replace(at, ids=ids[:, :prompt].reshape(-1))
    logits, held = prefilled(Plain(), weights, at, "fp32", prompt + further)
    torch.testing.assert_close(logits, wanted[:, prompt - 1], rtol=2e-4, atol=2e-4)
    for step in range(further):
        after = _decoder.place(model, sequences, 1, prompt + step + 1, "cpu", seed=0)
        after = replace(after, ids=ids[:, prompt + step])
        logits = _decoder_ops.forward(Plain(), weights, held, after)
        torch.testing.assert_close(logits, wanted[:, prompt + step], rtol=2e-4, atol=2e-4)


@pytest.mark.slow
def test_other_weights_or_another_order_of_heads_would_be_seen() -> None:
    weights = _decoder.make(tiny(), "fp32", "cpu", seed=3)
    other = theirs(weights)
    at = _decoder.place(tiny(), 2, 9, 9, "cpu", seed=0)
    turned = replace(at, turns=at.turns.flip(1))
    with torch.no_grad():
        wanted = other(at.ids.view(2, 9)).logits[:, -1]
    for ops_at in (turned, replace(at, ids=at.ids.roll(1))):
        logits, _ = prefilled(Plain(), weights, ops_at, "fp32", 9)
        assert float((logits - wanted).abs().max()) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("model", [tiny(), mixture()])
@pytest.mark.parametrize(
    ("precision", "kv", "allowed"),
    [("fp32", "fp32", 1e-5), ("fp16", "fp16", 6e-3), ("bf16", "bf16", 4e-2), ("fp8", "fp8", 1e-1)],
)
def test_each_precision_is_near_float64(
    model: LanguageModel, precision: str, kv: str, allowed: float
) -> None:
    weights = _decoder.make(model, precision, "cpu", seed=5)
    at = _decoder.place(model, 2, 7, 7, "cpu", seed=1)
    found, _ = prefilled(Plain(), weights, at, kv, 7)
    wanted, _ = prefilled(Exact(), weights, at, "fp32" if kv == "fp32" else kv, 7)
    assert found.isfinite().all()
    assert wanted.dtype is torch.float64
    off = float((found.double() - wanted).norm() / wanted.norm())
    assert off < allowed
    assert precision == "fp32" or off > allowed / 1000  # it is another arithmetic


def test_eight_bit_weights_are_quantised_row_by_row() -> None:
    weight = torch.randn(4, 32) * torch.tensor([[1e-3], [1.0], [50.0], [0.0]])
    found = _decoder.quantised_weight(weight)
    assert found.weight.dtype is torch.float8_e4m3fn
    back = found.weight.double() * found.scales.double()
    # Three bits of mantissa: half a step is a sixteenth of a value, and so of the row's largest.
    largest = weight.double().abs().amax(1, keepdim=True)
    assert bool(((back - weight).abs() <= 1.001 * largest / 16).all())
    for row in range(3):
        off = (back[row] - weight[row].double()).norm() / weight[row].double().norm()
        assert 1e-3 < float(off) < 0.05
    assert not back[3].any()


@given(
    st.integers(1, 6),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0, 4]),
    st.integers(1, 8),
    st.sampled_from(["fp16", "fp8"]),
)
@settings(deadline=None, max_examples=30)
def test_the_weights_in_memory_are_those_that_the_model_counts(
    layers: int, kv: int, experts: int, width: int, precision: str
) -> None:
    """Every tensor of a random architecture against `capacity`, which estimates go by."""
    shape: dict[str, Any] = {"layers": layers, "kv_heads": kv}
    drawn = mixture(**shape, hidden=16 * width) if experts else tiny(**shape, hidden=16 * width)
    weights = _decoder.make(drawn, precision, "meta", seed=0)
    main = [t for t in weights.tensors() if t.dtype is not torch.float32]
    model = replace(drawn, parameters=float(sum(t.numel() for t in main)))
    held = capacity.shape(model)
    assert held.head == weights.head.numel()
    touched = [layer.gate_up.weight.numel() + layer.down.weight.numel() for layer in weights.layers]
    if experts:
        assert held.expert * experts == sum(touched)
    counted = steps.decode(model, precision, precision, 1e9, 0).bytes  # all experts touched
    moved = sum(t.numel() * t.element_size() for t in main if t is not weights.embedding)
    # The model counts norms and routers at the width of the weights; here they stay in 16 bits.
    small = sum(t.numel() for t in main if t.dim() == 1)
    small += sum(layer.router.numel() for layer in weights.layers if layer.router is not None)
    assert moved - counted == (small if precision == "fp8" else 0)


@pytest.mark.parametrize("name", ["llama-2-70b", "llama-3.1-8b", "mistral-7b", "mixtral-8x7b"])
def test_real_architectures_have_the_weights_their_publishers_count(name: str) -> None:
    model = KNOWN.model(name)
    weights = _decoder.make(model, "bf16", "meta", seed=0)
    assert sum(t.numel() for t in weights.tensors()) == model.parameters
    part = steps.part_of(model, 2)
    some = _decoder.make(part, "bf16", "meta", seed=0)
    assert sum(t.numel() for t in some.tensors()) == part.parameters


def test_another_family_is_refused() -> None:
    for name in ("gpt-j-6b", "gpt-oss-20b"):
        with pytest.raises(CannotMeasure, match=r"family|several kinds"):
            _decoder.make(KNOWN.model(name), "bf16", "meta", seed=0)
