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
from gpubench.roofline import (
    calibration,
    capacity,
    ceilings,
    collectives,
    energy,
    hpc,
    llm,
    training,
    validated,
)
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.conditions import Case, settle

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

_MORE_BATCH_HELPS = 1.25
# Memory capacity binds when twice the sequences would give a quarter more, if they fitted.

_MEMORY_DIFFERENCE = 0.03
# Two parts of one die with different memory reach shares of their bandwidth that differ by this
# much: BabelStream triad 89 % on H100, 87 % on H200 (Azure/AI-benchmarking-guide).

_POWER_DIFFERENCE = 0.05
# Two parts of one chip family draw shares of their rated power that differ by this much.


@dataclass(frozen=True, slots=True)
class Found:
    """The model's answer at one set of parameters, in SI units."""

    value: float
    binding: str
    details: Mapping[str, Any] = field(default_factory=dict)


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
    evaluate = _EVALUATORS[asked.quantity]
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
        },
    )


def _whole(case: Case, value: float, up: bool = False) -> float:
    """Ends of an interval of things that are counted are whole."""
    if case.quantity in ("devices_needed", "max_sequences"):
        return float(math.ceil(value - 1e-9) if up else math.floor(value + 1e-9))
    return value


# --------------------------------------------------------------------------- intervals

Evaluator = Callable[[Case, Accelerator | None, Parameters], Found]
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
        if case.quantity == "energy_per_token":
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


def _ranges(
    value_at: Callable[[Parameters], float], mid: float, only: tuple[str, ...] = ()
) -> tuple[float, float, list[str]]:
    """How far each group of parameters can move a value, all groups at their worst together.

    Returns the logarithms of mid / low and high / mid, and the groups that matter.
    """
    shared = calibration.load()
    low = high = 0.0
    moved = []
    for group in only or shared.groups:
        shifts = []
        for parameters in shared.varied(group):
            try:
                value = value_at(parameters)
            except CannotEstimate:
                continue
            shifts.append(math.log(value / mid) if value > 0 else 0.0)
        if shifts and max(map(abs, shifts)) > _NOTICED:
            moved.append(group)
            low, high = low - min(0.0, *shifts), high + max(0.0, *shifts)
    return low, high, moved


def _unvalidated(groups: list[str]) -> str:
    if not groups:
        return "not validated: follows from specifications alone"
    return f"not validated: the interval spans the ranges of its parameters: {', '.join(groups)}"


# --------------------------------------------------------------------------- serving


def _machine(case: Case, part: Accelerator | None, with_: Parameters) -> llm.Machine:
    assert part is not None
    return llm.Machine(part, case.of("gpus"), case.request(), with_)


def _serving(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    machine = _machine(case, part, with_)
    batch, limit = machine.batch(case.of("batch"))
    served = machine.serve(batch, limit)
    prefill, decode = served.prefill, served.decode
    total = prefill + decode
    phase = case.values.get("phase", "serving")
    if phase == "prefill":
        rate, timed = batch * served.input_tokens / prefill.seconds, prefill
    elif phase == "decode":
        rate, timed = batch * served.output_tokens / decode.seconds, decode
    else:
        rate, timed = served.output_rate, total
    details = {
        "batch": batch,
        "batch_limit": limit,
        "gpus": case.of("gpus"),
        "prefill_share": prefill.seconds / total.seconds,
        "time_per_output_token_s": decode.seconds / served.output_tokens,
    }
    binding = _binding(machine, timed.binding)
    if limit == "memory capacity" and phase != "prefill":
        twice = machine.serve(2 * batch)
        seconds = twice.decode.seconds + (0.0 if phase == "decode" else twice.prefill.seconds)
        if 2 * timed.seconds / seconds > _MORE_BATCH_HELPS:
            binding = "memory capacity"
    return Found(rate, binding, details)


def _binding(machine: llm.Machine, name: str) -> str:
    """Compute is called power where the board runs out of it before the units are busy."""
    if name == "compute" and ceilings.power_limited(
        machine.part, machine.request.precision, machine.with_
    ):
        return "power"
    return name


def _first_token(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    machine = _machine(case, part, with_)
    machine.most_sequences()
    timed = machine.prefill(1)
    return Found(timed.seconds, _binding(machine, timed.binding), {"gpus": case.of("gpus")})


def _next_token(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    machine = _machine(case, part, with_)
    batch, limit = machine.batch(case.of("batch"))
    request = machine.request
    timed = machine.decode(batch, request.input_tokens + request.output_tokens / 2)
    details = {"batch": batch, "batch_limit": limit, "gpus": case.of("gpus")}
    return Found(timed.seconds, _binding(machine, timed.binding), details)


def _energy(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    found = _serving(case, part, with_)
    joules = energy.energy_per_token(part, case.of("gpus"), case.of("phase"), found.value, with_)
    return Found(joules, found.binding, found.details)


def _max_sequences(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    return Found(float(_machine(case, part, with_).most_sequences()), "memory capacity")


# --------------------------------------------------------------------------- memory


def _memory(case: Case, gpus: int, with_: Parameters) -> dict[str, float]:
    return capacity.memory_needed(
        case.language_model,
        case.of("use"),
        case.of("precision"),
        case.of("kv_precision"),
        case.of("sequences"),
        case.of("context_tokens"),
        case.of("lora_rank"),
        gpus,
        with_,
    )


def _memory_needed(case: Case, _: Accelerator | None, with_: Parameters) -> Found:
    parts = _memory(case, case.of("gpus"), with_)
    total = sum(parts.values())
    details = {**parts, "total_gb": total / capacity.GB, "total_gib": total / capacity.GIB}
    return Found(total, "memory capacity", details)


def _memory_share(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    found = _memory_needed(case, part, with_)
    room = part.value("memory_capacity") * case.of("gpus")
    return Found(found.value / room, "memory capacity", found.details)


def _devices_needed(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    """Each device keeps its own reserve; the rest is split evenly."""
    assert part is not None
    parts = _memory(case, 1, with_)
    reserve = parts.pop("reserve")
    room = part.value("memory_capacity") - reserve
    if room <= 0:
        raise CannotEstimate(f"{part.name}: the reserve alone fills its memory")
    return Found(float(math.ceil(sum(parts.values()) / room)), "memory capacity", parts)


# --------------------------------------------------------------------------- training


def _training(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    step = training.step(part, case.job(), with_)
    rate = step.tokens / step.time.seconds
    details = {
        "gpus": case.of("gpus"),
        "tensor_parallel": step.tensor_parallel,
        "compute_share": step.time.compute / step.time.seconds,
        "memory_share": step.time.memory / step.time.seconds,
        "communication_share": step.time.wire / step.time.seconds,
    }
    binding = step.binding
    if binding == "compute" and ceilings.power_limited(part, case.of("precision"), with_):
        binding = "power"
    return Found(rate, binding, details)


def _training_time(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    if not case.language_model.layers:
        return _time_of_published_flops(case, part, with_)
    found = _training(case, part, with_)
    return Found(case.of("tokens") / found.value, found.binding, found.details)


def _time_of_published_flops(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    """A model of which only the training FLOP are known: those over the rate, nothing else."""
    assert part is not None
    model = case.language_model
    if not model.training_flops or "tokens" in case.values:
        raise CannotEstimate(f"nobody has published the architecture of {model.name}")
    rate = training.compute_rate(part, case.of("precision"), case.of("utilization"), with_)
    seconds = model.training_flops / (rate * case.of("gpus"))
    return Found(seconds, "compute", {"training_flops": model.training_flops})


def _training_cost(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    if "hourly_rent" not in case.values:
        raise CannotEstimate("training_cost needs hourly_rent, such as '2 USD/h'")
    found = _training_time(case, part, with_)
    cost = found.value * case.of("gpus") * case.of("hourly_rent")
    return Found(cost, found.binding, found.details)


def _communication_share(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    step = training.step(part, case.job(), with_)
    rest = step.time.compute + step.time.memory
    limit = "network" if step.network_s > step.communication_s / 2 else "links"
    return Found(step.communication_s / rest, limit, {"tensor_parallel": step.tensor_parallel})


def _load_time(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    model = case.language_model
    each = capacity.weight_bytes(model, case.of("precision")) / case.of("gpus")
    if case.of("path") == "pcie":
        return Found(each / (ceilings.pcie_peak(part) * with_.pcie_efficiency), "links")
    return Found(each / ceilings.memory_rate(part, with_), "memory bandwidth")


# --------------------------------------------------------------------------- links, network, hpc


def _reduced(case: Case, part: Accelerator | None, message: float, with_: Parameters) -> Found:
    assert part is not None
    gpus, network = case.of("gpus"), case.of("network")
    timed = collectives.all_reduce(part, gpus, message, case.of("reduction"), network, with_)
    binding = timed.binding
    details: dict[str, Any] = {"message_bytes": message}
    if gpus > ceilings.NODE_DEVICES:
        beyond = collectives.network_seconds(gpus, message, network, with_)
        details["network_s"] = beyond
        binding = "network" if beyond > timed.seconds / 2 else binding
    if gpus > 1:
        details["bus_bandwidth"] = collectives.bus_bandwidth(message, gpus, timed.seconds)
    return Found(timed.seconds, binding, details)


def _all_reduce(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    if case.of("gpus") < 2:
        raise CannotEstimate("an all-reduce needs two devices or more")
    return _reduced(case, part, case.of("message"), with_)


def _gradient_sync(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    if case.of("gpus") < 2:
        raise CannotEstimate("gradients of one device need no synchronisation")
    size = capacity.storage_bytes(case.of("precision"))
    return _reduced(case, part, case.language_model.parameters * size, with_)


def _phase_time(case: Case, part: Accelerator | None, _: Parameters) -> Found:
    assert part is not None
    return Found(collectives.relative_phase_time(part, case.of("bandwidth_bound_share")), "links")


def _node_network(case: Case, _: Accelerator | None, __: Parameters) -> Found:
    return Found(case.of("ports") * case.of("port_rate"), "network")


def _hpc(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    return Found(*hpc.rate(part, case.of("kernel"), with_))


_EVALUATORS: dict[str, Evaluator] = {
    "inference_throughput": _serving,
    "time_to_first_token": _first_token,
    "time_per_output_token": _next_token,
    "energy_per_token": _energy,
    "max_sequences": _max_sequences,
    "memory_needed": _memory_needed,
    "memory_share": _memory_share,
    "devices_needed": _devices_needed,
    "training_throughput": _training,
    "training_time": _training_time,
    "training_cost": _training_cost,
    "parameter_load_time": _load_time,
    "gradient_sync_time": _gradient_sync,
    "all_reduce_time": _all_reduce,
    "communication_share": _communication_share,
    "communication_phase_time": _phase_time,
    "node_network_bandwidth": _node_network,
    "hpc_throughput": _hpc,
}
