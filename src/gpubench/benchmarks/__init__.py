"""The benchmarks: one file each, and the folder is the registry.

A benchmark is a module with

    DESCRIPTION                       one line for `gpubench list benchmarks`
    QUANTITY                          what of claims it finds, as in `quantities`, or ""
    VERSION                           raised when a change alters what its numbers mean
    plan(device, suite)               the cases to measure there, in order
    work(parameters)                  what one call must do at the least; needs no device
    prepare(case, device, seed)       memory allocated, answer compared: the barest call
    ceilings(case, device)            what no measurement of it can exceed
    release()                         memory kept from case to case goes back

torch and the kernels are imported inside `prepare`, so that listing and planning need neither.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gpubench.errors import UnknownName
from gpubench.measuring import Ceilings, Device, Prepared
from gpubench.model import Case, Work


@dataclass(frozen=True, slots=True)
class Planned:
    """A case, and the phases to measure it in."""

    case: Case
    phases: tuple[str, ...] = ("burst",)


class Benchmark(Protocol):
    """What every module of this folder offers."""

    DESCRIPTION: str
    QUANTITY: str
    VERSION: int

    def plan(self, device: Device, suite: str) -> tuple[Planned, ...]:
        """The cases to measure on a device in a suite, in order."""
        ...

    def work(self, parameters: Mapping[str, Any]) -> Work:
        """What one call must do at the least."""
        ...

    def prepare(self, case: Case, device: Device, seed: int) -> Prepared:
        """Everything up to the call. Raises CannotMeasure, WrongResult."""
        ...

    def ceilings(self, case: Case, device: Device) -> Ceilings:
        """What no measurement of the case can exceed on the device."""
        ...

    def release(self) -> None:
        """Give back what is kept from case to case."""
        ...


def names() -> tuple[str, ...]:
    """Every benchmark by name."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


def get(name: str) -> Any:
    """The benchmark (see Benchmark) of that name. Raises UnknownName."""
    if name not in names():
        raise UnknownName("benchmark", name, names(), "see `gpubench list benchmarks`")
    return importlib.import_module(f"{__name__}.{name}")
