"""Which passes of which models are timed, and what each must do.

A case is one pass: a prefill of whole prompts, one step of decoding at the mean context of its
requests, input_tokens + output_tokens / 2, or the attention of such a step alone, in all layers.
Where a model has more layers than a case, the case is a part of it, and `scale` says what the whole
takes. `batch` is "max" for as many sequences as memory holds when they are done, input_tokens +
output_tokens each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpubench import catalogue
from gpubench.benchmarks import Planned, _hardware
from gpubench.measuring import Device
from gpubench.model import Case, Engine, LanguageModel, Work
from gpubench.roofline import capacity, steps

ENGINE_SEQUENCES = Engine().sequences

TINY = LanguageModel(
    id="tiny",
    name="a tiny model",
    parameters=541_248.0,
    active_parameters=541_248.0,
    layers=4,
    hidden=64,
    heads=8,
    kv_heads=2,
    head_dim=16,
    ffn_hidden=256,
    vocabulary=2048,
    source="made for processors",
)
"""For a machine without a GPU: its figures are about no claim's model."""

_RESERVE = 2.5e9  # bytes beside weights and cache: activations, libraries, what fragments
_SHARED = 0.5  # of memory that a case of several layers, its weights and caches, may take
_FEW = 8
_PROMPTS = 4  # layers of a prefill: all of a large model's would take seconds a call


def model_of(name: str) -> LanguageModel:
    """The catalogue's model of that id, or the tiny one. Raises UnknownName."""
    return TINY if name == TINY.id else catalogue.load().model(name)


def part(parameters: Mapping[str, Any]) -> LanguageModel:
    """What a case times of its model."""
    return steps.part_of(model_of(parameters["model"]), parameters["layers"])


def context(parameters: Mapping[str, Any]) -> int:
    """Tokens that a sequence holds in a case: the prompt, and on average half of the answer."""
    if parameters["phase"] == "prefill":
        return int(parameters["input_tokens"])
    return int(parameters["input_tokens"]) + int(parameters["output_tokens"]) // 2


def work(parameters: Mapping[str, Any], sequences: int = 0, whole: bool = False) -> Work:
    """What one pass must do, by the counts of the performance model.

    Args:
        sequences: as many as were found to fit, where the case says "max".
        whole: of all layers instead of those that are timed.
    """
    batch = sequences or planned_sequences(parameters)
    model = model_of(parameters["model"]) if whole else part(parameters)
    precision, kv = parameters["precision"], parameters["kv_precision"]
    if parameters["phase"] == "prefill":
        return steps.prefill(model, precision, batch, parameters["input_tokens"])
    if parameters["phase"] == "attention":
        return steps.attention(model, kv, batch, context(parameters))
    return steps.decode(model, precision, kv, batch, context(parameters))


def scale(parameters: Mapping[str, Any], sequences: int = 0) -> float:
    """How many times as long the whole model takes as its part: by operations for a prefill, by
    bytes for a step, since these are what they wait for; 1 for a whole model.

    Head and embedding, which the part has too, are taken to run as near to their limit as layers.
    """
    whole = parameters["layers"] == model_of(parameters["model"]).layers
    if whole or parameters["phase"] == "attention":  # which stands for itself
        return 1.0
    some, all_ = work(parameters, sequences), work(parameters, sequences, whole=True)
    if parameters["phase"] == "prefill":
        return all_.flops / some.flops
    return all_.bytes / some.bytes


def planned_sequences(parameters: Mapping[str, Any]) -> int:
    """The batch of a case; for "max" what should fit into its memory, at least 1."""
    if parameters["batch"] != "max":
        return int(parameters["batch"])
    model = model_of(parameters["model"])
    room = parameters["memory"] - capacity.weight_bytes(model, parameters["precision"]) - _RESERVE
    full = parameters["input_tokens"] + parameters["output_tokens"]
    found = capacity.sequences_that_fit(max(0.0, room), model, full, parameters["kv_precision"])
    return max(1, min(found, ENGINE_SEQUENCES))


# --------------------------------------------------------------------------- the plan


def cases(device: Device, suite: str) -> Iterator[Planned]:
    """Every case of a suite that the device has memory and matrix units for."""
    if device.kind == "cpu":
        yield from _host(suite)
        return
    yield from (one for one in _wanted(device, suite) if _fits(one.case, device))


def left_out(device: Device, suite: str) -> Iterator[tuple[str, str]]:
    """(what, why) of the precisions that the device lacks, and of what its memory does not hold."""
    if device.kind == "cpu":
        return
    for name in () if suite == "quick" else ("bf16", "fp8"):
        if why := _hardware.lacking(device, name):
            yield name.upper(), why
    large = [one.case for one in _wanted(device, suite) if not _fits(one.case, device)]
    yield from _hardware.too_large(device, (said(case.parameters) for case in large))


def said(p: Mapping[str, Any]) -> str:
    """A case in words: "decode of llama-2-70b fp8, batch 8, 2048 + 128 tokens"."""
    lengths = f"{p['input_tokens']}"
    if "output_tokens" in p:
        lengths += f" + {p['output_tokens']}"
    return f"{p['phase']} of {p['model']} {p['precision']}, batch {p['batch']}, {lengths} tokens"


def _wanted(device: Device, suite: str) -> Iterator[Planned]:
    """What a suite measures on a GPU that has memory for all of it."""
    each = {"quick": _quick, "standard": _standard, "full": _all}[suite]
    for planned in each(device):
        if not _hardware.lacking(device, planned.case.parameters["precision"]):
            yield planned


def _host(suite: str) -> Iterator[Planned]:
    """The tiny model, so that everything but the kernels runs on a processor too."""
    batches: tuple[int, ...] = (1, 4) if suite == "quick" else (1, 4, 16)
    for batch in batches:
        yield _case("torch", "decode", TINY.id, "fp32", batch, 48, 32, TINY.layers)
    yield _case("torch", "prefill", TINY.id, "fp32", 4, 64, 0, 2)
    yield _case("torch", "attention", TINY.id, "fp32", 4, 48, 32, TINY.layers)


def _quick(device: Device) -> Iterator[Planned]:
    yield _decode(device, "triton", "llama-3.1-8b", "fp16", 8, 2048, 128)


def _standard(device: Device) -> Iterator[Planned]:
    """What the uplift claims are about: a large model in FP8, and one step of each other kind."""
    large = "llama-2-70b"
    for batch in (8, "max"):
        yield _decode(device, "triton", large, "fp8", batch, 2048, 128)
    yield _decode(device, "triton", large, "fp16", 1, 2048, 128)
    for precision in ("fp8", "fp16"):
        yield _prefill(large, precision, 8, 2048)
    yield _decode(device, "triton", "llama-3.1-8b", "fp16", 1, 2048, 128)
    yield _decode(device, "triton", "mixtral-8x7b", "bf16", 8, 2048, 128)


def _all(device: Device) -> Iterator[Planned]:
    """At most 30: in the full suite each may take ten seconds, and all of them five minutes."""
    large = "llama-2-70b"
    for batch in (1, 8, 32, "max"):
        for method in ("triton", "torch") if batch == 8 else ("triton",):
            yield _decode(device, method, large, "fp8", batch, 2048, 128)
    for lengths in ((128, 128), (128, 2048)):
        for batch in (8, "max"):
            yield _decode(device, "triton", large, "fp8", batch, *lengths)
    yield _decode(device, "triton", large, "fp8", "max", 2048, 2048)
    for precision, methods in (("fp8", ("triton",)), ("fp16", ("triton", "torch"))):
        for method in methods:
            yield _attention(method, large, precision, 32, 4032)
    for batch in (1, 32):
        for method in ("triton", "torch") if batch == 1 else ("triton",):
            yield _decode(device, method, large, "fp16", batch, 2048, 128)
    for precision, batch, tokens in (("fp8", 8, 2048), ("fp8", 8, 128), ("fp16", 8, 2048)):
        yield _prefill(large, precision, batch, tokens)
    yield _prefill(large, "fp16", 1, 2048)
    for batch in (1, "max"):
        yield _decode(device, "triton", "llama-3.1-8b", "fp16", batch, 2048, 128)
    for method in ("triton", "torch", "compiled"):  # few layers, which compile within seconds
        yield _decode(device, method, "llama-3.1-8b", "fp16", 1, 2048, 128, layers=_FEW)
    yield _prefill("llama-3.1-8b", "fp16", 8, 2048)
    yield _decode(device, "triton", "mistral-7b", "fp16", 8, 2048, 128)
    for batch in (1, 8):
        yield _decode(device, "triton", "mixtral-8x7b", "bf16", batch, 2048, 128)
    yield _prefill("mixtral-8x7b", "bf16", 8, 2048)


def _decode(
    device: Device,
    method: str,
    name: str,
    precision: str,
    batch: int | str,
    input_tokens: int,
    output_tokens: int,
    layers: int = 0,
) -> Planned:
    """The whole model where its weights leave room for a cache, else a few of its layers; or as
    many as are asked for.
    """
    model = model_of(name)
    room = device.memory_free - _RESERVE - capacity.weight_bytes(model, precision)
    kv = precision if precision in ("fp8", "bf16") else "fp16"
    least = 1 if batch == "max" else int(batch)
    each = capacity.cache_bytes(model, input_tokens + output_tokens, kv)
    if not layers:
        layers = model.layers if room >= least * each else min(_FEW, model.layers)
    more: dict[str, Any] = {}
    if batch == "max" or device.memory_limit:
        more["memory"] = device.memory_limit or device.memory_total
    return _case(
        method, "decode", name, precision, batch, input_tokens, output_tokens, layers, more
    )


def _prefill(name: str, precision: str, batch: int, input_tokens: int) -> Planned:
    layers = min(_PROMPTS, model_of(name).layers)
    return _case("triton", "prefill", name, precision, batch, input_tokens, 0, layers)


def _attention(method: str, name: str, precision: str, batch: int, input_tokens: int) -> Planned:
    layers = min(_FEW, model_of(name).layers)
    return _case(method, "attention", name, precision, batch, input_tokens, 128, layers)


def _case(
    method: str,
    phase: str,
    name: str,
    precision: str,
    batch: int | str,
    input_tokens: int,
    output_tokens: int,
    layers: int,
    more: Mapping[str, Any] | None = None,
) -> Planned:
    parameters: dict[str, Any] = {
        "phase": phase,
        "model": name,
        "precision": precision,
        "kv_precision": precision,
        "batch": batch,
        "input_tokens": input_tokens,
        "layers": layers,
        **({"output_tokens": output_tokens} if phase != "prefill" else {}),
        **(more or {}),
    }
    return Planned(Case("inference", method, parameters))


def _fits(case: Case, device: Device) -> bool:
    """Whether weights, caches and activations fit; a whole model may take all but the reserve."""
    p, model = case.parameters, part(case.parameters)
    weights = capacity.weight_bytes(model, p["precision"])
    whole = p["layers"] == model_of(p["model"]).layers
    if p["batch"] == "max":
        return whole and weights + _RESERVE < device.memory_free
    caches = p["batch"] * capacity.cache_bytes(model, context(p), p["kv_precision"])
    tokens = p["batch"] * (p["input_tokens"] if p["phase"] == "prefill" else 1)
    width = 2 * (model.expert_hidden * model.experts_per_token or model.ffn_hidden)
    passing = 2.0 * tokens * (2 * width + 8 * model.hidden)
    room = device.memory_free * (1.0 if whole else _SHARED) - (_RESERVE if whole else 0.0)
    return bool(weights + caches + passing < room)
