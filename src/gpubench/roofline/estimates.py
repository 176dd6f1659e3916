"""The questions the performance model answers: one quantity, one part or two, one interval.

An estimate evaluates the model at the middle of its parameters; how far that may be off is what
`spreads` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator, Engine, Estimate
from gpubench.quantities import QUANTITIES
from gpubench.roofline import calibration, ceilings, splits, spreads
from gpubench.roofline.conditions import Case, settle
from gpubench.roofline.evaluators import EVALUATORS, Evaluator
from gpubench.units import Quantity, show

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue


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
    noted = _noted(case, asked.parts, evaluate, (found.value,))
    spread, error = spreads.of_one(
        case, part, lambda one, parameters: evaluate(case, one, parameters).value, found.value
    )
    return Estimate(
        low=_whole(case, found.value * math.exp(-spread[0])),
        mid=found.value,
        high=_whole(case, found.value * math.exp(spread[1]), up=True),
        unit=quantity.unit,
        binding_limit=found.binding,
        assumptions=(*case.assumptions, *_widened(case, asked.parts), *noted),
        error=error,
        details=found.details,
    )


def _ratio(case: Case, parts: tuple[Accelerator, ...], evaluate: Evaluator) -> Estimate:
    subject, baseline = parts
    mid = calibration.load().mid
    above, below = evaluate(case, subject, mid), evaluate(case, baseline, mid)
    value = above.value / below.value
    noted = _noted(case, parts, evaluate, (above.value, below.value))
    spread, error = spreads.of_two(
        case, subject, baseline, lambda one, given: evaluate(case, one, given).value, value
    )
    binding = above.binding
    if below.binding != binding:
        binding = f"{above.binding} on {subject.name}, {below.binding} on {baseline.name}"
    return Estimate(
        low=value * math.exp(-spread[0]),
        mid=value,
        high=value * math.exp(spread[1]),
        unit="1",
        binding_limit=binding,
        assumptions=(*case.assumptions, *_widened(case, parts), *noted),
        error=error,
        details={
            "subject": {"value": above.value, "binding_limit": above.binding, **above.details},
            "baseline": {"value": below.value, "binding_limit": below.binding, **below.details},
            "conditions": dict(case.values),
        },
    )


def _noted(
    case: Case,
    parts: Sequence[Accelerator],
    evaluate: Evaluator,
    values: Sequence[float],
) -> tuple[str, ...]:
    """What to say where engines built for fewer sequences would give another throughput than the
    `values` found for the parts, or another ratio of two.

    What sampling keeps for each of them may take most of a small memory; whoever serves there
    builds for fewer, and published figures of such parts depend on it.
    """
    in_flight = case.quantity == "inference_throughput" and case.of("batch") == "max"
    if not in_flight or case.built_for or case.of("phase") != "serving":
        return ()
    mid = calibration.load().mid
    fewer = [
        replace(case, values={**case.values, "engine_sequences": most})
        for most in splits.FEWER_SEQUENCES
    ]
    best = [
        max(value, *(evaluate(one, part, mid).value for one in fewer))
        for part, value in zip(parts, values, strict=True)
    ]
    usual, other = (found[0] / math.prod(found[1:]) for found in (values, best))
    if abs(math.log(other / usual)) < _WORTH_NOTING:
        return ()
    sizes = " or ".join(map(str, splits.FEWER_SEQUENCES))
    if len(parts) > 1:
        would = f"the ratio would be {other:.3g} x"
    else:
        would = f"{parts[0].name} would give {show(Quantity(other, 'token/s'))}"
    return (
        f"engines are built for {Engine().sequences:,} sequences at once, TensorRT-LLM's default; "
        f"built for {sizes}, whichever is faster, {would}",
    )


def _widened(case: Case, parts: Sequence[Accelerator]) -> tuple[str, ...]:
    """In what parts multiply that have no units for the precision in which weights are stored."""
    if not {"batch", "micro_batch", "input_tokens"} & set(case.values):
        return ()  # nothing is multiplied
    stored, by = case.of("precision"), dict[str, list[str]]()
    for part in parts:
        by.setdefault(ceilings.compute_precision(part, stored), []).append(part.name)
    return tuple(
        f"weights are stored in {stored} and multiplied in {computed} on {' and '.join(names)}"
        for computed, names in by.items()
        if computed != stored
    )


_WORTH_NOTING = math.log(1.1)


def _whole(case: Case, value: float, up: bool = False) -> float:
    """Ends of an interval of things that are counted are whole."""
    if case.quantity in ("devices_needed", "max_sequences"):
        return float(math.ceil(value - 1e-9) if up else math.floor(value + 1e-9))
    return value
