"""A model's own config.json, against the weights that transformers builds from it."""

from __future__ import annotations

import json
import os
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
    assert found.name == "mine (own)"
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
    assert swept.stdout.startswith("mine (own): ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is no JSON document"),
        ("[]", "holds no JSON object"),
        ({**LLAMA, "model_type": "mamba"}, "layers of model_type 'mamba' are not known"),
        ({**LLAMA, "model_type": "llamma"}, "near is llama"),
        ({**LLAMA, "hidden_size": None}, "has no key 'hidden_size'"),
        ({**LLAMA, "hidden_size": 0}, "hidden_size is 0, not a number from 1"),
        ({**LLAMA, "num_attention_heads": "64"}, "num_attention_heads is '64'"),
        ({**LLAMA, "num_attention_heads": 20000}, "20000 heads do not share 8192 hidden units"),
        ({**LLAMA, "num_key_value_heads": 7}, "64 heads do not share 7 of keys and values"),
        ({**LLAMA, "tie_word_embeddings": "false"}, "'false', neither true nor false"),
        ({**LLAMA, "sliding_window": 8, "layer_types": []}, "layer_types lists 0 layers of 80"),
        ({**LLAMA, "sliding_window": 8, "max_window_layers": -5}, "max_window_layers is -5"),
        (
            {**LLAMA, "num_experts": 8, "num_experts_per_tok": 200},
            "num_experts_per_tok is 200, of 8 experts",
        ),
        (
            {**LLAMA, "num_experts": 8, "first_k_dense_replace": 100},
            "first_k_dense_replace is 100, not a number from 0 to 80",
        ),
        (
            {**LLAMA, **NARROW, "shared_expert_intermediate_size": 70},
            "the shared expert is no whole number of experts of 32",
        ),
        ({**LLAMA, **NARROW, "mlp_only_layers": [0] * 81}, "is no list of some of 80 layers"),
        ({**LLAMA, "num_experts": 8, "decoder_sparse_step": 2}, "in every second layer"),
        ({**LLAMA, "num_experts": 8}, "has no key 'num_experts_per_tok'"),
        ({"text_config": {"model_type": "llama"}}, "has no key 'num_hidden_layers'"),
    ],
)
def test_what_describes_no_known_model_is_refused(write: Write, content: Any, why: str) -> None:
    with pytest.raises(CatalogueError, match=why):
        configs.read(write(content))


@pytest.mark.parametrize("family", ["gemma3_text", "gemma2", "qwen2", "qwen3", "llama"])
def test_published_files_may_leave_out_what_their_class_assumes(family: str, write: Write) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {name: SMALL[name] for name in ("hidden_size", "num_hidden_layers")}
    sizes |= {"num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 96}
    known = {"vocab_size": 512} if family in ("qwen2", "qwen3", "llama") else {}
    windowed = {"sliding_window": 64} if family == "qwen2" else {}
    made = transformers.AutoConfig.for_model(family, **sizes, **known)
    found = configs.read(write({"model_type": family, **sizes, **known, **windowed}))
    assert found.vocabulary == made.vocab_size
    assert found.head_dim == (getattr(made, "head_dim", None) or 64 // 16)
    listed = getattr(made, "layer_types", None) or []
    assert found.sliding_layers == sum(kind == "sliding_attention" for kind in listed)
    assert bool(found.sliding_layers) is family.startswith("gemma")


def test_a_model_of_ones_own_may_be_called_like_a_listed_one(tmp_path: Path) -> None:
    path = tmp_path / "llama-3.1-70b" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "new"}}), "utf-8")
    asked = ["--gpu", "nvidia-h200-sxm", "--isl", "128", "--osl", "128", "--tp", "8"]
    result = CliRunner().invoke(cli.main, ["estimate", *asked, "--model", str(path.parent)])
    assert result.exit_code == 0, result.output
    assert "its way of quantising is not known; --precision says how" in result.stderr
    (tmp_path / "folder" / "llama-3.1-8b").mkdir(parents=True)
    empty = str(tmp_path / "folder" / "llama-3.1-8b")
    refused = CliRunner().invoke(cli.main, ["estimate", *asked, "--model", empty])
    assert "config.json: No such file" in refused.stderr
    for nowhere in ("./no/such/llama-3.1-8b", "a/b/llama-3.1-8b", "x" * 300):
        refused = CliRunner().invoke(cli.main, ["estimate", *asked, "--model", nowhere])
        assert (refused.exit_code, "unknown model" in refused.stderr) == (2, True)


def groups(*weights: Any) -> dict[str, Any]:
    """As llm-compressor writes it."""
    kinds = {f"group_{n}": {"weights": each} for n, each in enumerate(weights)}
    return {"quant_method": "compressed-tensors", "config_groups": kinds}


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, "fp4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "awq", "bits": 8}, "int8"),
        ({"quant_method": "gptq", "bits": 3}, ""),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": False}, ""),
        ({"quant_method": "bitsandbytes", "load_in_4bit": "false"}, ""),
        ({"quant_method": "AWQ", "w_bit": 4}, "int4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4"),
        (groups({"type": "float", "num_bits": 8}), "fp8"),
        (groups({"type": "int", "num_bits": 4}, {"type": "int", "num_bits": 4}), "int4"),
        (groups({"type": "int", "num_bits": 4}, {"type": "int", "num_bits": 8}), ""),
        (groups(None), ""),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": 7}}, ""),
        ({"quant_method": "gptq", "bits": [4]}, ""),
        ({"quant_method": "other"}, ""),
        ("fp8", ""),
    ],
)
def test_weights_are_stored_as_the_file_says(told: Any, stored: str, write: Write) -> None:
    found = configs.read(write({**LLAMA, "quantization_config": told}))
    assert found.stored == stored
    assert bool(found.remark) is not bool(stored)


def test_the_file_says_the_precision_where_nobody_else_does_and_the_part_has_it(
    write: Write,
) -> None:
    path = str(write({**LLAMA, "quantization_config": {"quant_method": "fp8"}}))

    def asked(gpu: str, *more: str) -> str:
        lengths = ["--isl", "128", "--osl", "128", "--tp", "8"]
        told = CliRunner().invoke(
            cli.main, ["estimate", "--gpu", gpu, "--model", path, *lengths, *more]
        )
        assert told.exit_code == 0, told.output
        return told.stdout

    assert "precision not stated: fp8 assumed" in asked("nvidia-h200-sxm")
    without = asked("biren-br100")
    assert "precision not stated: bf16 assumed" in without
    assert "is published in fp8, which not every part has" in without
    assert "- precision not stated" not in asked("nvidia-h200-sxm", "--precision", "fp16")
    pair = ["--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5", "--model", path]
    lengths = ["--isl", "128", "--osl", "128", "--batch", "8"]
    swept = CliRunner().invoke(cli.main, ["sweep", *pair, *lengths, "--tp", "4,8", "--csv", "-"])
    assert [row.split(",")[0] for row in swept.stdout.splitlines()[1:]] == ["fp8", "fp8"]


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"dtype": "float16"}, "fp16"),
        ({"dtype": "bfloat16", "torch_dtype": "float16"}, "bf16"),
        ({"torch_dtype": "float32"}, ""),
        ({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "other"}}, ""),
    ],
)
def test_the_type_of_tensors_says_which_16_bits(told: Any, stored: str, write: Write) -> None:
    assert configs.read(write({**LLAMA, **told})).stored == stored
    seeing = {"model_type": "gemma3", "text_config": {**LLAMA}, **told}
    assert configs.read(write(seeing)).stored == stored


def test_a_file_in_bf16_is_estimated_in_bf16_and_swept_in_fp8_too(write: Write) -> None:
    path = str(write({**LLAMA, "torch_dtype": "bfloat16"}))
    lengths = ["--model", path, "--isl", "128", "--osl", "128", "--tp", "8"]
    asked = ["estimate", "--gpu", "nvidia-h200-sxm", *lengths]
    told = CliRunner().invoke(cli.main, asked).stdout
    assert "precision not stated: bf16 assumed" in told
    pair = ["--gpu", "nvidia-h200-sxm", "--vs", "nvidia-h100-sxm5", *lengths, "--batch", "8"]
    swept = CliRunner().invoke(cli.main, ["sweep", *pair, "--csv", "-"])
    assert [row.split(",")[0] for row in swept.stdout.splitlines()[1:]] == ["bf16", "fp8"]


def test_parts_without_fp16_are_swept_in_bf16() -> None:
    pair = ["--gpu", "intel-gaudi3", "--vs", "intel-gaudi2", "--model", "llama-3.1-8b"]
    lengths = ["--isl", "128", "--osl", "128", "--batch", "8", "--tp", "1"]
    swept = CliRunner().invoke(cli.main, ["sweep", *pair, *lengths, "--csv", "-"])
    assert [row.split(",")[0] for row in swept.stdout.splitlines()[1:]] == ["bf16", "fp8"]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(CatalogueError, match="is no regular file"):
        configs.read(tmp_path / "pipe.json")


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
