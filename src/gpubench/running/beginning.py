"""The record that a run begins with: a new one for this device, or the one to continue."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from gpubench import measuring, records
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure, DeviceLost, RecordError
from gpubench.measuring import Device, nvlink, provenance
from gpubench.model import Caution
from gpubench.records import Asked, RunRecord
from gpubench.running import mishaps


@dataclass(frozen=True)
class Request:
    """What a run is asked to do.

    `device` is "auto", "none", "cpu" or "cuda[:N]"; `suite` names a plan of `measuring.PLANS`;
    `only` names claims to judge and `benchmarks` what to measure, all of them if empty; `resume` is
    the id of a record that was cut short, or its beginning; `memory_limit` are bytes of memory to
    do with, as on a smaller part, 0 for all; `time_limit_s` is how long to measure, 0 for as long
    as it takes.
    """

    claims: Path
    results: Path
    device: str = "auto"
    suite: str = "standard"
    only: tuple[str, ...] = ()
    seed: int = 0
    redact: bool = False
    resume: str = ""
    benchmarks: tuple[str, ...] = ()
    ranks: int = 0
    memory_limit: int = 0
    time_limit_s: float = 0.0


def continued(request: Request) -> Request:
    """The request with what the record to continue was asked for, wherever it says nothing itself.

    Raises:
        RecordError: no such record.
    """
    if not request.resume:
        return request
    record = records.read(records.find(request.results, request.resume))
    asked, limit = record.asked, record.environment.get("memory_limit", "0")
    return replace(
        request,
        device=asked.device or request.device if request.device == "auto" else request.device,
        suite=record.suite,
        seed=record.seed,
        benchmarks=request.benchmarks or asked.benchmarks,
        ranks=request.ranks or asked.ranks,
        memory_limit=request.memory_limit or int(limit),
    )


def begun(request: Request, catalogue: Catalogue) -> tuple[RunRecord, Device | None]:
    """A new record for this device, or the one to continue; and the device, if there is one.

    Raises:
        CannotMeasure: a device is named that is not here, or not the one to continue on.
        RecordError: no such record.
    """
    device = measuring.find(request.device, catalogue.accelerator)
    if request.memory_limit:
        if device is None:
            raise CannotMeasure("no device whose memory to limit: leave out --memory-limit")
        device = measuring.limited(device, request.memory_limit)
    if request.resume:
        return _resumed(request, device), device
    record = RunRecord(
        id=records.new_id(),
        created=records.now(),
        accelerator=_folder(device),
        environment=records.environment(),
        device=device.name if device else "none",
        seed=request.seed,
        complete=not device,
    )
    if device is None:
        return record, None
    told = provenance.facts(device, request.seed, request.redact)
    within = {"memory_limit": str(device.memory_limit)} if device.memory_limit else {}
    return replace(
        record,
        environment={**record.environment, **told, **within},
        suite=request.suite,
        cautions=device.problems,
        device_figures=_figures(device),
        asked=Asked(device.torch_name, tuple(dict.fromkeys(request.benchmarks)), request.ranks),
    ), device


def _resumed(request: Request, device: Device | None) -> RunRecord:
    path = records.find(request.results, request.resume)
    record = records.read(path)
    fatal = {c: why for c, why in record.failures.items() if why.startswith(mishaps.FATAL)}
    if record.complete and len(fatal) == len(record.failures):
        raise RecordError(f"{path} is complete: there is nothing to continue")
    if device is None or device.name != record.device:
        here = device.name if device else "no device"
        raise CannotMeasure(
            f"{path} was measured on {record.device}, and here is {here}: "
            "continue on that device, or start a new run without --resume"
        )
    before, now = record.environment.get("memory_limit", "0"), str(device.memory_limit)
    if before != now:
        raise CannotMeasure(
            f"{path} was measured within {before} bytes of memory (0 for all of it), and now it is "
            f"{now}: say --memory-limit as then, or start a new run without --resume"
        )
    for name, before in record.environment.items():
        if name in _SAME and before not in (known := _known(name, device)):
            raise CannotMeasure(
                f"{path} was measured with {name.replace('_', ' ')} {before}, and here it is "
                f"{known[0] or 'not told'}: continue there, or start a new run without --resume"
            )
    # What failed is tried again, but for what would hang or kill the device once more.
    return replace(
        record,
        failures=fatal,
        complete=False,
        asked=_asked_too(record.asked, device, request),
        schema=records.SCHEMA,
    )


def _asked_too(before: Asked, device: Device, request: Request) -> Asked:
    """What a record is to hold in the end: all that was asked for at any time."""
    both = tuple(dict.fromkeys((*before.benchmarks, *request.benchmarks)))
    if not before.device:  # of an older record nobody knows, so that this run says it
        both = tuple(dict.fromkeys(request.benchmarks))
        return Asked(device.torch_name, both, request.ranks)
    every = not before.benchmarks or not request.benchmarks
    return Asked(device.torch_name, () if every else both, request.ranks or before.ranks)


# What the two halves of one record must have in common.
_SAME = ("gpubench", "torch", "triton", "driver", "gpu_uuid")


def _known(name: str, device: Device) -> tuple[str, ...]:
    """A fact of this machine, as it stands and as redacted."""
    if name == "gpubench":
        return (records.environment()[name],)
    return tuple(provenance.facts(device, redact=hide).get(name, "") for hide in (False, True))


def with_allocatable(record: RunRecord, device: Device) -> RunRecord:
    """The record with the memory that can be allocated there, unless it has it or nobody may try.

    Raises DeviceLost.
    """
    figures = record.device_figures
    if "memory_capacity" not in figures or _ALLOCATABLE in figures or device.memory_limit:
        return record
    try:
        found = measuring.allocatable_bytes(device)
    except DeviceLost:
        raise
    except CannotMeasure as error:
        untried = Caution("not-allocated", "how much memory can be had is not known", str(error))
        return replace(record, cautions=(*record.cautions, untried))
    return replace(record, device_figures={**figures, _ALLOCATABLE: float(found)})


_ALLOCATABLE = "allocatable_memory"


def _folder(device: Device | None) -> str:
    """The folder of a record: the accelerator's id, or the device's name made safe for a path."""
    if device is None:
        return records.NO_ACCELERATOR
    if device.accelerator:
        return device.accelerator
    return re.sub(r"[^a-z0-9]+", "-", f"{device.kind} {device.name}".lower()).strip("-")


def _figures(device: Device) -> dict[str, float]:
    """What the driver says of the whole card, by quantity, in SI; nothing of a slice of one."""
    if device.kind == "cpu" or (device.memory_share, device.compute_share) != (1.0, 1.0):
        return {}
    card = device.card
    told = {
        "memory_capacity": card.get("board_memory_bytes", device.memory_total),
        "memory_bandwidth": device.peak_bandwidth,
        "max_memory_clock": device.max_memory_clock_hz,
        "max_clock": device.max_sm_clock_hz,
        "compute_units": device.units,
        "board_power": card.get("default_power_limit_w"),
        "interconnect_links": card.get("nvlink_up"),
        "interconnect_bandwidth": nvlink.bandwidth(card),
        "pcie_generation": card.get("max_pcie_generation"),
    }
    return {
        name: float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and value
    }
