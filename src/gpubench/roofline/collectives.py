"""Collectives: latency plus bytes over each path, by algorithm.

A ring all-reduce over n devices sends 2(n-1)/n of the message from each; reducing in the switch
sends 1 + 1/n of it. Inside a node of eight the bytes take the scale-up links; beyond it each device
reduces its share of the node's message over its own network port, and both go on at the same time,
piece by piece. Local memory traffic runs beside the wire, three passes over what is sent: read,
read the partner's, write.
"""

from __future__ import annotations

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator
from gpubench.roofline import ceilings, latency_bandwidth
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.operators import Timed

_MEMORY_PASSES = 3


def bus_bandwidth(message: float, devices: int, seconds: float) -> float:
    """nccl-tests' busbw in B/s: message / time · 2(n-1)/n, whatever the algorithm."""
    return message / seconds * ceilings.ring_factor(devices)


def all_reduce(
    part: Accelerator,
    devices: int,
    message: float,
    reduction: str,
    network: float,
    with_: Parameters,
) -> Timed:
    """Seconds to all-reduce `message` bytes over `devices`, `network` B/s a device beyond a node.

    `binding` reads "links" for the node's links and "overhead" for latency; the caller names the
    network where `network_seconds` is no less than this, because both go on at the same time.
    """
    joined = devices <= ceilings.node_devices(part)
    inside = devices if joined else ceilings.NODE_DEVICES
    local = _within_node(part, inside, message, reduction, with_) if inside > 1 else Timed(0.0)
    if joined:
        return local
    beyond = network_seconds(devices, message, network, with_)
    if beyond <= local.seconds:
        return local
    return Timed(beyond, wire=beyond)


def network_seconds(devices: int, message: float, network: float, with_: Parameters) -> float:
    """The part of an all-reduce between nodes: a ring over nodes on an eighth of the message.

    Raises:
        CannotEstimate: the devices do not fill whole nodes.
    """
    if devices % ceilings.NODE_DEVICES:
        raise CannotEstimate(f"{devices} devices do not fill nodes of {ceilings.NODE_DEVICES}")
    nodes = devices // ceilings.NODE_DEVICES
    share = message / ceilings.NODE_DEVICES
    wire = ceilings.ring_factor(nodes) * share / (network * with_.network_efficiency)
    return wire + 2 * (nodes - 1) * with_.network_latency_s


def _within_node(
    part: Accelerator, devices: int, message: float, reduction: str, with_: Parameters
) -> Timed:
    if reduction == "in-switch":
        if devices > ceilings.joined_devices(part) or not ceilings.reduces_in_switch(part):
            raise CannotEstimate(f"{part.name}: has no switch that could reduce")
        rate = ceilings.link_peak(part) * with_.switch_efficiency
        sent, hops = ceilings.switch_factor(devices) * message, 2
    else:
        rate = ceilings.wire_rate(part, devices, with_.link_efficiency, with_)
        sent, hops = ceilings.ring_factor(devices) * message, 2 * (devices - 1)
    latency = hops * with_.link_latency_s
    wire = sent / rate
    latency = latency_bandwidth.seconds(latency, wire, with_.link_transition) - wire
    memory = _MEMORY_PASSES * sent / ceilings.memory_rate(part, with_)
    # The reduction streams behind the wire: only a memory slower than the links would show.
    hidden = max(wire, memory)
    if wire >= memory:
        return Timed(hidden + latency, wire=hidden, overhead=latency)
    return Timed(hidden + latency, memory=hidden, overhead=latency)


def relative_phase_time(part: Accelerator, baseline: Accelerator, link_bound: float) -> float:
    """Time of a phase on this part over the same phase on a baseline, by their peak links.

    `link_bound` is the share of the baseline's phase that waits for links (Amdahl's law).
    """
    if not 0 <= link_bound <= 1:
        raise CannotEstimate(f"bandwidth_bound_share must lie between 0 and 1, not {link_bound:g}")
    slower = ceilings.link_peak(baseline) / ceilings.link_peak(part)
    return (1 - link_bound) + link_bound * slower
