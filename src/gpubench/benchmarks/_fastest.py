"""The fastest configuration of a kernel on a device, and a record of all that were tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.kernels.search import search
from gpubench.measuring import Device, DeviceClock, faults

Call = Callable[[], None]

_SAMPLES, _WAKING_SAMPLES = 5, 50


def _once(call: Call) -> None:
    call()


def fastest(
    what: str,
    device: Device,
    bound: Callable[[Any], Call],
    configs: Iterable[Any],
    first: Callable[[Call], object] = _once,
) -> tuple[Any, dict[str, Any]]:
    """(the fastest of the configurations, what a record keeps of the search).

    One that does not run on this card, for want of shared memory or because it does not compile,
    leaves the others, and the record has its reason.

    Args:
        what: the kernel's name, as `Trials` knows it.
        bound: a configuration's call.
        first: makes a call for the first time, which compiles it, and may look at its answer.

    Raises:
        CannotMeasure: none of them runs here.
    """
    clock = DeviceClock(device.index)
    failed: dict[Any, str] = {}
    idle = True

    def seconds(config: Any) -> float | None:
        nonlocal idle
        call = bound(config)
        try:
            with device.trials.trying(f"{what} {config}"):
                first(call)  # compiles, which must not hold up the queue of what is timed
                if idle:  # else the first one is timed on the clock of a card at rest
                    clock.samples(call, 1, _WAKING_SAMPLES)
                    idle = False
                return min(clock.samples(call, 1, _SAMPLES))
        except Exception as error:
            sentence = faults.as_sentence(error, "trying a configuration")
            if sentence is None or isinstance(sentence, DeviceLost):
                raise
            failed[config] = str(sentence)
            return None

    try:
        best, table = search(seconds, configs)
    except ValueError as error:
        reasons = "; ".join(dict.fromkeys(failed.values()))
        raise CannotMeasure(f"{what}: {error}: {reasons}") from None
    finally:
        clock.release()
    tried = [
        {**asdict(config), "seconds": taken}
        | ({"failed": failed[config]} if config in failed else {})
        for config, taken in table
    ]
    return best, {"config": asdict(best), "search": tried}
