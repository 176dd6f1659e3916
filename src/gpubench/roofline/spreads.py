"""How far an estimate may be off: errors that published results showed, or ranges of parameters.

The interval is the validated 90 % error of that kind of estimate where published measurements
exist, and the range of the parameters where they do not. A value is a number, or in a sweep an
array of them that is NaN where there is no answer; a spread is then an array as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator
from gpubench.roofline import calibration, ceilings, validated
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.conditions import Case
from gpubench.roofline.operators import larger, smaller

Spread = tuple[float, float]
"""Natural logarithms of middle over low end, and of high end over middle."""

ValueAt = Callable[[Accelerator | None, Parameters], float]
"""What is estimated, of a part, at other parameters. Raises CannotEstimate where it is nothing."""

_MEMORY_DIFFERENCE = 0.03
# Two parts of one die with different memory reach shares of their bandwidth that differ by this
# much: BabelStream triad 89 % on H100, 87 % on H200 (Azure/AI-benchmarking-guide).

_POWER_DIFFERENCE = 0.05
# Two parts of one chip family draw shares of their rated power that differ by this much.

_OWN_GROUPS = ("memory", "compute", "power")
# Physics that two different chips do not share.

_TO_START = ("overhead", "links")
# What kernels and copies take however little there is to do.

_NOTICED = 1e-3
_REFUSED = "-"


def of_one(
    case: Case, part: Accelerator | None, value_at: ValueAt, mid: float
) -> tuple[Spread, str]:
    """The spread of one figure whose middle is `mid`, and what it rests on, in words.

    An error of published figures knows no limit, but a part does: no end lies beyond what it gives
    when nothing is wasted.
    """
    (low, high), words = _uncut(case, part, value_at, mid)
    rate, time = case.quantity in _MOST, case.quantity in _LEAST
    if case.quantity == "time_per_output_token" and case.of("batch") == "max":
        time = False  # what wastes less holds more sequences, whose steps are longer
    if not (rate or time):
        return (low, high), words
    shift = _log(value_at(part, calibration.ideal()) / mid)
    room = max(0.0, shift if rate else -shift)
    if (high if rate else low) <= room:
        return (low, high), words
    return (low, room) if rate else (room, high), f"{words}; cut at what data sheets allow"


_MOST = ("inference_throughput", "max_sequences", "training_throughput", "hpc_throughput")
_LEAST = (
    *("time_to_first_token", "time_per_output_token", "cost_per_token"),
    *("training_time", "training_cost"),
    *("parameter_load_time", "gradient_sync_time", "all_reduce_time"),
)
# Of which less waste is always more, and always less.


def _uncut(
    case: Case, part: Accelerator | None, value_at: ValueAt, mid: float
) -> tuple[Spread, str]:
    known = validated.absolute(case, part) if part is not None else None
    nothing = case.quantity in _NOTHING_IF_FULL and _may_not_fit(part, value_at, mid)
    if known is None:
        low, high, groups = _ranges(lambda p: value_at(part, p), mid)
        if nothing:
            told = _unvalidated([name for name in groups if not name.startswith(_REFUSED)])
            return (math.inf, high), f"{told}{_AT_ITS_LEAST}"
        return (low, high), _unvalidated(groups)
    spread, words = (known.log_error, known.log_error), known.words
    if known.foreign:
        spread = _wider(spread, _own_ranges(part, value_at, mid))
    if known.few:
        spread = _wider(spread, _ranges(lambda p: value_at(part, p), mid, _TO_START)[:2])
    if case.quantity == "energy_per_token":
        power = _ranges(lambda p: value_at(part, p), mid, ("power",))
        spread = _wider(spread, power[:2])
        words = f"throughput {words}; the share of rated power drawn is a range"
    if nothing:
        return (math.inf, spread[1]), f"{words}{_AT_ITS_LEAST}"
    return spread, words


_NOTHING_IF_FULL = ("max_sequences", "inference_throughput", "training_throughput")
# What is 0 where nothing fits.

_AT_ITS_LEAST = "; at the least that a device may report of its capacity nothing fits"


def _may_not_fit(part: Accelerator | None, value_at: ValueAt, mid: float) -> bool:
    """Whether there is no answer at one end of what a device may report of its memory."""
    if not isinstance(mid, float | int):
        return False  # arrays are told place by place
    for parameters in calibration.load().varied("capacity"):
        try:
            value_at(part, parameters)
        except CannotEstimate:
            return True
    return False


def of_two(
    case: Case, subject: Accelerator, baseline: Accelerator, value_at: ValueAt, mid: float
) -> tuple[Spread, str]:
    """The spread of subject over baseline, whose middle is `mid`, and what it rests on."""
    known = validated.ratio(case, subject, baseline)
    groups: list[str] = []
    if known:
        spread, words = (known.log_error, known.log_error), known.words
        alone = known.foreign
        if known.few:
            over = _ranges(lambda p: value_at(subject, p) / value_at(baseline, p), mid, _TO_START)
            spread = _wider(spread, over[:2])
        if case.quantity == "energy_per_token" and subject != baseline:
            spread = _wider(spread, (_POWER_DIFFERENCE, _POWER_DIFFERENCE))
            words += "; power shares of the parts may differ by 5 %"
        if alone and ceilings.same_silicon(subject, baseline):
            # What one silicon reaches of its peaks, both reach.
            both = _ranges(lambda p: value_at(subject, p) / value_at(baseline, p), mid, _OWN_GROUPS)
            spread, alone = _wider(_wider(spread, both[:2]), _memory_shift(subject, value_at)), ()
    else:
        low, high, groups = _ranges(lambda p: value_at(subject, p) / value_at(baseline, p), mid)
        spread, words = (low, high), ""
        alone = () if ceilings.same_silicon(subject, baseline) else (subject, baseline)
        if subject.id != baseline.id and not alone:
            shift = _memory_shift(subject, value_at)
            spread = _wider(spread, shift)
            if _noticed(shift):
                groups = sorted({*groups, "memory"})
    for part in alone:
        own = _own_ranges(part, value_at, value_at(part, calibration.load().mid))
        spread = _wider(spread, own if part is subject else (own[1], own[0]))
        if not known and _noticed(own):
            groups = sorted({*groups, *_OWN_GROUPS})
    return spread, words or _unvalidated(groups)


def _memory_shift(part: Accelerator, value_at: ValueAt) -> Spread:
    """What a slightly better or worse share of memory bandwidth on one part alone changes."""
    mid = calibration.load().mid
    middle = value_at(part, mid)
    least, most = 0.0, 0.0
    for shift in (1 - _MEMORY_DIFFERENCE, 1 + _MEMORY_DIFFERENCE):
        shifted = replace(
            mid,
            memory_efficiency=mid.memory_efficiency * shift,
            vector_kernel_efficiency=mid.vector_kernel_efficiency * shift,
        )
        moved = _log(value_at(part, shifted) / middle)
        least, most = smaller(least, moved), larger(most, moved)
    return -least, most


def _own_ranges(part: Accelerator | None, value_at: ValueAt, mid: float) -> Spread:
    return _ranges(lambda p: value_at(part, p), mid, _OWN_GROUPS)[:2]


def _ranges(
    value_at: Callable[[Parameters], float], mid: float, only: tuple[str, ...] = ()
) -> tuple[float, float, list[str]]:
    """How far each group of parameters can move a value, all groups at their worst together.

    Returns the logarithms of mid / low and high / mid, and the groups that matter. An end at which
    there is no answer cannot be reached; its group stands there once more, behind `_REFUSED`.
    """
    shared = calibration.load()
    low = high = 0.0
    moved = []
    for group in only or shared.groups:
        least = most = 0.0
        for parameters in shared.varied(group):
            try:
                value = value_at(parameters)
            except CannotEstimate:
                moved.append(_REFUSED + group)
                continue
            if _vanishes(value, mid):
                moved.append(_REFUSED + group)
            shift = _log(value / mid)
            least, most = smaller(least, shift), larger(most, shift)
        if _noticed((-least, most)):
            moved.append(group)
        counts = larger(-least, most) > _NOTICED
        low, high = low - least * counts, high + most * counts
    return low, high, moved


def _wider(first: Spread, second: Spread) -> Spread:
    """Independent spreads add in quadrature."""
    low, high = ((one**2 + other**2) ** 0.5 for one, other in zip(first, second, strict=True))
    return low, high


def _noticed(spread: Spread) -> bool:
    """Whether it moves the value, or any of them, at all."""
    found: Any = larger(*spread) > _NOTICED
    return bool(found.any()) if hasattr(found, "any") else found


def _vanishes(value: float, mid: float) -> bool:
    """Whether there is no answer where the middle has one, in any place of arrays."""
    if isinstance(mid, float | int):
        return False  # a number is refused by an exception
    import numpy as np

    return bool((np.isnan(value) & ~np.isnan(mid)).any())


def _log(ratio: float) -> float:
    """The natural logarithm, place by place; 0 where there is nothing to compare."""
    if isinstance(ratio, float | int):
        return math.log(ratio) if ratio > 0 else 0.0
    import numpy as np  # only sweeps bring arrays

    found: float = np.log(ratio, out=np.zeros_like(ratio), where=ratio > 0)
    return found


def _unvalidated(groups: list[str]) -> str:
    moved = [name for name in groups if not name.startswith(_REFUSED)]
    refused = [name.removeprefix(_REFUSED) for name in groups if name.startswith(_REFUSED)]
    words = "not validated: follows from specifications alone"
    if moved:
        words = (
            f"not validated: the interval spans the ranges of its parameters: {', '.join(moved)}"
        )
    if refused:
        words += f"; left out is an end of {', '.join(refused)}, at which nothing fits"
    return words
