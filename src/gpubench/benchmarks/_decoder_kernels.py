"""The operators of a decoder by our own kernels, each with torch's in reserve.

A kernel that does not compile here, or does not take a shape, is replaced by torch's operator for
good, and `failed` says why. What runs fastest is chosen once on the weights and the cache at hand:
a product of few rows by our kernel or by the vendor's, and how attention is cut into parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from gpubench.benchmarks import _decoder, _kernels
from gpubench.benchmarks._decoder import Linear, Place, Rows, Tensor
from gpubench.benchmarks._decoder_ops import Plain
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import Device, Trials, faults, import_torch
from gpubench.model import LanguageModel

T = TypeVar("T")
Seconds = Callable[[Callable[[], None]], float]
"""Times a call on the device."""


@dataclass(frozen=True)
class Modules:
    """Our kernels, by family."""

    attention: Any
    skinny: Any
    transformer: Any


def modules() -> Modules:
    """The modules of our kernels. Raises CannotMeasure when triton is missing or interprets."""
    return Modules(*map(_kernels.load, ("attention", "skinny", "transformer")))


@dataclass
class Kernels(Plain):
    """Operators by our kernels on a device with so many multiprocessors.

    `products` maps the shape of a linear layer's weights to the configuration of our kernel for few
    rows; shapes that are not there are the vendor's. `failed` maps an operator to the reason why it
    is torch's.
    """

    ours: Modules
    units: int
    attending: Any = None
    products: dict[tuple[int, int], Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def norm(
        self, residual: Tensor, x: Tensor | None, weight: Tensor, eight: bool
    ) -> tuple[Rows, Tensor]:
        """(RMSNorm(residual + x) · weight, residual + x); the residual is written in place."""

        def launch() -> tuple[Rows, Tensor]:
            out = _rows_like(residual, residual.shape[1], eight)
            self.ours.transformer.norm(
                out.values, residual, x, weight, _decoder.EPS, *_scales(out, eight)
            )
            return out, residual

        return self._either("norm", launch, lambda: Plain.norm(self, residual, x, weight, eight))

    def narrowed(self, x: Tensor, eight: bool) -> Rows:
        """Rows as they are, or as 8-bit floats."""
        if not eight:
            return Rows(x)

        def launch() -> Rows:
            out = _rows_like(x, x.shape[1], eight)
            self.ours.transformer.quantise(out.values, x, out.scales)
            return out

        return self._either("quantise", launch, lambda: Plain.narrowed(self, x, eight))

    def rope(
        self, qkv: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """Queries (sequences, heads, tokens, dim) turned; keys turned and values, in the cache."""

        def launch() -> Tensor:
            shape = (at.sequences, model.heads, at.tokens, model.head_dim)
            queries = qkv.new_empty(shape)
            self.ours.transformer.rope(queries, keys, values, qkv, at.turns, at.positions)
            return queries

        return self._either("rope", launch, lambda: Plain.rope(self, qkv, keys, values, at, model))

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, at: Place, model: LanguageModel
    ) -> Tensor:
        """(tokens, heads · dim); prompts by torch's fused attention, single tokens by ours."""

        def plain() -> Tensor:
            return Plain.attend(self, queries, keys, values, at, model)

        if at.tokens > 1:
            return plain()
        config = self.attending or self.ours.attention.DEFAULT
        return self._either(
            "attention", lambda: self.attended(queries, keys, values, at, model, config), plain
        )

    def attended(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        at: Place,
        model: LanguageModel,
        config: Any,
    ) -> Tensor:
        """One token's attention for each sequence by our kernel, in one configuration."""
        torch = import_torch()
        q = queries.view(at.sequences, model.heads, model.head_dim)
        splits = config.splits(at.sequences, model.kv_heads, at.context, self.units)
        parts = torch.empty(*q.shape[:2], splits, q.shape[2], dtype=torch.float32, device=q.device)
        sums = parts.new_empty(*q.shape[:2], splits)
        out = torch.empty_like(q)
        self.ours.attention.decode(
            out,
            q,
            keys,
            values,
            at.lengths,
            parts,
            sums,
            scale=1 / math.sqrt(model.head_dim),
            window=model.sliding_window,
            config=config,
        )
        return out.view(at.sequences, -1)

    def swiglu(self, gate_up: Tensor, eight: bool) -> Rows:
        """silu(gate) · up, of rows that hold gate and then up."""

        def launch() -> Rows:
            out = _rows_like(gate_up, gate_up.shape[1] // 2, eight)
            self.ours.transformer.swiglu(out.values, gate_up, *_scales(out, eight))
            return out

        return self._either("swiglu", launch, lambda: Plain.swiglu(self, gate_up, eight))

    def product(self, x: Rows, linear: Linear) -> Tensor:
        """X · Wᵀ, (tokens, n): few rows as they were found to be fastest, more by the vendor."""
        config = self.products.get(_shape(linear))
        if config is None or len(x.values) > self.ours.skinny.MOST_ROWS:
            return Plain.product(self, x, linear)
        return self._either(
            "product", lambda: self.multiplied(x, linear, config), lambda: by_torch(x, linear)
        )

    def multiplied(self, x: Rows, linear: Linear, config: Any) -> Tensor:
        """X · Wᵀ by our kernel for few rows, in one configuration."""
        torch = import_torch()
        kept = torch.bfloat16 if linear.eight else linear.weight.dtype
        out = x.values.new_empty(len(x.values), linear.weight.shape[0], dtype=kept)
        self.ours.skinny.multiply(
            out, x.values, linear.weight, x.scales, linear.scales, config=config
        )
        return out

    def _either(self, name: str, ours: Callable[[], T], plain: Callable[[], T]) -> T:
        """Our kernel, or from the first time that it cannot be launched on torch's operator."""
        if name in self.failed:
            return plain()
        try:
            return ours()
        except Exception as error:
            reason = _why_not(error, name)
            if reason is None:
                raise
            self.failed[name] = reason
            return plain()


def by_torch(x: Rows, linear: Linear) -> Tensor:
    """The product as torch has it."""
    return Plain().product(x, linear)


def _why_not(error: Exception, name: str) -> str | None:
    """Why a kernel cannot be launched here; None for faults that no other operator would mend."""
    if isinstance(error, ValueError):
        return str(error)
    sentence = faults.as_sentence(error, f"starting {name}")
    if sentence is None or isinstance(sentence, DeviceLost) or "out of memory" in str(sentence):
        return None
    return str(sentence)


def _rows_like(x: Tensor, n: int, eight: bool) -> Rows:
    torch = import_torch()
    dtype = torch.float8_e4m3fn if eight else x.dtype
    scales = x.new_empty(len(x), 1, dtype=torch.float32) if eight else None
    return Rows(torch.empty(len(x), n, dtype=dtype, device=x.device), scales)


def _scales(out: Rows, eight: bool) -> tuple[Tensor, ...]:
    return (out.scales,) if eight else ()


def _shape(linear: Linear) -> tuple[int, int]:
    n, k = linear.weight.shape[-2:]
    return int(n), int(k)


# --------------------------------------------------------------------------- choosing


def choose(
    ops: Kernels,
    weights: _decoder.Weights,
    held: _decoder.Cache,
    at: Place,
    seconds: Seconds,
    trials: Trials,
    products: bool = True,
) -> dict[str, Any]:
    """Choose how products and attention run, by timing each on all layers in turn; what was tried.

    All layers together are larger than any cache, so that each is read from memory. A
    configuration that does not run here leaves the others. Without `products` attention alone.
    """
    tried: dict[str, Any] = {}
    if products and at.sequences * at.tokens <= ops.ours.skinny.MOST_ROWS:
        for name, linears in _families(weights).items():
            found = _choose_product(ops, linears, at.sequences * at.tokens, seconds, trials)
            tried[f"product {name}"] = found
    if at.tokens == 1:
        tried["attention"] = _choose_attention(ops, weights, held, at, seconds, trials)
    return tried


def _families(weights: _decoder.Weights) -> Mapping[str, list[Linear]]:
    """The linear layers of a kind, from all layers; experts are not among them."""
    layers = weights.layers
    found = {"qkv": [one.qkv for one in layers], "output": [one.output for one in layers]}
    if layers[0].router is None:
        found["gate_up"] = [one.gate_up for one in layers]
        found["down"] = [one.down for one in layers]
    return {**found, "head": [Linear(weights.head)]}


def _choose_product(
    ops: Kernels, linears: list[Linear], rows: int, seconds: Seconds, trials: Trials
) -> list[dict[str, Any]]:
    torch = import_torch()
    first = linears[0]
    wide = first.weight.dtype if not first.eight else torch.bfloat16
    k = first.weight.shape[1]
    drawn = torch.randn(rows, k, device=first.weight.device, dtype=torch.float32).to(wide)
    x = Plain().narrowed(drawn, first.eight)

    def with_(config: Any) -> Callable[[], None]:
        def run() -> None:
            for linear in linears:
                if config is None:
                    by_torch(x, linear)
                else:
                    ops.multiplied(x, linear, config)

        return run

    configs = (None, *ops.ours.skinny.CONFIGS)
    table = list(_timed({config: with_(config) for config in configs}, seconds, trials))
    ran = [(config, taken) for config, taken, _ in table if taken is not None]
    if not ran:
        raise CannotMeasure(f"no product of {rows} rows runs here: {table[0][2]}")
    fastest = min(ran, key=lambda one: one[1])[0]
    if fastest is not None:
        ops.products[_shape(first)] = fastest
    return [_told(config, taken, why) for config, taken, why in table]


def _choose_attention(
    ops: Kernels,
    weights: _decoder.Weights,
    held: _decoder.Cache,
    at: Place,
    seconds: Seconds,
    trials: Trials,
) -> list[dict[str, Any]]:
    torch = import_torch()
    model = weights.model
    dtype = weights.layers[0].attention_norm.dtype
    shape = (at.sequences, model.heads, 1, model.head_dim)
    queries = torch.randn(shape, device=at.lengths.device, dtype=torch.float32).to(dtype)

    def with_(config: Any) -> Callable[[], None]:
        def run() -> None:
            for keys, values in zip(held.keys, held.values, strict=True):
                ops.attended(queries, keys, values, at, model, config)

        return run

    configs = ops.ours.attention.CONFIGS
    table = list(_timed({config: with_(config) for config in configs}, seconds, trials))
    ran = [(config, taken) for config, taken, _ in table if taken is not None]
    if ran:
        ops.attending = min(ran, key=lambda one: one[1])[0]
    return [_told(config, taken, why) for config, taken, why in table]


def _timed(
    calls: Mapping[Any, Callable[[], None]], seconds: Seconds, trials: Trials
) -> Iterator[tuple[Any, float | None, str]]:
    """(configuration, seconds or None, why it did not run) of each."""
    for config, call in calls.items():
        try:
            with trials.trying(f"decoder {config}"):
                call()  # compiles, which must not hold up the queue of what is timed
                taken = seconds(call)
            yield config, taken, ""
        except Exception as error:
            reason = _why_not(error, "a configuration")
            if reason is None and config is None and isinstance(error, RuntimeError):
                reason = faults.refusal(error, "trying torch's product")
            if reason is None:
                raise
            yield config, None, reason


def _told(config: Any, taken: float | None, why: str) -> dict[str, Any]:
    named = {"by": "torch"} if config is None else asdict(config)
    return {**named, "seconds": taken, **({"failed": why} if why else {})}


def on(device: Device) -> Kernels:
    """The operators on a device. Raises CannotMeasure without triton."""
    return Kernels(modules(), max(1, device.units))
