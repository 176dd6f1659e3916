"""What a part can reach: compute by precision, memory, links, and the share of it that is real.

Peaks come from the catalogue and nowhere else; efficiencies come from the calibration. A figure
nobody has published raises MissingFigure.
"""

from __future__ import annotations

import re

from gpubench.catalogue import derived
from gpubench.errors import MissingFigure
from gpubench.model import Accelerator
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.calibration import load as load_calibration

NODE_DEVICES = 8
"""Devices joined by scale-up links; beyond them traffic takes the network."""

NETWORK_RATE = 50e9
"""B/s of a device's port one way where nobody states it: 400 Gb/s, as in a DGX H100."""

_NVLINK = re.compile(r"NVLink (\d+)")
_REDUCING_NVLINK = 4
_RACK = re.compile(r"rack of (\d+)")

_DIRECT = ("infinity fabric", "hccs", "roce")
# Links from device to device, the same number between any two of a node.

_MULTIPLIED = ("peak_fp16", "peak_bf16", "peak_fp8", "peak_int8")
_WIDE = ("fp16", "bf16")
_COMPUTES_AS = {"int4": _WIDE, "fp4": ("fp4", *_WIDE), "fp8": ("fp8", *_WIDE)}
_COMPUTES_AS |= {"int8": ("int8", *_WIDE)}


def compute_precision(part: Accelerator, stored: str) -> str:
    """The precision in which `part` multiplies weights stored as `stored`.

    Weights in a format without matrix hardware are widened to FP16, or BF16 where a part has no
    other; int4 always is.

    Raises:
        MissingFigure: neither the peak nor the lack of that format is on record.
    """
    for precision in _COMPUTES_AS.get(stored, (stored,)):
        if f"peak_{precision}" in part.figures:
            return precision
        widened = stored not in _WIDE and precision in _WIDE
        if precision not in part.unsupported and not widened:
            raise MissingFigure(f"{part.name}: no published peak {precision}; {_offer(part)}")
    raise MissingFigure(
        f"{part.name}: has no matrix hardware for {stored}, nor a wider format; {_offer(part)}"
    )


def can_multiply(part: Accelerator, stored: str) -> bool:
    """Whether `compute_precision` has an answer."""
    try:
        compute_precision(part, stored)
    except MissingFigure:
        return False
    return True


def _offer(part: Accelerator) -> str:
    has = sorted(name.removeprefix("peak_") for name in part.figures if name in _MULTIPLIED)
    return f"use {' or '.join(has)}" if has else "use another part"


def wide_precision(part: Accelerator, precision: str) -> str:
    """The 16-bit format for attention and the head: BF16 with BF16, or where nothing else is."""
    if precision == "bf16" or ("peak_bf16" in part.figures and "peak_fp16" not in part.figures):
        return "bf16"
    return "fp16"


def matrix_rate(part: Accelerator, precision: str, with_: Parameters) -> float:
    """Dense FLOP/s a large matrix product sustains: the ceiling, or less where power runs out.

    rate = min(ceiling, share) · peak. Where power runs out the clock falls, and with it the
    voltage: energy per FLOP goes as the clock squared, power as its cube (E = C·V², V ~ f), so
    share³ = (board power - static) / (energy at the boost clock · peak). With one energy per FLOP
    for a process, clock and precision, a cut-down part reaches nearly all of its peak, a full one
    about three quarters, and a small one that boosts high (an L40S) less than two thirds. A part
    whose boost clock is unknown is taken to run at the clock the energy was measured at; one
    whose process or power is unknown gets a wide share instead.
    """
    peak = part.value(f"peak_{precision}")
    energy = energy_per_flop(part, precision, with_)
    if energy is None or "board_power" not in part.figures:
        return with_.unknown_process_efficiency * peak
    watts = part.value("board_power") * (1 - with_.static_power_share)
    share = watts / (energy * peak)
    if "boost_clock" in part.figures:
        slower = energy_clock(part) / part.value("boost_clock")
        share = (share * slower * slower) ** (1 / 3)
    return min(with_.compute_ceiling, share) * peak


def attention_rate(part: Accelerator, precision: str, with_: Parameters) -> float:
    """FLOP/s of the two products of attention; `softmax_seconds` come on top.

    Where these are unknown, because nobody has published the rate of the vector units, the rate is
    what remains of the matrix units beside them on an H100.
    """
    rate = matrix_rate(part, precision, with_)
    return rate if "peak_fp32" in part.figures else rate * with_.attention_efficiency


def softmax_seconds(part: Accelerator, with_: Parameters) -> float:
    """Seconds that one device's vector units take for a score between the products of attention.

    That is why a part with few matrix units for its vector units, such as an H20, attends at nearly
    nine tenths of its matrix rate, and an H100 at two thirds (Shah et al., FlashAttention-3,
    arXiv:2407.08608, section 3.2, on exponentials that matrix units wait for).
    """
    if "peak_fp32" not in part.figures:
        return 0.0
    return with_.softmax_operations / part.value("peak_fp32")


def energy_clock(part: Accelerator) -> float:
    """The clock in Hz at which the energy per FLOP of this part's process was measured."""
    return load_calibration().energy_clock[str(part.figure("process_node").value)]


def energy_per_flop(part: Accelerator, precision: str, with_: Parameters) -> float | None:
    """J per FLOP of a dense matrix product with random data, at the clock it was measured at.

    None when the process is unknown.
    """
    found = part.figures.get("process_node")
    if found is None or not isinstance(found.value, str) or precision in ("fp32", "tf32", "fp64"):
        return None
    base = load_calibration().energy_per_flop.get(found.value)
    if base is None:
        return None
    share = {"fp8": with_.energy_share_8bit, "int8": with_.energy_share_8bit}
    share["fp4"] = with_.energy_share_4bit
    return base * with_.energy_per_flop_scale * share.get(precision, 1.0)


def power_limited(part: Accelerator, stored: str, with_: Parameters) -> bool:
    """Whether board power, not the units, sets the rate for weights stored in that format."""
    precision = compute_precision(part, stored)
    peak = part.value(f"peak_{precision}")
    known = energy_per_flop(part, precision, with_) is not None and "board_power" in part.figures
    return known and matrix_rate(part, precision, with_) < 0.999 * with_.compute_ceiling * peak


def equal_compute(first: Accelerator, second: Accelerator, stored: str) -> bool:
    """Whether two parts of one family have the same peak for that storage, within 1 %."""
    if first.family != second.family:
        return False
    peaks = [part.value(f"peak_{compute_precision(part, stored)}") for part in (first, second)]
    return abs(peaks[0] - peaks[1]) < 0.01 * peaks[1]


def same_silicon(first: Accelerator, second: Accelerator) -> bool:
    """Whether two parts share a die, so that their efficiencies move together."""
    return first.id == second.id or (bool(first.die) and first.die == second.die)


def memory_rate(part: Accelerator, with_: Parameters) -> float:
    """B/s a kernel sustains on device memory."""
    return part.value("memory_bandwidth") * with_.memory_efficiency


def serving_memory_rate(part: Accelerator, with_: Parameters) -> float:
    """B/s that serving sustains: HBM3e reaches a little less of what its faster pins promise."""
    kind = part.figures.get("memory_type")
    newest = kind is not None and str(kind.value).upper().startswith("HBM3E")
    return memory_rate(part, with_) * (with_.hbm3e_share if newest else 1.0)


def link_peak(part: Accelerator) -> float:
    """B/s of all scale-up links in one direction; catalogue figures add both directions."""
    return part.value("interconnect_bandwidth") / 2


def pcie_peak(part: Accelerator) -> float:
    """B/s of sixteen PCI Express lanes in one direction. Raises MissingFigure when unknown."""
    return derived.host_link(part) / 2


def _link(part: Accelerator) -> str:
    """What the scale-up links are called; empty where nobody says."""
    found = part.figures.get("interconnect")
    return found.value if found and isinstance(found.value, str) else ""


def joined_devices(part: Accelerator) -> int:
    """Devices that share scale-up links: a bridged group, a rack, else a node of eight, or one."""
    if "interconnect_bandwidth" not in part.figures:
        return 1
    name = _link(part).lower()
    if "bridge" in name:
        return 4 if "4 way" in name else 2
    rack = _RACK.search(name)
    return int(rack[1]) if rack else NODE_DEVICES


def node_devices(part: Accelerator) -> int:
    """Devices that reach each other without a network: a node of eight, or a rack of more."""
    return max(NODE_DEVICES, joined_devices(part))


def group_share(part: Accelerator, devices: int) -> float:
    """Of a device's scale-up links, those that lead to the others of a group of `devices`.

    Links to a switch all do. Where every two devices of a node have links of their own, as many
    serve a group as it has others: two MI300X of eight use one link of seven, which is why 48 GB/s
    of bus bandwidth are published for two and 313 for eight (`collectives_published.csv`), and
    eight Gaudi keep three links of 24 for the network.
    """
    if devices < 2 or not _linked_directly(part):
        return 1.0
    links = int(part.value("interconnect_links"))
    return (devices - 1) * (links // (NODE_DEVICES - 1)) / links


def _linked_directly(part: Accelerator) -> bool:
    """Whether every two devices of a node have links of their own."""
    if "interconnect_links" not in part.figures:
        return False
    # Fewer links than a node has others join smaller groups, of which nothing is known here.
    enough = part.value("interconnect_links") >= NODE_DEVICES - 1
    return enough and any(direct in _link(part).lower() for direct in _DIRECT)


def wire_rate(part: Accelerator, devices: int, efficiency: float, with_: Parameters) -> float:
    """B/s one device sustains towards the others of a group, by links where these join it."""
    if devices <= joined_devices(part):
        return link_peak(part) * group_share(part, devices) * efficiency
    return unlinked_rate(part, devices, with_)


def can_link(part: Accelerator, devices: int) -> bool:
    """Whether `wire_rate` is known of a group."""
    linked = devices <= joined_devices(part) or devices > node_devices(part)
    return linked or "pcie_generation" in part.figures


def unlinked_rate(part: Accelerator, devices: int, with_: Parameters) -> float:
    """B/s of one of `devices` that no links join: PCIe in a node, else its port of the network."""
    if devices <= node_devices(part):
        return pcie_peak(part) * with_.pcie_efficiency
    port = NETWORK_RATE * with_.network_efficiency
    if "pcie_generation" not in part.figures:
        return port
    return min(port, pcie_peak(part) * with_.pcie_efficiency)


def neighbour_rate(part: Accelerator, devices: int, with_: Parameters) -> float:
    """B/s one device sustains towards one other of `devices`, which may be beyond its links."""
    pair, group = (wire_rate(part, n, with_.link_efficiency, with_) for n in (2, devices))
    return min(pair, group)


def reduces_in_switch(part: Accelerator) -> bool:
    """Whether switches of the node add up what devices send: NVLink 4 and later, unless bridged
    (NVLink SHARP, which NCCL takes by itself since 2.17; docs.nvidia.com/deeplearning/nccl)."""
    found = _NVLINK.match(_link(part))
    if found is None or joined_devices(part) < NODE_DEVICES:
        return False
    return int(found[1]) >= _REDUCING_NVLINK


def ring_factor(devices: int) -> float:
    """Bytes each device sends in a ring all-reduce, over the message: 2(n-1)/n."""
    return 2 * (devices - 1) / devices


def switch_factor(devices: int) -> float:
    """Bytes each device sends, and receives, when the switch adds, over the message: 1 + 1/n.

    It hands in the whole message, and the n-th of it that is its own goes out once more as the sum.
    Bus bandwidths published for two to eight devices follow this and no constant (notes beside
    `collectives_published.csv`: 207, 377, 414, 440, 460 and 478 GB/s on Hopper).
    """
    return 1 + 1 / devices


def all_reduce_rate(part: Accelerator, devices: int, with_: Parameters) -> float:
    """B/s of message that `devices` of a node all-reduce: in a ring, or the switch if faster."""
    ring = ring_factor(devices)
    if devices > joined_devices(part):
        return unlinked_rate(part, devices, with_) / ring
    rate = link_peak(part) * group_share(part, devices) * with_.link_efficiency / ring
    if reduces_in_switch(part):
        return max(rate, link_peak(part) * with_.switch_efficiency / switch_factor(devices))
    return rate


def usable_memory(part: Accelerator, with_: Parameters) -> float:
    """Bytes a device reports: marketed "GB" of stacked memory are nearly GiB."""
    return part.value("memory_capacity") * with_.reported_capacity
