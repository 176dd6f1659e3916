"""One training step of some transformer layers: forward, backward, and Adam's update.

Real widths and random weights. Weights and gradients are bfloat16, the optimizer keeps 32-bit
master weights and two moments, as mixed-precision training does: 16 bytes a parameter, and during
the update 4 more for its gradient in 32 bits. In FP8 every product of forward and backward takes
8-bit floats, quantised row by row on the way. With recomputation "full" only each layer's input is
kept.

Operations are those of the model: 6 a parameter used and token, and attention's; what is computed
again does not count. `choices` says how much longer a step of the whole model takes, by operations.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpubench.benchmarks import Planned, _decoder, _hardware, _inference_plan, _matrices
from gpubench.benchmarks._decoder import Tensor
from gpubench.benchmarks._inference_run import with_another_attention, with_cudnn_again
from gpubench.measuring import Ceilings, Device, Prepared, import_torch, refused, told
from gpubench.measuring.verify import verify
from gpubench.model import Case, Caution, Measurement, Work
from gpubench.roofline import steps
from gpubench.roofline.memory import ACTIVATION_BYTES

QUANTITY = ""
VERSION = 1

_CASES: tuple[tuple[str, str, int, int, str], ...] = (
    ("llama-3.1-8b", "bf16", 4, 1, "none"),
    ("llama-3.1-8b", "bf16", 4, 1, "full"),
    ("llama-2-70b", "bf16", 2, 1, "none"),
    ("llama-2-70b", "bf16", 2, 4, "full"),
    ("llama-2-70b", "fp8", 2, 1, "none"),
)
_FEWER = {"standard": slice(2, 3), "full": slice(None)}
_SEQUENCE, _HOST_SEQUENCE = 4096, 64
_BYTES_A_PARAMETER = 2 + 2 + 4 + 4 + 4 + 4  # weight, gradient, master, moments, 32-bit gradient
_CHECKED_TOKENS = 128
# Of one layer's output and gradients: roundings of bfloat16, and of 8-bit operands both ways.
_TOLERANCES = {"fp32": 1e-4, "bf16": 4e-2, "fp8": 2e-1}
_RATE = 1e-5  # of learning: small, so that a thousand steps change nothing that costs time


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """Layers of two models, with and without recomputation; one case in the standard suite."""
    if suite == "quick":
        return ()
    if device.kind == "cpu":
        both = ("none", "full")
        return tuple(_case(("tiny", "fp32", 2, 2, one), _HOST_SEQUENCE) for one in both)
    return tuple(one for one in _wanted(device, suite) if _fits(one, device))


def left_out(device: Device, suite: str) -> tuple[tuple[str, str], ...]:
    """(what, why) for each precision that the device lacks, and for what its memory does not hold,
    of all that the suite would measure.
    """
    if device.kind == "cpu" or suite == "quick":
        return ()
    reasons = [(name.upper(), _hardware.lacking(device, name)) for name in ("bf16", "fp8")]
    large = [one.case.parameters for one in _wanted(device, suite) if not _fits(one, device)]
    told = (
        f"{p['layers']} layers of {p['model']} in {p['precision']} with micro-batch "
        f"{p['micro_batch']} and recomputation {p['recomputation']}"
        for p in large
    )
    return (
        *((name, why) for name, why in reasons if why),
        *_hardware.too_large(device, told),
    )


def _wanted(device: Device, suite: str) -> Iterator[Planned]:
    """What a suite measures on a GPU that has memory for all of it."""
    for one in _CASES[_FEWER[suite]]:
        if not _hardware.lacking(device, one[1]):
            yield _case(one, _SEQUENCE)


def _fits(planned: Planned, device: Device) -> bool:
    return _needed(planned.case.parameters) < device.memory_free


def _case(one: tuple[str, str, int, int, str], sequence: int) -> Planned:
    name, precision, layers, micro_batch, recomputation = one
    parameters = {
        "model": name,
        "precision": precision,
        "layers": layers,
        "micro_batch": micro_batch,
        "sequence": sequence,
        "recomputation": recomputation,
    }
    return Planned(Case("training_step", "torch", parameters))


def _needed(p: Mapping[str, Any]) -> float:
    """Bytes of state and activations, and half as much again for what is in passing."""
    model = _inference_plan.part(p)
    state = _BYTES_A_PARAMETER * model.parameters
    tokens = float(p["micro_batch"] * p["sequence"])
    kept = p["layers"] if p["recomputation"] == "none" else 1
    return 1.5 * (state + ACTIVATION_BYTES * tokens * model.hidden * kept)


def work(parameters: Mapping[str, Any]) -> Work:
    """Forward, backward and update of the layers, as the performance model counts them."""
    tokens = parameters["micro_batch"] * parameters["sequence"]
    return steps.training(_inference_plan.part(parameters), tokens, parameters["sequence"])


def scale(parameters: Mapping[str, Any]) -> float:
    """How many times the operations a step of the whole model has, its head among them."""
    tokens = parameters["micro_batch"] * parameters["sequence"]
    model = _inference_plan.model_of(parameters["model"])
    whole = steps.training(model, tokens, parameters["sequence"], head=True)
    return whole.flops / work(parameters).flops


def ceilings(case: Case, device: Device) -> Ceilings:
    """What the matrix units can do in the precision of the products."""
    name = case.parameters["precision"]
    return Ceilings() if name == "fp32" else _hardware.ceiling(device, name)


def release() -> None:
    """Each case makes its own layers; what torch keeps of them goes back."""
    with_cudnn_again()
    _matrices.release()


def amount(found: Measurement) -> tuple[float, str]:
    """Operations of a step, as training is told."""
    return found.work.flops, "FLOP/s"


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Layers and optimizer made, one layer's output and gradients compared with float64.

    Raises:
        CannotMeasure: out of memory, or an architecture of another family.
        WrongResult: an output or a gradient is not right.
    """
    return with_another_attention(case, lambda: _prepared(case, device, seed))


def _prepared(case: Case, device: Device, seed: int) -> Prepared:
    p = case.parameters
    what = f"a training step of {p['model']} in {p['precision']}"
    with told(f"preparing {what}"), refused(what):
        _matrices.release()
        _decoder.check(_inference_plan.model_of(p["model"]))
        checked = _check(p, device, seed)
        job = Job(p, device, seed)
        memory = _run_once(job, device)
    factor = scale(p)
    of = _inference_plan.model_of(p["model"]).layers
    scaled = {"layers": p["layers"], "of": of, "factor": factor}
    choices: dict[str, Any] = {"scaled": scaled}
    if memory:
        choices["memory_bytes"] = memory
    return Prepared(case, VERSION, work(p), job.step, checked, (_part(scaled),), choices)


def _part(scaled: Mapping[str, Any]) -> Caution:
    return Caution(
        "part-of-model",
        f"{scaled['layers']} of {scaled['of']} layers were trained; a step of the whole model is "
        f"taken to need {scaled['factor']:.2f} times as long",
        "train on as many parts as hold the whole model",
    )


# --------------------------------------------------------------------------- the step


class Job:
    """Layers, their optimizer, and one micro-batch of random activations."""

    def __init__(self, p: Mapping[str, Any], device: Device, seed: int) -> None:
        torch = import_torch()
        self.recomputed = p["recomputation"] == "full"
        self.model = _inference_plan.part(p)
        self.layers = trainable(self.model, p["precision"], device.torch_name, seed)
        self.eight = p["precision"] == "fp8"
        tokens = p["micro_batch"] * p["sequence"]
        self.at = _decoder.place(
            self.model, p["micro_batch"], p["sequence"], p["sequence"], device.torch_name, seed
        )
        generator = torch.Generator(device.torch_name).manual_seed(seed)
        dtype = self.layers[0][0].dtype

        def drawn() -> Tensor:
            made = torch.empty(tokens, self.model.hidden, dtype=dtype, device=device.torch_name)
            return made.normal_(generator=generator)

        self.x, self.towards = drawn(), drawn()
        self.weights = [weight for layer in self.layers for weight in layer]
        self.masters = [weight.detach().float().clone().requires_grad_() for weight in self.weights]
        fused = device.kind == "cuda"
        self.optimizer = torch.optim.AdamW(self.masters, lr=_RATE, fused=fused or None)

    def step(self) -> None:
        """Forward, backward, update; nothing waits for the device."""
        torch = import_torch()
        x = self.x
        for layer in self.layers:
            if self.recomputed:
                x = torch.utils.checkpoint.checkpoint(self._layer, layer, x, use_reentrant=False)
            else:
                x = self._layer(layer, x)
        x.backward(self.towards)
        for master, weight in zip(self.masters, self.weights, strict=True):
            master.grad = weight.grad.float()
            weight.grad = None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.masters)

    def _layer(self, layer: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return forward(layer, x, self.model, self.at, self.eight)


def trainable(model: Any, precision: str, where: str, seed: int) -> list[tuple[Tensor, ...]]:
    """Random layers whose weights take gradients, in 16 bits where products are in 8."""
    made = _decoder.make(model, "bf16" if precision == "fp8" else precision, where, seed)
    found = []
    for layer in made.layers:
        linears = (layer.qkv, layer.output, layer.gate_up, layer.down)
        weights = (layer.attention_norm, layer.feed_forward_norm, *(one.weight for one in linears))
        found.append(tuple(weight.requires_grad_() for weight in weights))
    return found


def forward(
    layer: tuple[Tensor, ...], x: Tensor, model: Any, at: _decoder.Place, eight: bool
) -> Tensor:
    """One layer on (tokens, hidden), with everything that backward needs."""
    torch = import_torch()
    functional = torch.nn.functional
    attention_norm, feed_forward_norm, qkv, output, gate_up, down = layer
    product = _eight_bit_product() if eight else functional.linear
    normed = functional.rms_norm(x, attention_norm.shape, attention_norm, _decoder.EPS)
    mixed = product(_attended(product(normed, qkv), model, at), output)
    x = x + mixed
    normed = functional.rms_norm(x, feed_forward_norm.shape, feed_forward_norm, _decoder.EPS)
    gate, up = product(normed, gate_up).chunk(2, -1)
    return x + product(functional.silu(gate) * up, down)


def _attended(qkv: Tensor, model: Any, at: _decoder.Place) -> Tensor:
    """RoPE and causal attention, (tokens, heads · dim)."""
    torch = import_torch()
    heads, kv, dim = model.heads, model.kv_heads, model.head_dim
    each = qkv.view(at.sequences, at.tokens, heads + 2 * kv, dim).transpose(1, 2)
    cosine, sine = at.turns[: at.tokens].unbind(1)
    left, right = each[:, : heads + kv].chunk(2, -1)
    turned = torch.cat([left * cosine - right * sine, right * cosine + left * sine], -1)
    queries, keys = turned.to(qkv.dtype).split([heads, kv], 1)
    found = torch.nn.functional.scaled_dot_product_attention(
        queries, keys, each[:, heads + kv :], is_causal=True, enable_gqa=heads != kv
    )
    return found.transpose(1, 2).reshape(at.sequences * at.tokens, -1)


def _eight_bit_product() -> Callable[[Tensor, Tensor], Tensor]:
    """X · Wᵀ whose three products, of forward and backward, take 8-bit floats.

    Each operand is quantised along what is summed over: by rows of it as it enters the product.
    """
    torch = import_torch()

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        """A · Bᵀ of (m, k) and (n, k)."""
        left, right = _decoder.quantised(a.contiguous()), _decoder.quantised(b.contiguous())
        return _decoder.scaled_product(left, _decoder.Linear(right.values, right.scales))

    class Product(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return multiply(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
            x, w = ctx.saved_tensors
            return multiply(dy, w.T), multiply(dy.T, x.T)

    apply: Callable[[Tensor, Tensor], Tensor] = Product.apply
    return apply


def _run_once(job: Job, device: Device) -> int:
    """A step, which allocates what all further ones use; the most memory it took, in bytes."""
    job.step()
    job.step()  # the first one makes the optimizer's moments
    bad = [weight for weight in job.weights if not bool(weight.isfinite().all())]
    verify(import_torch().zeros(1) + len(bad), import_torch().zeros(1), 0.0, "a step")
    if device.kind != "cuda":
        return 0
    cuda = import_torch().cuda
    cuda.reset_peak_memory_stats(device.index)
    job.step()
    cuda.synchronize(device.index)
    return int(cuda.max_memory_allocated(device.index))


# --------------------------------------------------------------------------- the answer


def _check(p: Mapping[str, Any], device: Device, seed: int) -> str:
    """One layer at its whole width on few tokens: output and gradients against float64.

    The gradients are those of the input, of both norms, and of the product after attention, which
    between them pass through every product backwards.
    """
    torch = import_torch()
    model = steps.part_of(_inference_plan.model_of(p["model"]), 1)
    tokens = min(_CHECKED_TOKENS, p["sequence"])
    at = _decoder.place(model, 1, tokens, tokens, device.torch_name, seed)
    (layer,) = trainable(model, p["precision"], device.torch_name, seed)
    generator = torch.Generator(device.torch_name).manual_seed(seed)
    shape = (tokens, model.hidden)
    x, towards = (
        torch.empty(shape, dtype=layer[0].dtype, device=device.torch_name).normal_(
            generator=generator
        )
        for _ in range(2)
    )
    wide = [weight.detach().double() for weight in layer]
    found = _gradients(layer, x, towards, model, at, p["precision"] == "fp8")
    wanted = _gradients(wide, x.double(), towards.double(), model, at, False)
    names = ("the output", "the input's gradient", *_LEARNED.values())
    tolerance = _TOLERANCES[p["precision"]]
    said = [
        verify(one, other, tolerance, f"{name} of a layer of {p['model']}")
        for name, one, other in zip(names, found, wanted, strict=True)
    ]
    del wide, found, wanted
    gc.collect()
    return f"one layer on {tokens} tokens, output and {len(said) - 1} gradients: {said[-1]}"


_LEARNED = {0: "the first norm's gradient", 1: "the second norm's", 3: "the output weights'"}


def _gradients(
    layer: Any, x: Tensor, towards: Tensor, model: Any, at: _decoder.Place, eight: bool
) -> list[Tensor]:
    torch = import_torch()
    x = x.detach().requires_grad_()
    weights = tuple(
        weight.detach().requires_grad_(place in _LEARNED) for place, weight in enumerate(layer)
    )
    y = forward(weights, x, model, at, eight)
    learned = [weights[place] for place in _LEARNED]
    return [y.detach(), *torch.autograd.grad(y, [x, *learned], towards)]
