"""Serving a language model: prefill, decode, and both as a server mixes them.

Every iteration runs the model's matrix products on the tokens at hand, reads the KV cache, moves
activations, and joins tensor-parallel shards twice a layer. A stated batch is served as a whole: B
prompts, then `osl` steps that decode one token of each,

    throughput = B · osl / (B · prefill + osl · decode(B))

As many as fit are served in flight: sequences come and go, and prompts ride along with decoding.
Where the layers are dealt to stages, micro-batches take turns on them (`stages.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, Engine, LanguageModel
from gpubench.roofline import capacity, ceilings, splits
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.operators import Timed, larger, overlapped, smaller
from gpubench.roofline.stages import Stages

Answer = TypeVar("Answer")

_ACTIVATION_BYTES = 2.0
_PAIRED = 2.0
# Bytes of the values that vector units multiply two at a time.

USUAL = (Engine(), Engine(tokens=2048))
"""What an engine is built for where nobody says, whichever is faster: the builder's defaults, or
shorter iterations, whose buffers leave more room for the cache. The last one has most room."""


@lru_cache(maxsize=512)
def usual(pipeline: int, batch: int | str = "max", sequences: int = 0) -> tuple[Engine, ...]:
    """`USUAL` for so many stages, built for `sequences`; where they are 0, for a batch that is
    stated, or else for the default.

    Raises:
        DoesNotFit: they are built for fewer than the batch.
    """
    most = USUAL[0].sequences
    if isinstance(batch, int):
        if sequences and batch > sequences:
            raise DoesNotFit(
                f"an engine built for {sequences} sequences does not take a batch of {batch}"
            )
        most = min(batch, most)
    most = sequences or most
    return tuple(replace(engine, pipeline=pipeline, sequences=most) for engine in USUAL)


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
    """Steady state at a batch: what prompts take and what decoding takes, for B requests.

    `prefill` of sequences in flight is what prompts add to the steps that they ride along with, and
    `steps` the iterations that decode.
    """

    batch: int
    batch_limit: str
    prefill: Timed
    decode: Timed
    steps: float
    output_tokens: int
    input_tokens: int

    @property
    def total(self) -> Timed:
        """All of it."""
        return self.prefill + self.decode

    @property
    def output_rate(self) -> float:
        """Generated tokens a second of all requests."""
        return self.batch * self.output_tokens / self.total.seconds


class Machine:
    """One copy on `gpus` devices for one request kind, at the sustained rates of a stage's devices.

    The devices of a stage share each of its layers (tensor parallel); `engine.pipeline` of them
    follow each other.
    """

    def __init__(
        self,
        part: Accelerator,
        gpus: int,
        request: Request,
        with_: Parameters,
        engine: Engine = USUAL[0],
    ) -> None:
        model = request.model
        self.shape = capacity.shape(model)
        splits.check(model, gpus, engine.pipeline)
        tensor = gpus // engine.pipeline
        precision = ceilings.compute_precision(part, request.precision)
        wide = ceilings.wide_precision(part, precision)
        self.part, self.gpus, self.request, self.with_ = part, gpus, request, with_
        self.engine, self.tensor = engine, tensor
        self.stages = Stages(part, model, gpus, engine.pipeline, with_)
        self.flop_rate = ceilings.matrix_rate(part, precision, with_) * tensor
        self.wide_rate = ceilings.matrix_rate(part, wide, with_) * tensor
        self.attention_rate = ceilings.attention_rate(part, wide, with_) * tensor
        self.softmax_seconds = ceilings.softmax_seconds(part, with_) / tensor
        self.byte_rate = ceilings.serving_memory_rate(part, with_) * tensor
        self.cache_rate = self.byte_rate * with_.cache_read_efficiency
        self.sync_seconds, self.wire_seconds, self.join_seconds = self._seconds_to_join()
        self.weight_size = capacity.storage_bytes(request.precision)
        self.head_size = max(2.0, self.weight_size)
        # A shard's last tile of columns is part empty, the more so the narrower the shard.
        self.padding = 1 + with_.tile_columns * tensor / model.hidden
        # More shards than kv heads means that heads are held twice.
        twice = not model.latent_dim and tensor > model.kv_heads
        self.cache_copies = tensor / model.kv_heads if twice else 1.0
        self.value_seconds = self._seconds_a_value()
        self._element_seconds = model.hidden * model.layers * self._seconds_an_element()

    def _seconds_to_join(self) -> tuple[float, float, float]:
        """What a layer's shards take to meet, and for the vector of one token on the wire and to
        add up.
        """
        if self.tensor == 1:
            return 0.0, 0.0, 0.0
        # A group that leaves its node goes there and back over the network.
        nodes = -(-self.tensor // ceilings.node_devices(self.part))
        hops = 2 * (nodes - 1) * self.with_.network_latency_s
        message = _ACTIVATION_BYTES * self.request.model.hidden
        wire = message / ceilings.all_reduce_rate(self.part, self.tensor, self.with_)
        # Every device holds and normalises the whole vectors that shards add up to.
        join = self.with_.shard_passes * message * self.tensor / self.byte_rate
        return self.with_.serving_sync_s + hops, wire, join

    def _seconds_a_value(self) -> float:
        """Of attention on vector units, a cached value, for all queries of its head; 0 where matrix
        units attend.

        Values of 16 bits are multiplied two at a time; narrower ones are widened first, which costs
        as much again.
        """
        model = self.request.model
        # One query a cached head cannot fill a matrix tile: vector units do it, value by value.
        # Without kernels that join the queries of a head, so they do for each of these.
        alone = model.kv_heads == model.heads or not self.engine.joins_queries
        if not alone or model.latent_dim or "peak_fp32" not in self.part.figures:
            return 0.0
        paired = capacity.storage_bytes(self.request.kv_precision) == _PAIRED
        operations = self.with_.cache_operations * (0.5 if paired else 1.0)
        queries = model.heads / model.kv_heads
        return operations * queries / (self.part.value("peak_fp32") * self.tensor)

    def _seconds_an_element(self) -> float:
        """Of element-wise work, a hidden unit of one token and layer.

        Chunks of activations stay in the caches, so that vector units set the pace. Of a part whose
        FP32 peak nobody has published, it is memory, with each of the passes missing the caches.
        """
        if "peak_fp32" in self.part.figures:
            rate = self.part.value("peak_fp32") * self.tensor
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

    def layers(self, tokens: float) -> Timed:
        """All layers on `tokens` tokens but attention: products, elements, joins, launches."""
        with_, layers = self.with_, self.request.model.layers
        elements = tokens * self._element_seconds
        joins = tokens * layers * self.join_seconds
        # Engines join shards by kernels of their own, which know no change of protocol.
        wire = 2 * layers * (self.sync_seconds + tokens * self.wire_seconds)
        overhead = layers * with_.layer_overhead_s
        seconds = elements + joins + wire + overhead
        return self.matrices(tokens) + Timed(seconds, elements, joins, wire, overhead)

    def head(self, sampled: float) -> Timed:
        """The output projection on `sampled` tokens, sampling, and the host's work for each."""
        with_ = self.with_
        compute = 2 * self._padded(sampled) * self.shape.head / self.wide_rate
        memory = self.shape.head * self.head_size / self.byte_rate
        host = with_.sequence_overhead_s
        host += self.request.model.vocabulary * with_.vocabulary_overhead_s
        overhead = sampled * host
        return overlapped(compute, memory, with_.smoothness) + Timed(overhead, overhead=overhead)

    def prefill(self, sequences: float) -> Timed:
        """All prompts of `sequences` requests, in iterations of at most `engine.tokens` tokens."""
        isl, limit = self.request.input_tokens, self.engine.tokens
        tokens = sequences * isl
        passes = larger(self.stages.streams(sequences), tokens / limit)
        each, attention = tokens / passes, self._prompt_attention(sequences) * (1 / passes)
        layers, head = self.layers(each) + attention, self.head(sequences / passes)
        if self.stages.count == 1:
            return self.stages.passes(layers, head, each, passes)
        # The last chunk of a prompt attends to all before it, the mean one to half of them.
        growing = self._scores(sequences)[0] * self._seconds_a_score / passes
        longer = growing * (1 - 1 / larger(1.0, isl / limit))
        return self.stages.passes(layers, head, each, passes, longer)

    def _prompt_attention(self, sequences: float) -> Timed:
        """Attention of all tokens of `sequences` prompts to those before them."""
        full, windowed = self._scores(sequences)
        seconds = (full + windowed) * self._seconds_a_score
        return Timed(seconds, compute=seconds)

    def _scores(self, sequences: float) -> tuple[float, float]:
        """Scores of `sequences` prompts in layers that see everything, and in sliding ones.

        Causal: a query sees half of the keys on average, or its window.
        """
        isl, model = self.request.input_tokens, self.request.model
        sliding = model.sliding_layers if model.sliding_window else 0
        window = smaller(isl, model.sliding_window)
        full = (model.layers - sliding) * isl * isl / 2
        windowed = sliding * (window * window / 2 + (isl - window) * window)
        return sequences * full * model.heads, sequences * windowed * model.heads

    @property
    def _seconds_a_score(self) -> float:
        return 4 * self.request.model.head_dim / self.attention_rate + self.softmax_seconds

    def decode(self, sequences: float, context: float) -> Timed:
        """One step of `sequences` sequences that hold `context` tokens each."""
        return self._iteration(self.stages.streams(sequences), sequences, context)

    def _iteration(
        self,
        streams: float,
        decoding: float,
        context: float,
        prompts: float = 0.0,
        attention: Timed | None = None,
    ) -> Timed:
        """One iteration of `streams` micro-batches: one token each of `decoding` sequences.

        With them go `prompts` prompts and their `attention`, all in all.
        """
        share = 1 / streams
        alone = decoding * share
        tokens = alone + prompts * share * self.request.input_tokens
        layers = self.layers(tokens) + self._cache_attention(alone, context)
        if attention is not None:
            layers += attention * share
        return self.stages.step(layers, self.head(alone + prompts * share), tokens, streams)

    def _cache_attention(self, sequences: float, context: float) -> Timed:
        """Attention of one token of each sequence to the `context` tokens in its cache."""
        request = self.request
        held = sequences * capacity.held_tokens(request.model, context)
        cached = capacity.cache_bytes(request.model, context, request.kv_precision)
        memory = sequences * cached * self.cache_copies / self.cache_rate
        if not self.value_seconds:
            compute = held * (
                4 * self.shape.query_values / self.attention_rate
                + request.model.heads * self.softmax_seconds
            )
            return overlapped(compute, memory, self.with_.smoothness)
        # Many small warps, independent of each other: whichever is slower hides the other.
        compute = held * self.shape.cache_values * self.value_seconds
        seconds, by_compute = larger(compute, memory), compute >= memory
        return Timed(seconds, seconds * by_compute, seconds * (1 - by_compute))

    def cache_budget(self) -> float:
        """Bytes for the KV cache on all devices. Raises DoesNotFit when nothing is left."""
        request = self.request
        budget = capacity.cache_budget(
            self.part, request.model, request.precision, self.gpus, self.engine, self.with_
        )
        if budget <= 0:
            splits.check_fits(
                self.part,
                request.model,
                request.precision,
                self.gpus,
                self.engine,
                self.with_,
            )
        return budget / self.cache_copies

    def device_bytes(self, sequences: float) -> float:
        """Bytes in use on the fullest device, with so many sequences of full length."""
        request = self.request
        each = capacity.cache_bytes(request.model, request.full_context, request.kv_precision)
        cache = sequences * each * self.cache_copies
        return capacity.device_bytes(
            request.model, request.precision, self.gpus, self.engine, cache, self.with_
        )

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

    def kept(self, fits: float) -> float:
        """Sequences that run at once where `fits` would fit: a group keeps fewer in flight.

        No more is lost beyond eight, the largest group that was fitted.
        """
        others = min(self.tensor, ceilings.NODE_DEVICES) - 1
        kept = larger(1.0, fits // (1 + self.with_.group_batch_loss * others))
        return smaller(kept, self._limit)

    @property
    def _limit(self) -> int:
        """Sequences of all micro-batches (`mMaxNumSequences` in TensorRT-LLM's trtGptModel.h)."""
        return self.engine.sequences * self.engine.pipeline

    def batch(self, asked: int | str) -> tuple[int, str]:
        """The batch and what limits it. Raises DoesNotFit when the stated one exceeds memory."""
        fits = self.most_sequences()
        if asked == "max":
            kept = int(self.kept(fits))
            return kept, "memory capacity" if kept < self._limit else "engine"
        if not isinstance(asked, int) or asked < 1:
            raise CannotEstimate(f"batch must be a positive number or max, not '{asked}'")
        if asked > fits:
            raise DoesNotFit(
                f"{asked} sequences of {self.request.full_context} tokens do not fit: "
                f"{self.gpus} x {self.part.name} hold {fits} beside {self.request.model.name}"
            )
        return asked, "stated"

    def limit(self, timed: Timed) -> str:
        """What binds; compute is called power where the board runs out of it before the units."""
        name = timed.binding
        by_power = name == "compute" and ceilings.power_limited(
            self.part, self.request.precision, self.with_
        )
        return "power" if by_power else name

    def run(self, asked: int | str, queued: int = 0) -> Served:
        """A stated batch as a whole, or as many sequences as fit in flight. Raises like `batch`."""
        batch, limit = self.batch(asked)
        if limit == "stated":
            return self.serve(batch)
        if queued and queued <= batch:
            return self.serve(queued, limit)
        return self.serve_in_flight(batch, limit, queued)

    def serve(self, batch: int, limit: str = "stated") -> Served:
        """A batch from its prompts to its last tokens, at the mean context of a request."""
        osl = self.request.output_tokens
        decode = self.decode(batch, self._mean_context()) * osl
        return self._served(batch, limit, self.prefill(batch), decode, osl)

    def serve_in_flight(
        self, batch: int, limit: str = "memory capacity", queued: float = 0
    ) -> Served:
        """Steady state with `batch` sequences in flight; prompts ride along in chunks.

        In the steps that a request decodes, as many are replaced as are in flight, so that a chunk
        of prompts rides on some of them, beside the tokens that are decoded; more steps are needed
        where an iteration's tokens do not suffice on average, and fewer sequences then decode at
        once. Of more than `batch` requests, `queued` from the start (0: no end), the last ones
        leave up to half a round of steps that are started for few.
        """
        isl, osl = self.request.input_tokens, self.request.output_tokens
        streams, context = self.stages.streams(batch), self._mean_context()
        # Chunks of one prompt follow each other through stages that few sequences leave free.
        chunks = self.stages.streams(batch * larger(1.0, isl / self.engine.tokens))
        chunk = self.engine.tokens * chunks
        steps = larger(osl, batch * (isl + osl) / chunk)
        decoding = batch * osl / steps
        carrying = smaller(larger(steps / osl, batch * isl / chunk), steps)
        step = self._iteration(streams, decoding, context)
        attention = self._prompt_attention(batch) * (1 / carrying)
        riding = self._iteration(chunks, decoding, context, batch / carrying, attention)
        prefill = (riding - step) * carrying
        decode = step * steps
        if queued and queued > batch:
            decode += self._last_round(batch) * (batch / queued * min(1.0, queued / batch - 1))
        return self._served(batch, limit, prefill, decode, steps)

    def _last_round(self, batch: float) -> Timed:
        """Half a round of steps at what a step takes for the first sequence already."""
        half, whole = (self.decode(n, self._mean_context()).seconds for n in (batch / 2, batch))
        seconds = larger(0.0, 2 * half - whole) * self.request.output_tokens / 2
        return Timed(seconds, overhead=seconds)

    def _mean_context(self) -> float:
        return self.request.input_tokens + self.request.output_tokens / 2

    def _served(
        self, batch: int, limit: str, prefill: Timed, decode: Timed, steps: float
    ) -> Served:
        request = self.request
        return Served(
            batch=batch,
            batch_limit=limit,
            prefill=prefill,
            decode=decode,
            steps=steps,
            output_tokens=request.output_tokens,
            input_tokens=request.input_tokens,
        )


def by_engine(run: Callable[[Engine], Answer], engines: Sequence[Engine] = USUAL) -> list[Answer]:
    """What `run` answers for each engine with which the work fits, in their order.

    Raises:
        DoesNotFit: it fits with none of them; the last one's sentence.
    """
    found: list[Answer] = []
    refused: list[DoesNotFit] = []
    for engine in engines:
        try:
            found.append(run(engine))
        except DoesNotFit as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    return found
