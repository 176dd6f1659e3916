"""Copies between host and device over PCI Express, from page-locked memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpubench.benchmarks import Planned
from gpubench.measuring import Ceilings, Device, Prepared, import_torch, told
from gpubench.measuring.verify import poison, verify
from gpubench.model import Case, Work

QUANTITY = ""
VERSION = 1

_BYTES = 2**28
_QUICK_BYTES = 2**26
# Bytes a second and lane in one direction: the transfer rate by the line code, 128 of 130 bits
# for generations 3 to 5 and 242 of 256 bytes for 6 (PCI Express Base Specifications).
_LANE = {3: 8e9 / 8 * 128 / 130, 4: 16e9 / 8 * 128 / 130, 5: 32e9 / 8 * 128 / 130}
_LANE[6] = 64e9 / 8 * 242 / 256


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """Both directions on a device that is no processor."""
    if device.kind == "cpu":
        return ()
    size = _QUICK_BYTES if suite == "quick" else _BYTES
    return tuple(
        Planned(Case("host_copy", "torch", {"direction": direction, "bytes": size}))
        for direction in ("to device", "to host")
    )


def work(parameters: Mapping[str, Any]) -> Work:
    """The bytes that cross the link in one call."""
    return Work(wire_bytes=float(parameters["bytes"]))


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Page-locked and device memory, one copy compared whole. Raises CannotMeasure, WrongResult."""
    torch = import_torch()
    size, direction = case.parameters["bytes"], case.parameters["direction"]
    with told(f"preparing a copy {direction}"):
        generator = torch.Generator().manual_seed(seed)
        host = torch.empty(size // 4, dtype=torch.float32, pin_memory=True)
        host.normal_(generator=generator)
        onboard = torch.empty(size // 4, dtype=torch.float32, device=device.torch_name)
        onboard.copy_(host)
        target, source = (onboard, host) if direction == "to device" else (host, onboard)
        expected = source.double().cpu()
        poison(target)

        def call() -> None:
            target.copy_(source, non_blocking=True)

        call()
        torch.cuda.synchronize(device.index)
        checked = verify(target.cpu(), expected, 0.0, f"a copy {direction}")
    return Prepared(case, VERSION, work(case.parameters), call, checked)


def ceilings(case: Case, device: Device) -> Ceilings:
    """Lanes times their rate, where the driver tells what card and slot can do at the most.

    Not what the link does now: an idle one saves power in an early generation.
    """
    del case
    generation, width = (device.card.get(f"max_pcie_{what}") for what in ("generation", "width"))
    if not isinstance(generation, int) or not isinstance(width, int) or generation not in _LANE:
        return Ceilings()
    return Ceilings(wire=_LANE[generation] * width)


def release() -> None:
    """Nothing is kept from case to case."""
