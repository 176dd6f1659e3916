"""What a device has matrix hardware for, and how fast its units can be at the most."""

from __future__ import annotations

from collections.abc import Iterable

from gpubench import catalogue
from gpubench.catalogue import derived
from gpubench.errors import MissingFigure
from gpubench.measuring import Ceilings, Device
from gpubench.model import Accelerator
from gpubench.units import Quantity, show

# From which compute capability NVIDIA's matrix units multiply a type, by the CUDA C++ Programming
# Guide (tensor cores, supported types); 8-bit integers need what torch's product asks for.
_FROM_CAPABILITY = {"fp8": 8.9, "int8": 7.5, "tf32": 8.0, "bf16": 8.0}
# AMD: the architectures whose matrix units have 8-bit floats, by the CDNA 3 and 4 instruction sets.
_AMD_FP8 = ("gfx940", "gfx941", "gfx942", "gfx950")


def part_of(device: Device) -> Accelerator | None:
    """The catalogue's entry of a device, if it is known."""
    return catalogue.load().accelerators.get(device.accelerator or "")


def lacking(device: Device, name: str) -> str:
    """Why a device has no matrix hardware for a precision; "" when it has, for all we know."""
    part, kind = part_of(device), name.partition("_")[0]
    if part and f"peak_{kind}" not in part.figures and kind in part.unsupported:
        return f"{part.name} has no matrix hardware for it"
    if device.capability.startswith("gfx"):
        if name == "tf32":
            return "torch multiplies no TF32 on AMD's devices"
        known = name != "fp8" or device.capability in _AMD_FP8
        return "" if known else f"{device.capability} has no 8-bit floats"
    least = _FROM_CAPABILITY.get(name, 0.0)
    if not device.capability or float(device.capability) >= least:
        return ""
    return f"needs compute capability {least}, and {device.name} has {device.capability}"


def too_large(device: Device, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(what, why) of cases by name whose memory is not free on a device; nothing for none."""
    told = ", ".join(dict.fromkeys(names))
    free = show(Quantity(float(device.memory_free), "B"))
    return ((told, f"does not fit beside its checks into the {free} that are free"),) * bool(told)


def double_name(device: Device) -> str:
    """Under which name the catalogue has the peak of a product in FP64: matrix units, or vector."""
    part = part_of(device)
    return "fp64_tensor" if part and "peak_fp64_tensor" in part.figures else "fp64"


def ceiling(device: Device, figure: str) -> Ceilings:
    """Units times FLOP a clock times the largest clock; none where the catalogue does not tell.

    `figure` is the catalogue's name of a peak without "peak_", such as "fp16" or "fp16_sparse".
    """
    part = part_of(device)
    try:
        flop = derived.flop_per_clock(part, figure) if part else None
    except MissingFigure:
        flop = None
    return Ceilings(compute=device.peak_compute(flop) if flop else None)
