"""Serving a language model: prefill, decode, and both as a server mixes them.

Every iteration runs the model's matrix products on the tokens at hand, reads the KV cache, moves
activations, and joins tensor-parallel shards twice a layer. With B sequences in flight, a request
of `isl` input and `osl` output tokens costs B prefills and `osl` decode steps for B requests:

    throughput = B · osl / (B · prefill + osl · decode(B))

B is stated, or as many as the KV cache holds, at most `ENGINE_SEQUENCES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, LanguageModel
from gpubench.roofline import capacity, ceilings
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.operators import Timed, larger, overlapped, smaller

ENGINE_SEQUENCES = capacity.ENGINE_SEQUENCES

CHUNK_TOKENS = 8192
"""Prompt tokens of one iteration: TensorRT-LLM's default `max_num_tokens`."""

_ACTIVATION_BYTES = 2.0

_PASSES = 20
# Hidden vectors that unfused element-wise kernels read or write a token and layer.


@dataclass(frozen=True, slots=True)
class Request:
    """What is served: lengths in tokens, storage of weights and cache."""

    model: LanguageModel
    precision: str
    kv_precision: str
    input_tokens: int
    output_tokens: int

    @property
    def full_context(self) -> int:
        """Tokens a sequence holds at its end."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Served:
    """Steady state at a batch: seconds of all prefills and of all decode steps, for B requests."""

    batch: int
    batch_limit: str
    prefill: Timed
    decode: Timed
    output_tokens: int
    input_tokens: int

    @property
    def output_rate(self) -> float:
        """Generated tokens a second of all requests."""
        return self.batch * self.output_tokens / (self.prefill.seconds + self.decode.seconds)


class Machine:
    """Sustained rates of one tensor-parallel copy on `gpus` devices, for one request kind."""

    def __init__(
        self,
        part: Accelerator,
        gpus: int,
        request: Request,
        with_: Parameters,
        chunk_tokens: int = CHUNK_TOKENS,
    ) -> None:
        model = request.model
        _check_split(model, gpus)
        self.chunk_tokens = chunk_tokens
        precision = ceilings.compute_precision(part, request.precision)
        wide = ceilings.wide_precision(part, precision)
        self.part, self.gpus, self.request, self.with_ = part, gpus, request, with_
        self.flop_rate = ceilings.matrix_rate(part, precision, with_) * gpus
        self.wide_rate = ceilings.matrix_rate(part, wide, with_) * gpus
        self.attention_rate = self.wide_rate * with_.attention_efficiency
        self.byte_rate = ceilings.serving_memory_rate(part, with_) * gpus
        self.cache_rate = self.byte_rate * with_.cache_read_efficiency
        self.wire_seconds = 0.0
        if gpus > 1:
            message = _ACTIVATION_BYTES * model.hidden
            self.wire_seconds = message / ceilings.all_reduce_rate(part, gpus, with_)
        self.shared = float(gpus > 1)
        self.shape = capacity.shape(model)
        self.weight_size = capacity.storage_bytes(request.precision)
        self.head_size = max(2.0, self.weight_size)
        # More shards than kv heads means that heads are held twice.
        self.cache_copies = 1.0
        # A shard's last tile of columns is part empty, the more so the narrower the shard.
        self.padding = 1 + with_.tile_columns * gpus / model.hidden
        if not model.latent_dim and gpus > model.kv_heads:
            self.cache_copies = gpus / model.kv_heads
        # One query a cached head cannot fill a matrix tile: vector units do it, value by value.
        self.value_seconds = 0.0
        if model.kv_heads == model.heads and not model.latent_dim and "peak_fp32" in part.figures:
            self.value_seconds = with_.cache_operations / (part.value("peak_fp32") * gpus)
        self._element_seconds = model.hidden * model.layers * self._seconds_an_element()

    def _seconds_an_element(self) -> float:
        """Of element-wise work, a hidden unit of one token and layer.

        Chunks of activations stay in the caches, so that vector units set the pace. Of a part whose
        FP32 peak nobody has published, it is memory, with each of the passes missing the caches.
        """
        if "peak_fp32" in self.part.figures:
            rate = self.part.value("peak_fp32") * self.gpus
            return self.with_.elementwise_operations / rate
        return _PASSES * _ACTIVATION_BYTES / self.byte_rate

    def matrices(self, tokens: float) -> Timed:
        """Matrix products of all layers on `tokens` tokens: body, then the experts touched."""
        model = self.request.model
        compute = 2 * self._padded(tokens) * self.shape.body * self.padding / self.flop_rate
        memory = self.shape.body * self.weight_size / self.byte_rate
        timed = overlapped(compute, memory, self.with_.smoothness)
        if model.experts:
            k, experts = model.experts_per_token, model.experts
            touched = experts * (1 - (1 - k / experts) ** tokens)
            # No tokens touch no expert, and none have nothing to share out.
            routed = touched * self._padded(tokens * k / larger(touched, 1e-9))
            compute = 2 * routed * self.shape.expert * self.padding / self.flop_rate
            memory = touched * self.shape.expert * self.weight_size / self.byte_rate
            timed = timed + overlapped(compute, memory, self.with_.smoothness)
        return timed

    def _padded(self, tokens: float) -> float:
        """Tokens a matrix product computes: a tile more for many, twice as many for few.

        Efficiency grows with the batch towards one, the way tiles and their tails fill up.
        """
        tile = self.with_.tile_tokens
        return tokens * (1 + tile / (tokens + tile))

    def rest(self, tokens: float, sampled: float) -> Timed:
        """Head on `sampled` tokens, element-wise traffic, all-reduces, launches, host time."""
        with_, model = self.with_, self.request.model
        compute = 2 * self._padded(sampled) * self.shape.head / self.wide_rate
        memory = self.shape.head * self.head_size / self.byte_rate
        head = overlapped(compute, memory, with_.smoothness)
        elements = tokens * self._element_seconds
        # Engines join shards by kernels of their own, which know no change of protocol.
        each = with_.serving_sync_s * self.shared + tokens * self.wire_seconds
        wire = 2 * model.layers * each
        overhead = (
            with_.step_overhead_s
            + model.layers * with_.layer_overhead_s
            + sampled * with_.sequence_overhead_s
            + sampled * model.vocabulary * with_.vocabulary_overhead_s
        )
        return head + Timed(elements + wire + overhead, elements, 0.0, wire, overhead)

    def prefill(self, sequences: float) -> Timed:
        """All prompts of `sequences` requests, in iterations of at most `chunk_tokens` tokens."""
        isl = self.request.input_tokens
        tokens = sequences * isl
        iterations = larger(1.0, tokens / self.chunk_tokens)
        each = tokens / iterations
        timed = (self.matrices(each) + self.rest(each, sequences / iterations)) * iterations
        model = self.request.model
        sliding = model.sliding_layers if model.sliding_window else 0
        # Causal: a query sees half of the keys on average, or its window.
        pairs = (model.layers - sliding) * isl * isl / 2
        window = smaller(isl, model.sliding_window)
        pairs += sliding * (window * window / 2 + (isl - window) * window)
        flops = 4 * sequences * pairs * model.heads * model.head_dim
        seconds = flops / self.attention_rate
        return timed + Timed(seconds, compute=seconds)

    def decode(self, sequences: float, context: float) -> Timed:
        """One step of `sequences` sequences that hold `context` tokens each."""
        request = self.request
        held = sequences * capacity.held_tokens(request.model, context)
        cached = capacity.cache_bytes(request.model, context, request.kv_precision)
        memory = sequences * cached * self.cache_copies / self.cache_rate
        compute = 4 * held * self.shape.query_values / self.attention_rate
        compute += held * self.shape.cache_values * self.cache_copies * self.value_seconds
        return (
            self.matrices(sequences)
            + self.rest(sequences, sequences)
            + overlapped(compute, memory, self.with_.smoothness)
        )

    def cache_budget(self) -> float:
        """Bytes for the KV cache on all devices. Raises DoesNotFit when nothing is left."""
        request = self.request
        budget = capacity.cache_budget(
            self.part, request.model, request.precision, self.gpus, self.chunk_tokens, self.with_
        )
        if budget <= 0:
            capacity.check_fits(
                self.part,
                request.model,
                request.precision,
                self.gpus,
                self.chunk_tokens,
                self.with_,
            )
        return budget / self.cache_copies

    def most_sequences(self) -> int:
        """Full-length sequences the cache holds. Raises DoesNotFit when it holds none."""
        request = self.request
        found = capacity.sequences_that_fit(
            self.cache_budget(), request.model, request.full_context, request.kv_precision
        )
        if not found:
            raise DoesNotFit(
                f"the KV cache of one {request.full_context}-token sequence of "
                f"{request.model.name} does not fit beside the weights on {self.gpus} x "
                f"{self.part.name}; {self._longest()} tokens would"
            )
        return found

    def _longest(self) -> int:
        """Tokens of the longest sequence whose cache fits, sliding windows full or not begun."""
        model, kv = self.request.model, self.request.kv_precision
        budget = self.cache_budget()
        full = capacity.cache_bytes_per_token(model, kv)
        beyond = capacity.cache_bytes(model, 2.0**40, kv) - capacity.cache_bytes(model, 2.0**39, kv)
        at_window = capacity.cache_bytes(model, model.sliding_window, kv)
        if budget <= at_window or not beyond:
            return int(budget / full)
        return int(model.sliding_window + (budget - at_window) * 2.0**39 / beyond)

    def in_flight(self, fits: float) -> float:
        """Sequences that run at once where `fits` would fit: a group keeps fewer in flight."""
        return larger(1.0, fits // (1 + self.with_.group_batch_loss * (self.gpus - 1)))

    def batch(self, asked: int | str) -> tuple[int, str]:
        """The batch and what limits it. Raises DoesNotFit when the stated one exceeds memory."""
        fits = self.most_sequences()
        if asked == "max":
            kept = int(self.in_flight(fits))
            if kept < ENGINE_SEQUENCES:
                return kept, "memory capacity"
            return ENGINE_SEQUENCES, "engine"
        if not isinstance(asked, int) or asked < 1:
            raise CannotEstimate(f"batch must be a positive number or max, not '{asked}'")
        if asked > fits:
            raise DoesNotFit(
                f"{asked} sequences of {self.request.full_context} tokens do not fit: "
                f"{self.gpus} x {self.part.name} hold {fits} beside {self.request.model.name}"
            )
        return asked, "stated"

    def serve(self, batch: int, limit: str = "stated") -> Served:
        """Steady state with `batch` sequences in flight, at the mean context of a request."""
        request = self.request
        osl = request.output_tokens
        context = request.input_tokens + osl / 2
        return Served(
            batch=batch,
            batch_limit=limit,
            prefill=self.prefill(batch),
            decode=self.decode(batch, context) * osl,
            output_tokens=osl,
            input_tokens=request.input_tokens,
        )


def _check_split(model: LanguageModel, gpus: int) -> None:
    """Raise CannotEstimate when attention heads do not split evenly over the devices."""
    if gpus < 1:
        raise CannotEstimate(f"a model needs one device or more, not {gpus}")
    if model.heads and model.heads % gpus:
        works = [n for n in (1, 2, 4, 8, 16) if model.heads % n == 0]
        near = min(works, key=lambda n: (abs(n - gpus), -n))
        raise CannotEstimate(
            f"the {model.heads} attention heads of {model.name} do not split over {gpus} devices: "
            f"use {near}, or run several copies"
        )
