"""A device with less memory than it has: what runs there finds as much as on a smaller part.

A part's memory is not all torch's: the driver's context takes its share on the smaller part as
well, so that share is taken from the limit too.
"""

from __future__ import annotations

from dataclasses import replace

from gpubench.errors import CannotMeasure
from gpubench.measuring.device import Device, import_torch
from gpubench.units import Quantity, show


def limited(device: Device, limit: int) -> Device:
    """The device with `limit` bytes of memory in all; torch allocates no more from now on.

    Args:
        limit: as the driver of the smaller part would tell it.

    Raises:
        CannotMeasure: a processor, or a limit that leaves nothing or exceeds what there is.
    """
    if device.kind == "cpu":
        raise CannotMeasure("a processor's memory has no limit to set: leave out --memory-limit")
    whole = _whole(device)
    taken = max(0, whole - device.memory_free)
    if not taken < limit <= whole:
        raise CannotMeasure(
            f"{device.name} has {show(Quantity(float(whole), 'B'))} of memory, of "
            f"which {show(Quantity(float(taken), 'B'))} are taken: choose a limit between them"
        )
    torch = import_torch()
    share = min(1.0, (limit - taken) / device.memory_total)
    torch.cuda.set_per_process_memory_fraction(share, device.index)
    return replace(device, memory_limit=limit, memory_free=limit - taken)


def _whole(device: Device) -> int:
    """All memory as the driver tells it, which is what a limit is given in; CUDA tells less."""
    board = device.card.get("board_memory_bytes") if device.memory_share == 1.0 else None
    return max(device.memory_total, board if isinstance(board, int) else 0)
