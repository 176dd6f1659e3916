"""A model's own config.json, against the weights that transformers builds from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gpubench import catalogue, cli
from gpubench.catalogue import configs, derived
from gpubench.errors import CatalogueError, UnknownName

KNOWN = catalogue.load()
LLAMA = {
    "model_type": "llama",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 320,
    "pad_token_id": 0,
}
LOCAL = {"num_local_experts": 8, "num_experts_per_tok": 2}
NARROW = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
ROUTED = {
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
LATENT = {
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}
OWN: dict[str, dict[str, int]] = {
    "mixtral": LOCAL,
    "gpt_oss": LOCAL,
    "qwen2_moe": {**NARROW, "shared_expert_intermediate_size": 64},
    "qwen3_moe": NARROW,
    "glm4_moe": ROUTED,
    "deepseek_v2": {**ROUTED, **LATENT},
    "deepseek_v3": {**ROUTED, **LATENT},
}
"""What a family has beside the sizes that all have."""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(content: Any, name: str = "config.json") -> Path:
        path = tmp_path / "mine" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    return _write


@pytest.mark.parametrize("family", [name for name in configs.FAMILIES if name != "kimi_k2"])
def test_parameters_are_those_that_transformers_builds(family: str, write: Write) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = transformers.AutoConfig.for_model(family, **SMALL, **OWN.get(family, {}))
    with torch.device("meta"):
        built = transformers.AutoModelForCausalLM.from_config(made)
    weights = {
        name: weight.numel()
        for name, weight in built.named_parameters()
        if weight.dim() > 1 and not name.endswith("bias")
    }
    # Qwen 2 gates its shared expert with one number a token, which nothing here counts.
    weights = {name: n for name, n in weights.items() if "shared_expert_gate" not in name}
    found = configs.read(write(made.to_json_string(use_diff=False)))
    assert found.parameters == sum(weights.values())
    experts = [n for name, n in weights.items() if ".experts." in name]
    used = sum(weights.values()) - sum(experts) * (1 - 2 / 8)
    assert found.active_parameters == (used if experts else found.parameters)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text", "gpt_oss", "qwen3"])
def test_sliding_layers_are_those_that_transformers_lists(family: str, write: Write) -> None:
    transformers = pytest.importorskip("transformers")
    made = transformers.AutoConfig.for_model(family, **{**SMALL, "num_hidden_layers": 12})
    found = configs.read(write(made.to_json_string(use_diff=False)))
    listed = getattr(made, "layer_types", None)
    if listed is None:
        assert found.sliding_layers == (12 if made.sliding_window else 0)
    else:
        assert found.sliding_layers == sum(kind == "sliding_attention" for kind in listed)


def test_a_configuration_gives_what_the_catalogue_has_of_the_same_model(write: Write) -> None:
    found, listed = configs.read(write(LLAMA)), KNOWN.model("llama-3.1-70b")
    assert found.name == "mine"
    assert (found.kv_heads, found.head_dim, found.context) == (8, 128, 131072)
    assert found.parameters == derived.parameters_from_architecture(listed)


@pytest.mark.parametrize(
    ("name", "family", "heads", "experts", "dense", "vocabulary"),
    [
        ("deepseek-v3", "deepseek_v3", 128, 256, 3, 129280),
        ("kimi-k2", "kimi_k2", 64, 384, 1, 163840),
    ],
)
def test_latent_attention_and_experts_give_what_the_catalogue_has(
    write: Write, name: str, family: str, heads: int, experts: int, dense: int, vocabulary: int
) -> None:
    config = {
        "model_type": family,
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": 18432,
        "vocab_size": vocabulary,
        "n_routed_experts": experts,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": dense,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
    }
    found, listed = configs.read(write(config)), KNOWN.model(name)
    assert found.parameters == pytest.approx(listed.parameters, rel=1e-4)
    assert found.active_parameters == pytest.approx(listed.active_parameters, rel=1e-3)
    for field in ("latent_dim", "attention_parameters", "head_dim", "kv_heads", "dense_layers"):
        assert getattr(found, field) == getattr(listed, field)


def test_estimate_and_sweep_take_a_file_or_its_folder(write: Write) -> None:
    path = write(LLAMA)
    asked = ("--gpu", "nvidia-h200-sxm", "--isl", "1024", "--osl", "512", "--precision", "fp8")
    found = [
        json.loads(
            CliRunner().invoke(cli.main, ["estimate", *asked, "--model", m, "--json"]).stdout
        )
        for m in (str(path), str(path.parent), "meta-llama/Llama-3.1-70B-Instruct")
    ]
    mine, folder, listed = (each["throughput_tok_s"]["mid"] for each in found)
    assert mine == folder == pytest.approx(listed, rel=1e-3)
    swept = CliRunner().invoke(
        cli.main,
        ["sweep", *asked, "--vs", "nvidia-h100-sxm5", "--model", str(path), "--batch", "1"],
    )
    assert swept.exit_code == 0, swept.output
    assert swept.stdout.startswith("mine: ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is no JSON document"),
        ("[]", "holds no JSON object"),
        ({**LLAMA, "model_type": "mamba"}, "layers of model_type 'mamba' are not known"),
        ({**LLAMA, "model_type": "llamma"}, "near is llama"),
        ({**LLAMA, "hidden_size": None}, "has no key 'hidden_size'"),
        ({**LLAMA, "hidden_size": 0}, "hidden_size is 0, not a number above zero"),
        ({**LLAMA, "num_attention_heads": "64"}, "num_attention_heads is '64'"),
        ({**LLAMA, "num_experts": 8, "decoder_sparse_step": 2}, "in every second layer"),
        ({**LLAMA, "num_experts": 8}, "has no key 'experts_per_token'"),
        ({"text_config": {"model_type": "llama"}}, "has no key 'num_hidden_layers'"),
    ],
)
def test_what_describes_no_known_model_is_refused(write: Write, content: Any, why: str) -> None:
    with pytest.raises(CatalogueError, match=why):
        configs.read(write(content))


def test_a_path_that_leads_nowhere_is_named() -> None:
    asked = ["--gpu", "nvidia-h200-sxm", "--isl", "8", "--osl", "8"]
    result = CliRunner().invoke(cli.main, ["estimate", *asked, "--model", "nowhere.json"])
    assert result.exit_code == 2
    assert "cannot read nowhere.json" in result.stderr


def test_names_with_publisher_and_tuning_are_found_and_others_near_them_named() -> None:
    assert KNOWN.model("meta-llama/Llama-2-70b-chat-hf") is KNOWN.model("llama-2-70b")
    assert KNOWN.model("Llama 3.1 70B Instruct") is KNOWN.model("llama-3.1-70b")
    with pytest.raises(UnknownName, match=r"did you mean llama-3\.1-70b or"):
        KNOWN.model("meta-llama/Llama-3.3-70B-Instruct")
