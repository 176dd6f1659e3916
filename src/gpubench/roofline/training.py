"""Training a language model: compute, the memory-bound part, and communication per step.

A step runs micro-batches through a pipeline of stages, each of a tensor-parallel group of devices,
and then updates the parameters. Nothing here is fitted to training: matrix products run at the
sustained rate and with the tile losses that serving calibrates, attention at its share of the
16-bit rate, backward at twice the FLOP of forward (Kaplan et al., arXiv:2001.08361); norms,
activations and the optimizer pass through memory. Part of the communication hides behind compute.
With a stated utilization, time is 6N tokens over that share of the peak and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, LanguageModel
from gpubench.roofline import capacity, ceilings, collectives, memory, steps
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.operators import Timed
from gpubench.units import Quantity, show

BATCH_TOKENS = 4e6
"""Tokens of a step of the whole job: 4 million (Touvron et al., arXiv:2307.09288, section 2.2)."""

RECOMPUTATION = ("none", "selective", "full")
"""What of the activations is computed again for the backward pass: nothing, the inside of
attention (Korthikanti et al., arXiv:2205.05198, section 4), or every layer."""

_TENSORS, _PIPELINES = (1, 2, 4, 8), (1, 2, 4, 8, 16)
# What is tried where nothing is stated: groups within a node, and stages of a pipeline.

_FUSED_ATTENTION_BACKWARD = 2.5
# Backward over forward FLOP of fused attention: five matrix products where forward has two
# (Dao, arXiv:2307.08691, section 4.1).


@dataclass(frozen=True, slots=True)
class Job:
    """A training job.

    `batch` is in sequences a step, whole or not, 0 for `BATCH_TOKENS`; `tensor` and `pipeline` are
    degrees, and a `tensor` of 0 asks for the fastest split that fits. `virtual` stages of a
    pipeline interleave, and `context` devices share each sequence. `expert` devices share the
    experts of a layer, 0 for a node. `sharded` spreads the weights themselves over the
    data-parallel copies (ZeRO stage 3, FSDP), which gather them for every micro-batch. `adapters`
    trains low-rank additions to frozen weights. `network` is in B/s a device. `utilization` 0
    means: let the model find it.
    """

    model: LanguageModel
    precision: str
    gpus: int
    micro_batch: int
    sequence: int
    recomputation: str = "none"
    utilization: float = 0.0
    network: float = 50e9
    batch: float = 0.0
    tensor: int = 0
    pipeline: int = 1
    virtual: int = 1
    context: int = 1
    expert: int = 0
    sharded: bool = False
    adapters: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: seconds by limit, its tokens, and the parts of communication."""

    time: Timed
    tokens: float
    communication_s: float
    network_s: float
    tensor_parallel: int

    @property
    def binding(self) -> str:
        """What takes most of the step; the network where it outweighs the links."""
        name = self.time.binding
        return "network" if name == "links" and self.network_s > self.communication_s / 2 else name


def training_flops(model: LanguageModel, tokens: float) -> float:
    """6 · active parameters · tokens."""
    return 6 * model.active_parameters * tokens


def memory_per_device(job: Job) -> float:
    """Bytes a device holds of a job that states its tensor-parallel degree.

    16-bit weights and gradients of its shard, its share of the FP32 weights and moments, which are
    spread over all devices, and the activations of a micro-batch. Experts are spread over the
    devices that share them, frozen weights have no gradients, sharded ones are spread over all.
    """
    model, group = job.model, max(1, job.tensor)
    kept = 2.0 if job.adapters else 4.0
    routed = capacity.shape(model).expert * model.experts
    shards = group * job.pipeline, max(group, _expert_parallel(job)) * job.pipeline
    if job.sharded:
        shards = job.gpus, job.gpus
    state = kept * ((model.parameters - routed) / shards[0] + routed / shards[1])
    if not job.adapters:
        moments = memory.TRAINING_BYTES_PER_PARAMETER - kept
        state += moments * model.parameters / job.gpus
    tokens = float(job.micro_batch * job.sequence)
    activations = memory.activation_bytes(model, tokens, job.recomputation == "full")
    return state + activations / (group * job.context)


@lru_cache(maxsize=4096)
def _layouts(job: Job) -> tuple[tuple[Job, float], ...]:
    """The job as it is stated, or with every degree that heads, layers and devices allow; and the
    bytes a device then holds.
    """
    if job.tensor:
        return ((job, memory_per_device(job)),)
    pipelines = (job.pipeline,) if job.pipeline > 1 else _PIPELINES
    found = [
        replace(job, tensor=tensor, pipeline=pipeline)
        for tensor, pipeline in product(_TENSORS, pipelines)
        if job.gpus % (tensor * pipeline * job.context) == 0
        and job.model.heads % tensor == 0
        and pipeline <= job.model.layers
    ] or [replace(job, tensor=1)]
    return tuple((one, memory_per_device(one)) for one in found)


def check_fits(part: Accelerator, job: Job, with_: Parameters) -> None:
    """Raise DoesNotFit when state and activations exceed a device's memory, however split.

    Of a model whose architecture nobody has published there is nothing to say.
    """
    if job.model.layers:
        _that_fit(part, job, with_)


def _that_fit(part: Accelerator, job: Job, with_: Parameters) -> list[Job]:
    """For each tensor-parallel degree the fewest stages that fit. Raises DoesNotFit."""
    room = ceilings.usable_memory(part, with_) - with_.runtime_reserve_bytes
    tried = _layouts(job)
    found = [one for one, needed in tried if needed <= room]
    if not found:
        needed = min(needed for _, needed in tried)
        raise DoesNotFit(
            f"training {job.model.name} on {job.gpus} x {part.name} needs "
            f"{show(Quantity(needed, 'B'))} a device, more than its {show(Quantity(room, 'B'))}; "
            f"use more devices, a smaller micro-batch or recomputation"
        )
    # Of one degree the fewest stages come first, and more would only wait longer for each other.
    return list({one.tensor: one for one in reversed(found)}.values())


def step(part: Accelerator, job: Job, with_: Parameters) -> Step:
    """One step of the whole job, in the fastest layout that fits where none is stated.

    Raises:
        DoesNotFit: no layout holds state and activations.
        CannotEstimate: the job is broken, or its devices do not split as stated.
    """
    _check(job)
    if job.tensor:
        _Layout.of(job)  # says what is wrong with a stated layout before its memory is looked at
    layouts = _that_fit(part, job, with_)
    if job.utilization:
        layouts = layouts[:1]
    steps = [_step(part, one, with_) for one in layouts]
    return min(steps, key=lambda one: one.time.seconds / one.tokens)


def _step(part: Accelerator, job: Job, with_: Parameters) -> Step:
    layout = _Layout.of(job)
    tokens = layout.copies * layout.passes * job.micro_batch * job.sequence
    if job.utilization:
        rate = compute_rate(part, job.precision, job.utilization, with_) * job.gpus
        seconds = training_flops(job.model, tokens) / rate
        return Step(Timed(seconds, compute=seconds), tokens, 0.0, 0.0, layout.tensor)
    each = _micro_batch(part, job, layout, with_)
    # The first micro-batch fills the pipeline; interleaved stages fill it in smaller steps.
    filling = (layout.pipeline - 1) / job.virtual
    time = each * (layout.passes + filling)
    update = _update_seconds(part, job, layout, with_)
    reduced, network = _gradient_seconds(part, job, layout, with_)
    shown = reduced * (1 - with_.overlap_share)
    sent = time.wire / (1 - with_.tensor_overlap_share) + reduced
    time = time + Timed(update, memory=update) + Timed(shown, wire=shown)
    return Step(time, tokens, sent, network, layout.tensor)


def _check(job: Job) -> None:
    capacity.check_published(job.model)
    if not 0 <= job.utilization <= 1:
        raise CannotEstimate(f"utilization is a share of the peak, not {job.utilization:g}")
    if job.recomputation not in RECOMPUTATION:
        raise CannotEstimate(
            f"recomputation is {', '.join(RECOMPUTATION)}, not '{job.recomputation}'"
        )


def compute_rate(part: Accelerator, stored: str, utilization: float, with_: Parameters) -> float:
    """FLOP/s of one device in training: the stated share of the peak, or the sustained rate."""
    precision = ceilings.compute_precision(part, stored)
    if utilization:
        return part.value(f"peak_{precision}") * utilization
    return ceilings.matrix_rate(part, precision, with_)


# --------------------------------------------------------------------------- the layout


@dataclass(frozen=True, slots=True)
class _Layout:
    """Devices of a tensor group, stages, copies, and micro-batches that each copy takes a step."""

    tensor: int
    pipeline: int
    copies: int
    passes: int

    @classmethod
    def of(cls, job: Job) -> _Layout:
        """Of a job that states its tensor-parallel degree. Raises CannotEstimate."""
        tensor = job.tensor
        copy = tensor * job.pipeline * job.context
        if job.gpus % copy:
            raise CannotEstimate(
                f"{job.gpus} devices do not split into pipelines of {job.pipeline} stages of "
                f"{tensor * job.context}: choose a multiple of {copy}"
            )
        if job.model.heads % tensor:
            raise CannotEstimate(
                f"{job.model.name} has {job.model.heads} heads, which {tensor} devices cannot share"
            )
        copies = job.gpus // copy
        batch = job.batch or BATCH_TOKENS / job.sequence
        return cls(tensor, job.pipeline, copies, max(1, round(batch / (job.micro_batch * copies))))


# --------------------------------------------------------------------------- a micro-batch


def _micro_batch(part: Accelerator, job: Job, layout: _Layout, with_: Parameters) -> Timed:
    """Forward and backward of one micro-batch through one stage; `wire` is what is not hidden."""
    tokens = job.micro_batch * job.sequence / job.context
    shared = layout.tensor * layout.pipeline
    compute = _matrix_seconds(part, job, tokens, layout, with_) / shared
    compute += _attention_seconds(part, job, tokens, with_) / shared
    memory = _element_bytes(job, tokens, with_) / shared / ceilings.memory_rate(part, with_)
    idle = (compute + memory) * (1 / with_.training_efficiency - 1)
    sent = _tensor_seconds(part, job, layout, with_)
    sent += _expert_seconds(part, job, tokens, layout, with_)
    wire = sent * (1 - with_.tensor_overlap_share)
    wire += _gathered_seconds(part, job, layout, compute + memory, with_)
    return Timed(compute + memory + wire + idle, compute, memory, wire, idle)


def _element_bytes(job: Job, tokens: float, with_: Parameters) -> float:
    """What norms, activations and additions read and write, and the sorting of tokens by expert."""
    model = job.model
    whole = tokens * model.layers * model.hidden * with_.training_element_bytes
    routed = model.layers - model.dense_layers if model.experts else 0
    # Each copy of a token is gathered and scattered, forward and backward: 2 B read, 2 written.
    return whole + tokens * model.experts_per_token * routed * model.hidden * 16.0


def _passes(job: Job) -> float:
    """Forward passes that a micro-batch costs: backward two, one less with frozen weights."""
    again = 1.0 if job.recomputation == "full" else 0.0
    return 1.0 + (1.0 if job.adapters else 2.0) + again


def _matrix_seconds(
    part: Accelerator, job: Job, tokens: float, layout: _Layout, with_: Parameters
) -> float:
    """Matrix products of all layers and of the head, whole, at one device's rate."""
    held = capacity.shape(job.model)
    precision = ceilings.compute_precision(part, job.precision)
    wide = ceilings.wide_precision(part, precision)
    routed = job.model.experts_per_token * held.expert
    body = 2 * held.body * tokens * _padded(tokens, job.model.hidden, layout.tensor, with_)
    if routed:
        # Each expert sees its share of the tokens of all devices that share the experts.
        each = tokens * _expert_parallel(job) * job.model.experts_per_token / job.model.experts
        body += 2 * routed * tokens * _padded(each, job.model.hidden, 1, with_)
    head = 2 * held.head * tokens
    return _passes(job) * body / ceilings.matrix_rate(part, precision, with_) + (
        _passes(job) - (job.recomputation == "full")
    ) * head / ceilings.matrix_rate(part, wide, with_)


def _padded(tokens: float, hidden: int, tensor: int, with_: Parameters) -> float:
    """What tiles that are not full add, as in serving."""
    rows = 1 + with_.tile_tokens / (tokens + with_.tile_tokens)
    return rows * (1 + with_.tile_columns * tensor / hidden)


def _expert_parallel(job: Job) -> int:
    """Devices that share the experts of a layer: as stated, or those of a node."""
    return job.expert or min(job.gpus // job.pipeline, job.model.experts, ceilings.NODE_DEVICES)


def _attention_seconds(part: Accelerator, job: Job, tokens: float, with_: Parameters) -> float:
    """Causal attention of all layers; backward recomputes the scores."""
    model = job.model
    precision = ceilings.compute_precision(part, job.precision)
    rate = ceilings.attention_rate(part, ceilings.wide_precision(part, precision), with_)
    scores = tokens * job.sequence / 2 * model.layers * model.heads
    forward = scores * (4 * model.head_dim / rate + ceilings.softmax_seconds(part, with_))
    passes = 1 + _FUSED_ATTENTION_BACKWARD + (job.recomputation == "full")
    return passes * forward


# --------------------------------------------------------------------------- communication


def _tensor_seconds(part: Accelerator, job: Job, layout: _Layout, with_: Parameters) -> float:
    """All-reduces of the activations a layer: two forward, two backward, two again."""
    if layout.tensor == 1:
        return 0.0
    message = job.micro_batch * job.sequence / job.context * job.model.hidden * 2.0
    each = collectives.all_reduce(part, layout.tensor, message, "ring", job.network, with_)
    times = 6 if job.recomputation == "full" else 4
    return times * job.model.layers / layout.pipeline * each.seconds


def _expert_seconds(
    part: Accelerator, job: Job, tokens: float, layout: _Layout, with_: Parameters
) -> float:
    """All-to-alls that bring each token to its experts and back, forward and backward.

    Inside a node they take its links; experts on more devices are reached over the network.
    """
    model = job.model
    share = _expert_parallel(job) if model.experts else 1
    if share == 1:
        return 0.0
    layers = (model.layers - model.dense_layers) / layout.pipeline
    message = tokens / layout.tensor * model.experts_per_token * model.hidden * 2.0
    inside = min(share, ceilings.NODE_DEVICES)
    local = (
        message
        * (inside - 1)
        / share
        / ceilings.wire_rate(part, inside, with_.link_efficiency, with_)
    )
    beyond = message * (share - inside) / share / (job.network * with_.network_efficiency)
    times = 6 if job.recomputation == "full" else 4
    return times * layers * (local + beyond)


def _gathered_seconds(
    part: Accelerator, job: Job, layout: _Layout, behind: float, with_: Parameters
) -> float:
    """What gathering sharded weights shows: twice a micro-batch, behind the layer before.

    Gradients are scattered once more. All of it hides behind compute as far as that lasts.
    """
    if not job.sharded or layout.copies == 1:
        return 0.0
    held = job.model.parameters * 2.0 / (layout.tensor * layout.pipeline)
    each, _ = _reduced(part, layout, held, job, with_)
    # An all-gather or reduce-scatter is half an all-reduce.
    passes = 3.0 if job.recomputation == "full" else 2.0
    needed = each / 2 * (passes + (0.0 if job.adapters else 1.0))
    return max(0.0, needed - behind * with_.overlap_share)


def _gradient_seconds(
    part: Accelerator, job: Job, layout: _Layout, with_: Parameters
) -> tuple[float, float]:
    """All-reduce of 16-bit gradients over data-parallel copies; (all, of it network)."""
    if layout.copies == 1 or job.adapters or job.sharded:
        return 0.0, 0.0
    message = job.model.parameters * 2.0 / (layout.tensor * layout.pipeline)
    return _reduced(part, layout, message, job, with_)


def _reduced(
    part: Accelerator, layout: _Layout, message: float, job: Job, with_: Parameters
) -> tuple[float, float]:
    """Seconds of an all-reduce over the copies of one shard; (all, of it network).

    Copies inside a node use its links; each member of a tensor group reduces its own shard with
    its peers in other nodes. Copies that do not fill their nodes are spread evenly over them, and
    the node with the fewest has the most to send through each port.
    """
    most = max(1, min(layout.copies, ceilings.NODE_DEVICES // layout.tensor))
    nodes = -(-layout.copies // most)
    inside = layout.copies // nodes
    local = 0.0
    if inside > 1:
        local = collectives.all_reduce(part, inside, message, "ring", job.network, with_).seconds
    if nodes == 1:
        return local, 0.0
    sent = ceilings.ring_factor(nodes) * message / inside
    beyond = sent / (job.network * with_.network_efficiency)
    beyond += 2 * (nodes - 1) * with_.network_latency_s
    # Both go on at the same time, piece by piece.
    return max(local, beyond), beyond if beyond > local else 0.0


def _update_seconds(part: Accelerator, job: Job, layout: _Layout, with_: Parameters) -> float:
    """The optimizer's pass over its share of the state."""
    if job.adapters:
        return 0.0
    shards = layout.tensor * layout.pipeline * layout.copies
    moved = job.model.parameters * steps.UPDATE_BYTES / shards
    return moved / ceilings.memory_rate(part, with_)
