"""What the model answers for each quantity, at one set of parameters and without an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gpubench.errors import CannotEstimate
from gpubench.model import Accelerator, Engine
from gpubench.roofline import capacity, ceilings, collectives, energy, hpc, llm, memory, training
from gpubench.roofline.calibration import Parameters
from gpubench.roofline.conditions import Case

_MORE_BATCH_HELPS = 1.25
# Memory capacity binds when twice the sequences would give a quarter more, if they fitted.


@dataclass(frozen=True, slots=True)
class Found:
    """The model's answer at one set of parameters, in SI units."""

    value: float
    binding: str
    details: Mapping[str, Any] = field(default_factory=dict)


Evaluator = Callable[[Case, Accelerator | None, Parameters], Found]


# --------------------------------------------------------------------------- serving


def _machine(
    case: Case, part: Accelerator | None, with_: Parameters, engine: Engine
) -> llm.Machine:
    assert part is not None
    return llm.Machine(part, case.of("gpus"), case.request(), with_, engine)


def _split(case: Case) -> dict[str, int]:
    return {"gpus": case.of("gpus"), "pipeline": case.of("pipeline")}


def _engines(case: Case) -> tuple[Engine, ...]:
    return llm.usual(case.of("pipeline"), case.values.get("batch", "max"), case.built_for)


def _serving(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    """By the faster of the usual engines."""

    def run(engine: Engine) -> tuple[llm.Machine, Found]:
        machine = _machine(case, part, with_, engine)
        return machine, _served(machine, case)

    machine, found = max(llm.by_engine(run, _engines(case)), key=lambda one: one[1].value)
    held = machine.device_bytes(found.details["batch"])
    share = held / ceilings.usable_memory(machine.part, with_)
    return replace(found, details={**found.details, "device_bytes": held, "memory_share": share})


def _served(machine: llm.Machine, case: Case) -> Found:
    batch, limit = machine.batch(case.of("batch"))
    phase = case.values.get("phase", "serving")
    # A phase of its own is served as a whole; so is a batch that is stated.
    in_flight = phase == "serving" and limit != "stated"
    serve = machine.serve_in_flight if in_flight else machine.serve
    served = serve(batch, limit)
    prefill, decode = served.prefill, served.decode
    if phase == "prefill":
        rate, timed = batch * served.input_tokens / prefill.seconds, prefill
    elif phase == "decode":
        rate, timed = batch * served.output_tokens / decode.seconds, decode
    else:
        rate, timed = served.output_rate, served.total
    details = {
        "batch": batch,
        "batch_limit": limit,
        **_split(case),
        "prefill_share": prefill.seconds / served.total.seconds,
        "iteration_s": (served.total if in_flight else decode).seconds / served.steps,
        "busy": 1 - timed.idle / timed.seconds,
    }
    binding = machine.limit(timed)
    if limit == "memory capacity" and phase != "prefill":
        twice = serve(2 * batch)
        seconds = (twice.decode if phase == "decode" else twice.total).seconds
        if 2 * timed.seconds / seconds > _MORE_BATCH_HELPS:
            binding = "memory capacity"
    return Found(rate, binding, details)


def _first_token(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    """By the usual engine that starts sooner."""

    def run(engine: Engine) -> Found:
        machine = _machine(case, part, with_, engine)
        machine.most_sequences()
        timed = machine.prefill(1)
        return Found(timed.seconds, machine.limit(timed), _split(case))

    return min(llm.by_engine(run, _engines(case)), key=lambda found: found.value)


def _next_token(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    """By the usual engine that serves more."""

    def run(engine: Engine) -> tuple[float, Found]:
        machine = _machine(case, part, with_, engine)
        batch, limit = machine.batch(case.of("batch"))
        request = machine.request
        timed = machine.decode(batch, request.input_tokens + request.output_tokens / 2)
        details = {"batch": batch, "batch_limit": limit, **_split(case)}
        found = Found(timed.seconds, machine.limit(timed), details)
        return machine.run(case.of("batch")).output_rate, found

    return max(llm.by_engine(run, _engines(case)), key=lambda one: one[0])[1]


def _energy(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    found = _serving(case, part, with_)
    phase, gpus = case.of("phase"), case.of("gpus")
    joules = energy.energy_per_token(part, gpus, phase, found.value, with_, found.details["busy"])
    return Found(joules, found.binding, found.details)


def _token_cost(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    found = _serving(case, part, with_)
    cost = _rent(case) * case.of("gpus") / found.value
    return Found(cost, found.binding, found.details)


def _rent(case: Case) -> float:
    """USD a second of one device. Raises CannotEstimate where nobody states it."""
    if "hourly_rent" not in case.values:
        raise CannotEstimate(f"{case.quantity} needs hourly_rent, such as '2 USD/h'")
    return float(case.of("hourly_rent"))


def _max_sequences(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    rooms = llm.by_engine(
        lambda one: _machine(case, part, with_, one).most_sequences(), _engines(case)
    )
    return Found(float(max(rooms)), "memory capacity")


# --------------------------------------------------------------------------- memory


def _memory(case: Case, gpus: int, with_: Parameters) -> dict[str, float]:
    return memory.needed(
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
    details = {**parts, "total_gb": total / memory.GB, "total_gib": total / memory.GIB}
    return Found(total, "memory capacity", details)


def _memory_share(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    found = _memory_needed(case, part, with_)
    room = ceilings.usable_memory(part, with_) * case.of("gpus")
    return Found(found.value / room, "memory capacity", found.details)


def _devices_needed(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    """Each device keeps its own reserve; the rest is split evenly."""
    assert part is not None
    parts = _memory(case, 1, with_)
    reserve = parts.pop("reserve")
    room = ceilings.usable_memory(part, with_) - reserve
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
    rent = _rent(case)
    found = _training_time(case, part, with_)
    cost = found.value * case.of("gpus") * rent
    return Found(cost, found.binding, found.details)


def _communication_share(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    if case.of("utilization"):
        raise CannotEstimate("a stated utilization leaves no communication to split off")
    step = training.step(part, case.job(), with_)
    if not step.communication_s:
        raise CannotEstimate("one device alone communicates with nobody")
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
    if gpus > ceilings.node_devices(part):
        beyond = collectives.network_seconds(gpus, message, network, with_)
        details["network_s"] = beyond
        # Links and network work at the same time, so that the slower of them is all the time.
        binding = "network" if beyond >= timed.seconds else binding
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
    capacity.check_published(case.language_model)
    size = capacity.storage_bytes(case.of("precision"))
    return _reduced(case, part, case.language_model.parameters * size, with_)


def _phase_time(case: Case, part: Accelerator | None, _: Parameters) -> Found:
    assert part is not None
    share = case.of("bandwidth_bound_share")
    return Found(collectives.relative_phase_time(part, case.parts[-1], share), "links")


def _node_network(case: Case, _: Accelerator | None, __: Parameters) -> Found:
    return Found(case.of("ports") * case.of("port_rate"), "network")


def _hpc(case: Case, part: Accelerator | None, with_: Parameters) -> Found:
    assert part is not None
    return Found(*hpc.rate(part, case.of("kernel"), with_))


EVALUATORS: dict[str, Evaluator] = {
    "inference_throughput": _serving,
    "time_to_first_token": _first_token,
    "time_per_output_token": _next_token,
    "energy_per_token": _energy,
    "cost_per_token": _token_cost,
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
