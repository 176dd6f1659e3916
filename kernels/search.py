"""The search for the fastest launch configuration of a kernel, with a timer that the caller brings.

Plain Python, which needs neither Triton nor a GPU. Each family of kernels says what to try.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

_Config = TypeVar("_Config")


def search(
    time_one: Callable[[_Config], float | None], configs: Iterable[_Config]
) -> tuple[_Config, list[tuple[_Config, float | None]]]:
    """Finds the fastest configuration: (best, everything tried, in order).

    Args:
        time_one: runs a kernel with a configuration and returns seconds, or None where the
            configuration does not run here (too much shared memory, say).
        configs: what to try; of equals the first wins.

    The smallest of several noisy times flatters: time the winner again before quoting it.

    Raises:
        ValueError: no configuration ran.
    """
    table = [(config, time_one(config)) for config in configs]
    ran = [(seconds, place) for place, (_, seconds) in enumerate(table) if seconds is not None]
    if not ran:
        raise ValueError(f"none of the {len(table)} configurations ran on this device")
    return table[min(ran)[1]][0], table
