"""Launch latency: what a kernel costs that does next to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpubench.benchmarks import Planned
from gpubench.measuring import Ceilings, Device, Prepared, import_torch, told
from gpubench.measuring.verify import verify
from gpubench.model import Case, Work

QUANTITY = ""
VERSION = 1


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """A round trip by the host's clock, and queued kernels by the device's."""
    del suite
    if device.kind == "cpu":
        return ()
    return tuple(Planned(Case("launch", "torch", {"way": way})) for way in ("round trip", "queued"))


def work(parameters: Mapping[str, Any]) -> Work:
    """Nothing worth counting: it is the time that matters."""
    del parameters
    return Work()


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """One element, one addition. Raises CannotMeasure, WrongResult."""
    del seed
    torch = import_torch()
    with told("preparing launches"):
        one = torch.zeros(1, device=device.torch_name)
        one.add_(1.0)
        checked = verify(one.cpu(), torch.ones(1), 0.0, "an addition")

    def queued() -> None:
        one.add_(1.0)

    def round_trip() -> None:
        one.add_(1.0)
        torch.cuda.synchronize(device.index)

    by_host = case.parameters["way"] == "round trip"
    call = round_trip if by_host else queued
    return Prepared(case, VERSION, work(case.parameters), call, checked, by_host=by_host)


def ceilings(case: Case, device: Device) -> Ceilings:
    """None that is known."""
    del case, device
    return Ceilings()


def release() -> None:
    """Nothing is kept from case to case."""
