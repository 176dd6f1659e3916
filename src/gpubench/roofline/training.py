"""Training a language model: compute, the memory-bound part, and communication per step.

A token costs 6N FLOP plus attention, 8N when activations are recomputed (Kaplan et al.,
arXiv:2001.08361; Korthikanti et al., arXiv:2205.05198). Matrix products run at the part's
sustained rate times what a whole training step reaches of it. Element-wise passes and the
optimizer are bound by memory. Devices are grouped in tensor-parallel sets inside a node when one
device cannot hold the state, and data parallel beyond; part of the communication hides behind
compute. With a stated utilization, time is 6N tokens over that share of the peak and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpubench.errors import CannotEstimate, DoesNotFit
from gpubench.model import Accelerator, LanguageModel
from gpubench.roofline import capacity, ceilings, collectives
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.operators import Timed
from gpubench.units import Quantity, show

BATCH_TOKENS = 4e6
"""Tokens of a step of the whole job: 4 million (Touvron et al., arXiv:2307.09288, section 2.2)."""

_OPTIMIZER_BYTES = 30.0
# A parameter and step: Adam reads gradient, master weight and both moments, writes the last three
# and the BF16 weight (2+4+4+4 + 4+4+4+2), and clears the gradient (2).


@dataclass(frozen=True, slots=True)
class Job:
    """A training job. `utilization` 0 means: let the model find it."""

    model: LanguageModel
    precision: str
    gpus: int
    micro_batch: int
    sequence: int
    recomputed: bool
    utilization: float
    network: float


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


def flops_per_token(model: LanguageModel, sequence: int, recomputed: bool) -> float:
    """Forward and backward: 6 a parameter used, and causal attention's 6 · L · s · heads · dim."""
    attention = 6 * model.layers * sequence * model.heads * model.head_dim
    needed = 6 * model.active_parameters + attention
    return needed * (4 / 3 if recomputed else 1.0)


def training_flops(model: LanguageModel, tokens: float) -> float:
    """6 · active parameters · tokens."""
    return 6 * model.active_parameters * tokens


def memory_per_device(job: Job) -> float:
    """State split over all devices, and the activations of a micro-batch over its tensor group."""
    state = job.model.parameters * capacity.TRAINING_BYTES_PER_PARAMETER / job.gpus
    tokens = float(job.micro_batch * job.sequence)
    group = min(job.gpus, ceilings.NODE_DEVICES)
    return state + capacity.activation_bytes(job.model, tokens, job.recomputed) / group


def check_fits(part: Accelerator, job: Job, with_: Parameters) -> None:
    """Raise DoesNotFit when state and activations exceed a device's memory."""
    needed = memory_per_device(job) + with_.runtime_reserve_bytes
    room = ceilings.usable_memory(part, with_)
    if needed > room:
        raise DoesNotFit(
            f"training {job.model.name} on {job.gpus} x {part.name} needs "
            f"{show(Quantity(needed, 'B'))} a device, more than its {show(Quantity(room, 'B'))}; "
            f"use more devices, a smaller micro-batch or recomputation"
        )


def step(part: Accelerator, job: Job, with_: Parameters) -> Step:
    """One step of the whole job. Raises DoesNotFit, and CannotEstimate for a broken job."""
    if not job.model.layers:
        raise CannotEstimate(f"nobody has published the architecture of {job.model.name}")
    if not 0 <= job.utilization <= 1:
        raise CannotEstimate(f"utilization is a share of the peak, not {job.utilization:g}")
    check_fits(part, job, with_)
    group = _tensor_parallel(part, job)
    per_pass = job.micro_batch * job.sequence * (job.gpus // group)
    passes = max(1.0, round(BATCH_TOKENS / per_pass))
    tokens = per_pass * passes
    rate = compute_rate(part, job.precision, job.utilization, with_) * job.gpus
    if job.utilization:
        seconds = training_flops(job.model, tokens) / rate
        return Step(Timed(seconds, compute=seconds), tokens, 0.0, 0.0, group)
    flops = tokens * flops_per_token(job.model, job.sequence, job.recomputed)
    compute = flops / rate
    moved = tokens * job.model.layers * job.model.hidden * with_.training_element_bytes
    moved += job.model.parameters * _OPTIMIZER_BYTES
    memory = moved / (ceilings.memory_rate(part, with_) * job.gpus)
    tensor = passes * _tensor_seconds(part, job, group, with_)
    data, network = _gradient_seconds(part, job, group, with_)
    shown = (tensor + data) * (1 - with_.overlap_share)
    time = Timed(compute + memory + shown, compute, memory, shown)
    return Step(time, tokens, tensor + data, network, group)


def compute_rate(part: Accelerator, stored: str, utilization: float, with_: Parameters) -> float:
    """FLOP/s of one device in training: the stated share of the peak, or the sustained rate."""
    precision = ceilings.compute_precision(part, stored)
    if utilization:
        return part.value(f"peak_{precision}") * utilization
    return ceilings.matrix_rate(part, precision, with_) * with_.training_efficiency


def _tensor_parallel(part: Accelerator, job: Job) -> int:
    """One device where it holds the whole state, else a node, as far as links join it."""
    whole = job.model.parameters * capacity.TRAINING_BYTES_PER_PARAMETER
    if whole <= part.value("memory_capacity") or job.gpus == 1:
        return 1
    group = min(job.gpus, ceilings.NODE_DEVICES)
    if job.gpus % group:
        raise CannotEstimate(f"{job.gpus} devices do not fill nodes of {group}")
    return group


def _tensor_seconds(part: Accelerator, job: Job, group: int, with_: Parameters) -> float:
    """Four all-reduces of the activations a layer: two forward, two backward."""
    if group == 1:
        return 0.0
    message = job.micro_batch * job.sequence * job.model.hidden * 2.0
    each = collectives.all_reduce(part, group, message, "ring", job.network, with_)
    return 4 * job.model.layers * each.seconds


def _gradient_seconds(
    part: Accelerator, job: Job, group: int, with_: Parameters
) -> tuple[float, float]:
    """All-reduce of 16-bit gradients over data-parallel copies; (all, of it network)."""
    copies = job.gpus // group
    if copies == 1:
        return 0.0, 0.0
    message = job.model.parameters * 2.0
    if group == 1:
        whole = collectives.all_reduce(part, job.gpus, message, "ring", job.network, with_)
        if job.gpus <= ceilings.NODE_DEVICES:
            return whole.seconds, 0.0
        beyond = collectives.network_seconds(job.gpus, message, job.network, with_)
        return whole.seconds, beyond
    # Each member of a tensor group reduces its own shard with its peers in other nodes.
    share = collectives.ring_factor(copies) * message / group
    seconds = share / (job.network * with_.network_efficiency)
    seconds += 2 * (copies - 1) * with_.network_latency_s
    return seconds, seconds
