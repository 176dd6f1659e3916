"""What a part can reach: compute by precision, memory, links, and the share of it that is real.

Peaks come from the catalogue and nowhere else; efficiencies come from the calibration. A figure
nobody has published raises MissingFigure.
"""

from __future__ import annotations

from gpubench.errors import CannotEstimate, MissingFigure
from gpubench.model import Accelerator
from gpubench.roofline.calibration import Calibration, Parameters
from gpubench.roofline.calibration import load as load_calibration

NODE_DEVICES = 8
"""Devices joined by scale-up links; beyond them traffic takes the network."""

_PCIE_LANE_BYTES = {3: 16e9, 4: 32e9, 5: 64e9, 6: 128e9}
# PCI Express doubles each generation: 8 GT/s x 16 lanes / 8 is 16 GB/s one way for the third.

_COMPUTES_AS = {"int4": ("fp16",), "fp4": ("fp4", "fp16"), "fp8": ("fp8", "fp16")}
_COMPUTES_AS |= {"int8": ("int8", "fp16"), "fp32": ("fp32",)}


def compute_precision(part: Accelerator, stored: str) -> str:
    """The precision in which `part` multiplies weights stored as `stored`.

    Weights in a format without matrix hardware are widened to FP16; int4 always is.

    Raises:
        MissingFigure: neither the peak nor the lack of that format is on record.
    """
    for precision in _COMPUTES_AS.get(stored, (stored,)):
        if f"peak_{precision}" in part.figures:
            return precision
        if precision not in part.unsupported:
            part.figure(f"peak_{precision}")
    raise MissingFigure(f"{part.name}: has no matrix hardware for {stored}, nor a wider format")


def wide_precision(part: Accelerator, precision: str) -> str:
    """The 16-bit format for attention and the head: BF16 with BF16, or where nothing else is."""
    if precision == "bf16" or ("peak_bf16" in part.figures and "peak_fp16" not in part.figures):
        return "bf16"
    return "fp16"


def matrix_rate(part: Accelerator, precision: str, with_: Parameters) -> float:
    """Dense FLOP/s a large matrix product sustains: the ceiling, or less where power runs out.

    rate = min(ceiling · peak, (board power - static) / energy per FLOP). With one energy per FLOP
    for a process and precision, a cut-down part reaches nearly all of its peak and a full one
    about three quarters. A part whose process or power is unknown gets a wide share instead.
    """
    peak = part.value(f"peak_{precision}")
    energy = energy_per_flop(part, precision, with_)
    if energy is None or "board_power" not in part.figures:
        return with_.unknown_process_efficiency * peak
    watts = part.value("board_power") * (1 - with_.static_power_share)
    return min(with_.compute_ceiling * peak, watts / energy)


def energy_per_flop(
    part: Accelerator, precision: str, with_: Parameters, calibration: Calibration | None = None
) -> float | None:
    """J per FLOP of a dense matrix product with random data; None when the process is unknown."""
    found = part.figures.get("process_node")
    if found is None or not isinstance(found.value, str) or precision in ("fp32", "tf32", "fp64"):
        return None
    base = (calibration or load_calibration()).energy_per_flop.get(found.value)
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


def link_peak(part: Accelerator) -> float:
    """B/s of all scale-up links in one direction; catalogue figures add both directions."""
    return part.value("interconnect_bandwidth") / 2


def pcie_peak(part: Accelerator) -> float:
    """B/s of sixteen PCI Express lanes in one direction. Raises MissingFigure when unknown."""
    generation = int(part.value("pcie_generation"))
    try:
        return _PCIE_LANE_BYTES[generation]
    except KeyError:
        raise CannotEstimate(f"{part.name}: no rate known for PCIe {generation}") from None


def joined_devices(part: Accelerator) -> int:
    """Devices that share scale-up links: a bridged group, else a node of eight, else one."""
    if "interconnect_bandwidth" not in part.figures:
        return 1
    link = part.figures.get("interconnect")
    name = link.value.lower() if link and isinstance(link.value, str) else ""
    if "bridge" in name:
        return 4 if "4 way" in name else 2
    return NODE_DEVICES


def wire_rate(part: Accelerator, devices: int, efficiency: float, with_: Parameters) -> float:
    """B/s one device sustains towards its neighbours: links if they join them, else PCIe."""
    if devices <= joined_devices(part):
        return link_peak(part) * efficiency
    return pcie_peak(part) * with_.pcie_efficiency


def usable_memory(part: Accelerator, with_: Parameters) -> float:
    """Bytes a device reports: marketed "GB" of stacked memory are nearly GiB."""
    return part.value("memory_capacity") * with_.reported_capacity
