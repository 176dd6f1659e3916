"""The fastest configuration of a kernel on a device, and a record of all that were tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from gpubench.errors import CannotMeasure
from gpubench.kernels.search import search
from gpubench.measuring import Device, DeviceClock, Shunned

_SAMPLES, _WAKING_SAMPLES = 5, 50


def fastest(
    what: str,
    device: Device,
    bound: Callable[[Any], Callable[[], None]],
    configs: Iterable[Any],
    too_large: tuple[type[Exception], ...] = (),
) -> tuple[Any, dict[str, Any]]:
    """(the fastest of the configurations, what a record keeps of the search).

    Args:
        what: the kernel's name, as `Trials` knows it.
        bound: a configuration's call.
        too_large: raised by a configuration that needs more than this card has; others follow.

    Raises:
        CannotMeasure: none of them runs here.
    """
    clock, every = DeviceClock(device.index), tuple(configs)
    left_out: tuple[type[Exception], ...] = (Shunned, *too_large)

    def seconds(config: Any) -> float | None:
        call = bound(config)
        try:
            with device.trials.trying(f"{what} {config}"):
                call()  # compiles, which must not hold up the queue of what is timed
                if config is every[0]:  # else it is timed on an idle clock
                    clock.samples(call, 1, _WAKING_SAMPLES)
                return min(clock.samples(call, 1, _SAMPLES))
        except left_out:
            return None

    try:
        best, table = search(seconds, every)
    except ValueError as error:
        raise CannotMeasure(f"{what}: {error}") from None
    finally:
        clock.release()
    tried = [{**asdict(config), "seconds": taken} for config, taken in table]
    return best, {"config": asdict(best), "search": tried}
