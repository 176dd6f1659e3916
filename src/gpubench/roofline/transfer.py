"""From the part that was measured to absent ones of its family: what their ceilings should be.

    found = transferred(h200, Rates(memory=4.5e12, matrix={"fp16": 7.2e14}), h20, parameters)

Two assumptions, and each result carries its own in words. Memory: the absent part reaches the same
share of its peak. Matrix units: the energy of a FLOP is what makes the model give the rate that was
measured, and it is the same on both, at the same clock. So a part whose power runs out before its
units loses as much as its own power makes it lose: a cut-down part keeps nearly all of its peak
where a full one loses a quarter, as published measurements of H20 and H100 have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.ceilings import energy_per_flop, matrix_rate


@dataclass(frozen=True)
class Rates:
    """What a part sustains: B/s of memory, if known, and dense FLOP/s of products by precision."""

    memory: float | None = None
    matrix: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Transferred:
    """What an absent part should sustain, and what was assumed for it, one sentence a rate."""

    rates: Rates
    assumptions: tuple[str, ...]


def transferred(
    present: Accelerator, measured: Rates, absent: Accelerator, with_: Parameters
) -> Transferred:
    """The ceilings of `absent`, from rates measured on `present`.

    A precision whose peak one of the two has not on record is left out.

    Raises:
        CannotEstimate: the two are of different families, whose units have nothing in common.
        MissingFigure: a memory bandwidth is not on record.
    """
    if absent.family != present.family:
        raise CannotEstimate(
            f"{absent.name} is of the {absent.family} family and {present.name} of "
            f"{present.family}: nothing measured on one says how far the other comes"
        )
    said: list[str] = []
    memory = None
    if measured.memory is not None:
        share = measured.memory / present.value("memory_bandwidth")
        memory = share * absent.value("memory_bandwidth")
        said.append(
            f"memory: {absent.name} is assumed to reach {share:.1%} of its peak, as {present.name} "
            "did where it was measured"
        )
    matrix = {}
    for precision, rate in measured.matrix.items():
        if all(f"peak_{precision}" in part.figures for part in (present, absent)):
            matrix[precision], why = _matrix_rate(present, rate, absent, precision, with_)
            said.append(f"{precision}: {why}")
    return Transferred(Rates(memory, matrix), tuple(said))


def _matrix_rate(
    present: Accelerator, rate: float, absent: Accelerator, precision: str, with_: Parameters
) -> tuple[float, str]:
    """(FLOP/s of the absent part, what was assumed)."""
    share = rate / present.value(f"peak_{precision}")
    parts = (present, absent)
    known = all(energy_per_flop(part, precision, with_) for part in parts)
    powered = all("board_power" in part.figures for part in parts)
    if share >= with_.compute_ceiling or not known or not powered:
        same = share * absent.value(f"peak_{precision}")
        return same, f"{absent.name} is assumed to reach {share:.1%} of its peak, too"
    fitted = replace(with_, energy_per_flop_scale=_energy_scale(present, rate, precision, with_))
    found = matrix_rate(absent, precision, fitted)
    picojoules = 1e12 * (energy_per_flop(absent, precision, fitted) or 0.0)
    reached = found / absent.value(f"peak_{precision}")
    limit = "its units" if reached >= with_.compute_ceiling else "its power"
    return found, (
        f"{absent.name} is assumed to take {picojoules:.3g} pJ a FLOP, as the rate of "
        f"{present.name} has it; {limit} then bind at {reached:.1%} of the peak"
    )


def _energy_scale(part: Accelerator, rate: float, precision: str, with_: Parameters) -> float:
    """The factor on the energy of a FLOP with which the model gives a measured rate of a part.

    By bisection: more energy never gives a higher rate.
    """
    low, high = with_.energy_per_flop_scale / 64, with_.energy_per_flop_scale * 64
    for _ in range(60):
        middle = (low * high) ** 0.5
        if matrix_rate(part, precision, replace(with_, energy_per_flop_scale=middle)) > rate:
            low = middle
        else:
            high = middle
    return high
