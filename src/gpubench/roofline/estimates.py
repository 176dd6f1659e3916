"""The questions the performance model answers: one quantity, one part or two, one interval.

An estimate evaluates the model at the middle of its parameters. Its interval is the validated
90 % error of that kind of estimate where published measurements exist, and the range of the
parameters where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator, Estimate
from gpubench.quantities import QUANTITIES
from gpubench.roofline import calibration, ceilings, validated
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.conditions import Case, settle
from gpubench.roofline.evaluators import EVALUATORS, Evaluator

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

_MEMORY_DIFFERENCE = 0.03
# Two parts of one die with different memory reach shares of their bandwidth that differ by this
# much: BabelStream triad 89 % on H100, 87 % on H200 (Azure/AI-benchmarking-guide).

_POWER_DIFFERENCE = 0.05
# Two parts of one chip family draw shares of their rated power that differ by this much.


@dataclass(frozen=True)
class _Question:
    """What is asked; equal questions have one answer. Objects are told apart by identity."""

    key: tuple[Any, ...]
    quantity: str = field(compare=False)
    parts: tuple[Accelerator, ...] = field(compare=False)
    conditions: Mapping[str, Any] = field(compare=False)
    catalogue: Catalogue = field(compare=False)


def estimate(
    quantity: str,
    subject: Accelerator | None,
    conditions: Mapping[str, Any],
    catalogue: Catalogue,
) -> Estimate:
    """A quantity of one part, in the SI unit of `quantities.QUANTITIES`.

    Args:
        quantity: a quantity found by estimate, such as "inference_throughput".
        subject: the part; None for the quantities that have none ("memory_needed").
        conditions: SI values by condition name; what is missing gets a default that is named in
            the assumptions (`conditions.DEFAULTS`).
        catalogue: where the language model is looked up.

    Raises:
        CannotEstimate: the model has no answer under these conditions.
        DoesNotFit: weights, cache or state exceed the memory.
        MissingFigure: the catalogue lacks a figure of the part that is needed.
        UnknownName: no such language model.
    """
    parts = () if subject is None else (subject,)
    return _answer(_question(quantity, parts, conditions, catalogue))


def estimate_ratio(
    quantity: str,
    subject: Accelerator,
    baseline: Accelerator,
    conditions: Mapping[str, Any],
    catalogue: Catalogue,
) -> Estimate:
    """The same quantity of subject over baseline, unit "1"; arguments and errors as `estimate`.

    What is uncertain about both parts alike cancels, so the interval is that of the ratio itself.
    """
    return _answer(_question(quantity, (subject, baseline), conditions, catalogue))


def _question(
    quantity: str,
    parts: tuple[Accelerator, ...],
    conditions: Mapping[str, Any],
    catalogue: Catalogue,
) -> _Question:
    key = (
        quantity,
        *(id(part) for part in parts),
        id(catalogue),
        frozenset(conditions.items()),
    )
    return _Question(key, quantity, parts, dict(conditions), catalogue)


@lru_cache(maxsize=32768)
def _answer(asked: _Question) -> Estimate:
    shared = calibration.load()
    case = settle(asked.quantity, asked.conditions, asked.parts, asked.catalogue, shared.mid)
    quantity = QUANTITIES[asked.quantity]
    if not asked.parts and quantity.subject != "none":
        raise CannotEstimate(f"{asked.quantity} needs an accelerator")
    evaluate = EVALUATORS[asked.quantity]
    if len(asked.parts) == 2:
        return _ratio(case, asked.parts, evaluate)
    part = asked.parts[0] if asked.parts else None
    if case.quantity == "communication_phase_time":
        raise CannotEstimate("communication_phase_time is known only as a ratio of two parts")
    found = evaluate(case, part, shared.mid)
    spread, error = _spread_of_one(case, part, evaluate, found.value)
    return Estimate(
        low=_whole(case, found.value * math.exp(-spread[0])),
        mid=found.value,
        high=_whole(case, found.value * math.exp(spread[1]), up=True),
        unit=quantity.unit,
        binding_limit=found.binding,
        assumptions=case.assumptions,
        error=error,
        details=found.details,
    )


def _ratio(case: Case, parts: tuple[Accelerator, ...], evaluate: Evaluator) -> Estimate:
    subject, baseline = parts
    mid = calibration.load().mid
    above, below = evaluate(case, subject, mid), evaluate(case, baseline, mid)
    value = above.value / below.value
    spread, error = _spread_of_two(case, subject, baseline, evaluate, value)
    binding = above.binding
    if below.binding != binding:
        binding = f"{above.binding} on {subject.name}, {below.binding} on {baseline.name}"
    return Estimate(
        low=value * math.exp(-spread[0]),
        mid=value,
        high=value * math.exp(spread[1]),
        unit="1",
        binding_limit=binding,
        assumptions=case.assumptions,
        error=error,
        details={
            "subject": {"value": above.value, "binding_limit": above.binding, **above.details},
            "baseline": {"value": below.value, "binding_limit": below.binding, **below.details},
            "conditions": dict(case.values),
        },
    )


def _whole(case: Case, value: float, up: bool = False) -> float:
    """Ends of an interval of things that are counted are whole."""
    if case.quantity in ("devices_needed", "max_sequences"):
        return float(math.ceil(value - 1e-9) if up else math.floor(value + 1e-9))
    return value


# --------------------------------------------------------------------------- intervals

Spread = tuple[float, float]  # natural logarithms of mid / low and high / mid


def _spread_of_one(
    case: Case, part: Accelerator | None, evaluate: Evaluator, mid: float
) -> tuple[Spread, str]:
    known = validated.absolute(case, part) if part is not None else None
    if known is None:
        low, high, groups = _ranges(lambda p: evaluate(case, part, p).value, mid)
        return (low, high), _unvalidated(groups)
    spread, words = (known.log_error, known.log_error), known.words
    if known.foreign:
        spread = _wider(spread, _own_ranges(case, part, evaluate, mid))
    if case.quantity == "energy_per_token":
        power = _ranges(lambda p: evaluate(case, part, p).value, mid, ("power",))
        spread = _wider(spread, power[:2])
        words = f"throughput {words}; the share of rated power drawn is a range"
    return spread, words


def _spread_of_two(
    case: Case, subject: Accelerator, baseline: Accelerator, evaluate: Evaluator, mid: float
) -> tuple[Spread, str]:
    known = validated.ratio(case, subject, baseline)
    groups: list[str] = []
    if known:
        spread, words = (known.log_error, known.log_error), known.words
        alone = known.foreign
        if case.quantity == "energy_per_token" and subject != baseline:
            spread = _wider(spread, (_POWER_DIFFERENCE, _POWER_DIFFERENCE))
            words += "; power shares of the parts may differ by 5 %"
    else:

        def together(parameters: Parameters) -> float:
            above = evaluate(case, subject, parameters).value
            return above / evaluate(case, baseline, parameters).value

        low, high, groups = _ranges(together, mid)
        spread, words = (low, high), ""
        alone = () if ceilings.same_silicon(subject, baseline) else (subject, baseline)
        if subject.id != baseline.id and not alone:
            shift = _memory_shift(case, subject, evaluate)
            spread = _wider(spread, shift)
            if max(shift) > _NOTICED:
                groups = sorted({*groups, "memory"})
    for part in alone:
        value = evaluate(case, part, calibration.load().mid).value
        own = _own_ranges(case, part, evaluate, value)
        spread = _wider(spread, own if part is subject else (own[1], own[0]))
        if not known and max(own) > _NOTICED:
            groups = sorted({*groups, *_OWN_GROUPS})
    return spread, words or _unvalidated(groups)


def _memory_shift(case: Case, part: Accelerator, evaluate: Evaluator) -> Spread:
    """What a slightly better or worse share of memory bandwidth on one part alone changes."""
    mid = calibration.load().mid
    middle = evaluate(case, part, mid).value
    logs = []
    for shift in (1 - _MEMORY_DIFFERENCE, 1 + _MEMORY_DIFFERENCE):
        shifted = replace(
            mid,
            memory_efficiency=mid.memory_efficiency * shift,
            vector_kernel_efficiency=mid.vector_kernel_efficiency * shift,
        )
        logs.append(math.log(evaluate(case, part, shifted).value / middle))
    return -min(logs), max(logs)


def _wider(first: Spread, second: Spread) -> Spread:
    """Independent spreads add in quadrature."""
    return math.hypot(first[0], second[0]), math.hypot(first[1], second[1])


def _own_ranges(case: Case, part: Accelerator | None, evaluate: Evaluator, mid: float) -> Spread:
    return _ranges(lambda p: evaluate(case, part, p).value, mid, _OWN_GROUPS)[:2]


_OWN_GROUPS = ("memory", "compute", "power")
# Physics that two different chips do not share.

_NOTICED = 1e-3
_REFUSED = "-"


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
        shifts = [0.0]
        for parameters in shared.varied(group):
            try:
                value = value_at(parameters)
            except CannotEstimate:
                moved.append(_REFUSED + group)
                continue
            shifts.append(math.log(value / mid) if value > 0 else 0.0)
        if max(map(abs, shifts)) > _NOTICED:
            moved.append(group)
            low, high = low - min(shifts), high + max(shifts)
    return low, high, moved


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
