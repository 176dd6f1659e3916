"""What an AMD card says of itself, as far as torch passes it on from the package amdsmi.

torch tells clock, power and temperature of now. What it does not tell is refused with that reason;
NVIDIA's cards are asked through NVML, which tells more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpubench.measuring.faults import first_line
from gpubench.measuring.telemetry import Reading, Value

_NOT_TOLD = "torch does not tell it of AMD cards"
_OF_A_BLOCK = ("memory_clock_hz", "total_energy_j", "clock_event_reasons", "other_processes")
_OF_A_RUN = ("power_limit_w", "vbios", "ecc_mode", "virtualization", "other_processes")


class TorchTelemetry:
    """One AMD card through `torch.cuda`, which is `cuda`; `index` is the device's number."""

    def __init__(self, cuda: Any, index: int) -> None:
        self._cuda, self._index = cuda, index

    def read(self) -> Reading:
        """Clock, power and temperature; see Telemetry."""
        asked: dict[str, Callable[[], float]] = {
            # MHz, W and °C by amdsmi's documentation, whose values torch hands on as they come.
            "sm_clock_hz": lambda: _told(self._cuda.clock_rate(self._index)) * 1e6,
            "power_w": lambda: _told(self._cuda.power_draw(self._index)),
            "temperature_c": lambda: _told(self._cuda.temperature(self._index)),
        }
        values, refused = dict[str, Value](), dict.fromkeys(_OF_A_BLOCK, _NOT_TOLD)
        for name, ask in asked.items():
            try:
                values[name] = ask()
            except Exception as error:  # amdsmi has a tree of errors of its own
                refused[name] = first_line(error)
        return Reading(values, refused)

    def card(self) -> Reading:
        """Nothing, with the reason; see Telemetry."""
        return Reading(refused=dict.fromkeys(_OF_A_RUN, _NOT_TOLD))


def _told(value: Any) -> float:
    """The number. Raises ValueError for the zero that torch gives where amdsmi says N/A."""
    if not value:
        raise ValueError("amdsmi says N/A")
    return float(value)
