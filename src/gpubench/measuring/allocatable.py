"""How much device memory one plain allocation can really take: found by trying.

What the driver calls free is not all to be had: its own structures, the context and the allocator's
rounding take their part. Each trial is given back at once, and nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Callable

from gpubench.errors import CannotMeasure
from gpubench.measuring.clock import HostClock
from gpubench.measuring.device import Device, import_torch
from gpubench.measuring.faults import told

STEP = 2**24
_LIMIT_S = 4.0


def largest(
    fits: Callable[[int], bool],
    most: int,
    limit_s: float = _LIMIT_S,
    now: Callable[[], float] | None = None,
) -> int:
    """The most bytes up to `most` for which `fits`, to within STEP, by bisection.

    When the time is up, the most that was seen to fit by then.
    """
    now = now or HostClock().now
    start = now()
    if fits(most):
        return most
    low, high = 0, most
    while high - low > STEP and now() - start < limit_s:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def allocatable_bytes(device: Device) -> int:
    """The largest single allocation of torch's on a GPU, in bytes.

    For a while this takes all memory that is free, so it is refused where others compute as well.

    Raises:
        CannotMeasure: a processor, a device that others use, or one that does not answer.
    """
    if device.kind == "cpu":
        raise CannotMeasure("a processor's memory is not taken whole: its system would suffer")
    others = device.card.get("other_processes")
    if isinstance(others, int) and others > 0:
        raise CannotMeasure(
            f"{others} other processes compute on {device.name}, which taking all of its memory "
            f"would end: measure when it is free"
        )
    torch = import_torch()

    def fits(size: int) -> bool:
        try:
            torch.empty(size, dtype=torch.uint8, device=device.torch_name)
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    with told("looking for the memory that can be had"):
        free, _ = torch.cuda.mem_get_info(device.index)
        return largest(fits, int(free))
