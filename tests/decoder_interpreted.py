"""Runs a small decoder with our own kernels through Triton's interpreter, and tells how far it is.

    TRITON_INTERPRET=1 python tests/decoder_interpreted.py

One JSON object: for each model and precision the relative error of the logits, of a prompt and of
the steps after it, against the same weights in float64; and which operators were replaced.
"""

from __future__ import annotations

import os

# Triton reads this once, while it is imported.
os.environ["TRITON_INTERPRET"] = "1"

import json
from dataclasses import replace
from typing import Any

import torch

from gpubench.benchmarks import _decoder, _decoder_exact, _decoder_ops
from gpubench.benchmarks._decoder_kernels import Kernels, Modules
from gpubench.kernels import attention, skinny, transformer
from gpubench.model import LanguageModel

OURS = Modules(attention, skinny, transformer)
CONFIG = skinny.Config(block_n=16, block_bytes=64, num_warps=1, stages=2)


def model(**more: Any) -> LanguageModel:
    shape = {"layers": 2, "hidden": 64, "heads": 8, "kv_heads": 2, "head_dim": 16}
    given = {"id": "m", "name": "M", "parameters": 1.0, "active_parameters": 1.0, "source": ""}
    return LanguageModel(**{**given, **shape, "ffn_hidden": 96, "vocabulary": 128, **more})


def far(which: LanguageModel, precision: str, kv: str) -> dict[str, Any]:
    weights = _decoder.make(which, precision, "cpu", seed=2)
    ops = Kernels(OURS, units=4, attending=attention.Config(block=16, stages=2))
    for layer in weights.layers:
        for linear in (layer.qkv, layer.output):
            ops.products[tuple(linear.weight.shape)] = CONFIG
    held, exact = (_decoder.cache(which, kv, 2, 12, "cpu") for _ in range(2))
    off = []
    for tokens, context in ((9, 9), (1, 10), (1, 11)):
        at = _decoder.place(which, 2, tokens, context, "cpu", seed=context)
        found = _decoder_ops.forward(ops, weights, held, at).double()
        wanted = _decoder_ops.forward(_decoder_exact.Exact(), weights, exact, at)
        off.append(float((found - wanted).norm() / wanted.norm()))
    return {"off": off, "failed": ops.failed}


def broken() -> dict[str, Any]:
    """A kernel that cannot be launched is replaced, and the others stay."""

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            if name == "rope":
                raise ValueError("no such shape")
            return getattr(transformer, name)

    which = model()
    weights = _decoder.make(which, "fp32", "cpu", seed=2)
    ops = Kernels(replace(OURS, transformer=Refusing()), units=4)
    held = _decoder.cache(which, "fp32", 2, 9, "cpu")
    at = _decoder.place(which, 2, 9, 9, "cpu", seed=1)
    found = _decoder_ops.forward(ops, weights, held, at).double()
    wanted = _decoder_ops.forward(_decoder_exact.Exact(), weights, held, at)
    return {"off": [float((found - wanted).norm() / wanted.norm())], "failed": ops.failed}


if __name__ == "__main__":
    torch.manual_seed(0)
    mixture = model(ffn_hidden=0, experts=4, experts_per_token=2, expert_hidden=48)
    window = model(sliding_window=5, sliding_layers=2)
    print(
        json.dumps(
            {
                "plain fp32": far(model(), "fp32", "fp32"),
                "plain fp16": far(model(), "fp16", "fp16"),
                "one head each fp32": far(model(kv_heads=8), "fp32", "fp32"),
                "window fp32": far(window, "fp32", "fp32"),
                "experts fp32": far(mixture, "fp32", "fp32"),
                "broken": broken(),
            }
        )
    )
