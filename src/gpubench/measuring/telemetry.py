"""What the card says of itself, through NVML: a few readings a block, the rest once a run.

A query that the driver refuses is never a zero: it is missing from the values, and `refused` has
the reason. Only a card that is gone is an error, since nothing after it would mean anything.

The bindings come from the package nvidia-ml-py, which imports as pynvml, and are imported inside.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from gpubench.errors import DeviceLost
from gpubench.measuring import nvlink

Value = float | int | str

REASONS: dict[int, str] = {
    0x001: "idle",
    0x002: "application clocks",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "power brake",
    0x100: "display clock",
    0x200: "board limit",
    0x400: "reliability limit",
}
"""Clock-event reasons by bit, as nvml.h numbers them (nvmlClocksEventReason…)."""

THROTTLING = 0x004 | 0x008 | 0x020 | 0x040 | 0x080 | 0x200 | 0x400
"""The bits that mean the card runs slower than it was asked to."""


LAUNCHER_VARIABLE = "GPUBENCH_LAUNCHER"
"""Holds the number of the process that started this one as a rank, and may still have a context on
the card that it had measured itself."""


@dataclass(frozen=True)
class Reading:
    """Values by name, and for each refused query the driver's reason. See docs/measuring.md."""

    values: Mapping[str, Value] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


class Telemetry(Protocol):
    """Where readings come from."""

    def read(self) -> Reading:
        """The readings of one block: clocks, power, energy, temperature, reasons, processes.

        Raises DeviceLost when the card is gone.
        """
        ...

    def card(self) -> Reading:
        """The readings of one run: identity, limits, ECC, MIG, PCIe and NVLink.

        Raises DeviceLost when the card is gone.
        """
        ...


@dataclass(frozen=True)
class NullTelemetry:
    """No telemetry, and why."""

    why: str = "this device has no telemetry"

    def read(self) -> Reading:
        """Nothing, with the reason."""
        return Reading(refused={"telemetry": self.why})

    def card(self) -> Reading:
        """Nothing, with the reason."""
        return Reading(refused={"telemetry": self.why})


def reason_names(mask: int) -> tuple[str, ...]:
    """The reasons whose bits are set, lowest first; a bit nobody has named is told by number."""
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    return tuple(REASONS.get(bit, f"unknown {bit:#x}") for bit in bits)


def connect(uuid: str = "", pci_bus_id: str = "", name: str = "") -> Telemetry:
    """Telemetry of the card or MIG slice that torch knows by these, or NullTelemetry and why not.

    torch and NVML number cards in different orders, so a number alone would find the wrong one.
    """
    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return NullTelemetry("nvidia-ml-py is not installed: pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
        handle = _handle(pynvml, uuid.removeprefix("GPU-").removeprefix("MIG-"), pci_bus_id, name)
        if handle is None:
            return NullTelemetry("NVML does not list the device that torch uses")
        return NvmlTelemetry(*handle)
    except pynvml.NVMLError as error:
        return NullTelemetry(f"the driver has no NVML to ask: {error}")


class NvmlTelemetry:
    """One NVIDIA card, or one MIG slice of it, through NVML.

    `handle` is what NVML gave for the device or slice, `board` the one of the whole card, which
    knows clocks, power and links. They are the same without MIG.
    """

    def __init__(self, handle: Any, board: Any = None) -> None:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]

        self._nvml: Any = pynvml
        self._handle, self._board = handle, handle if board is None else board

    def read(self) -> Reading:
        """See Telemetry."""
        ask = _Questions(self._nvml)
        n, board = self._nvml, self._board
        ask.one("sm_clock_hz", lambda: n.nvmlDeviceGetClockInfo(board, n.NVML_CLOCK_SM) * 1e6)
        ask.one("memory_clock_hz", lambda: n.nvmlDeviceGetClockInfo(board, n.NVML_CLOCK_MEM) * 1e6)
        ask.one("power_w", self._power)
        ask.one("total_energy_j", lambda: n.nvmlDeviceGetTotalEnergyConsumption(board) * 1e-3)
        ask.one("temperature_c", lambda: n.nvmlDeviceGetTemperature(board, n.NVML_TEMPERATURE_GPU))
        ask.one("memory_temperature_c", lambda: self._field(n.NVML_FI_DEV_MEMORY_TEMP))
        ask.many("clock_event_reasons", self._reasons)
        for cause, policy in _POLICIES.items():
            ask.one(f"{cause}_violation_s", partial(self._violation, policy))
        ask.one("other_processes", self._other_processes)
        return ask.answer()

    def card(self) -> Reading:
        """See Telemetry."""
        ask = _Questions(self._nvml)
        self._ask_identity(ask)
        self._ask_limits(ask)
        self._ask_modes(ask)
        self._ask_links(ask)
        return ask.answer()

    def _ask_identity(self, ask: _Questions) -> None:
        n, board = self._nvml, self._board
        ask.one("name", lambda: n.nvmlDeviceGetName(board))
        ask.one("uuid", lambda: n.nvmlDeviceGetUUID(self._handle))
        ask.one("driver", n.nvmlSystemGetDriverVersion)
        ask.one("driver_cuda", lambda: _cuda_version(n.nvmlSystemGetCudaDriverVersion()))
        ask.one("vbios", lambda: n.nvmlDeviceGetVbiosVersion(board))
        ask.one("virtualization", lambda: _VIRTUALIZATION[n.nvmlDeviceGetVirtualizationMode(board)])

    def _ask_limits(self, ask: _Questions) -> None:
        n, board = self._nvml, self._board
        ask.one("power_limit_w", lambda: n.nvmlDeviceGetEnforcedPowerLimit(board) * 1e-3)
        ask.one(
            "default_power_limit_w",
            lambda: n.nvmlDeviceGetPowerManagementDefaultLimit(board) * 1e-3,
        )
        ask.one(
            "max_sm_clock_hz", lambda: n.nvmlDeviceGetMaxClockInfo(board, n.NVML_CLOCK_SM) * 1e6
        )
        ask.one(
            "max_memory_clock_hz",
            lambda: n.nvmlDeviceGetMaxClockInfo(board, n.NVML_CLOCK_MEM) * 1e6,
        )
        ask.one("memory_bus_bits", lambda: n.nvmlDeviceGetMemoryBusWidth(board))
        ask.one("board_memory_bytes", lambda: n.nvmlDeviceGetMemoryInfo(board).total)

    def _ask_modes(self, ask: _Questions) -> None:
        n, board = self._nvml, self._board
        ask.one("ecc_mode", lambda: _ON_OFF[n.nvmlDeviceGetEccMode(board)[0]])
        ask.one(
            "ecc_corrected_errors",
            lambda: self._ecc_errors(n.NVML_MEMORY_ERROR_TYPE_CORRECTED),
        )
        ask.one(
            "ecc_uncorrected_errors",
            lambda: self._ecc_errors(n.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        )
        ask.one("mig_mode", lambda: _ON_OFF[n.nvmlDeviceGetMigMode(board)[0]])
        if self._handle is not self._board:
            ask.many("mig_slice", self._slice)
        ask.one("persistence_mode", lambda: _ON_OFF[n.nvmlDeviceGetPersistenceMode(board)])
        ask.one("other_processes", self._other_processes)

    def _ask_links(self, ask: _Questions) -> None:
        n, board = self._nvml, self._board
        ask.one("pcie_generation", lambda: n.nvmlDeviceGetCurrPcieLinkGeneration(board))
        ask.one("pcie_width", lambda: n.nvmlDeviceGetCurrPcieLinkWidth(board))
        ask.one("max_pcie_generation", lambda: n.nvmlDeviceGetMaxPcieLinkGeneration(board))
        ask.one("max_pcie_width", lambda: n.nvmlDeviceGetMaxPcieLinkWidth(board))
        nvlink.ask(ask, n, board, _gone(n))

    def _power(self) -> float:
        """Watts now; older drivers know only one power, which newer cards average over a second."""
        n = self._nvml
        try:
            return float(self._field(n.NVML_FI_DEV_POWER_INSTANT)) * 1e-3
        except n.NVMLError as error:
            if error.value in _gone(n):
                raise
            return float(n.nvmlDeviceGetPowerUsage(self._board)) * 1e-3

    def _reasons(self) -> dict[str, Value]:
        n = self._nvml
        try:
            mask = int(n.nvmlDeviceGetCurrentClocksEventReasons(self._board))
        except n.NVMLError as error:
            if error.value != n.NVML_ERROR_FUNCTION_NOT_FOUND:
                raise
            mask = int(n.nvmlDeviceGetCurrentClocksThrottleReasons(self._board))  # before 535
        return {
            "clock_event_reasons": ", ".join(reason_names(mask)),
            "clock_event_mask": mask,
        }

    def _violation(self, policy: str) -> float:
        """Seconds, counted by the driver, for which the clocks were held back by one policy."""
        number = getattr(self._nvml, f"NVML_PERF_POLICY_{policy}")
        found = self._nvml.nvmlDeviceGetViolationStatus(self._board, number)
        return float(found.violationTime) * 1e-9

    def _ecc_errors(self, kind: int) -> int:
        """Memory errors of a kind since the driver was loaded."""
        n = self._nvml
        return int(n.nvmlDeviceGetTotalEccErrors(self._board, kind, n.NVML_VOLATILE_ECC))

    def _other_processes(self) -> int:
        """How many compute processes there are beside ours.

        Ask once this process holds memory on the device.
        """
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        launcher = os.environ.get(LAUNCHER_VARIABLE, "")
        own = {os.getpid(), *([int(launcher)] if launcher.isdigit() else [])}
        return others({process.pid for process in running}, os.getpid(), own)

    def _slice(self) -> dict[str, Value]:
        attributes = self._nvml.nvmlDeviceGetAttributes(self._handle)
        return {
            "mig_slice_units": int(attributes.multiprocessorCount),
            "mig_slice_memory_bytes": int(attributes.memorySizeMB) * 2**20,
        }

    def _field(self, number: int) -> float:
        """One field value. Raises NVMLError when the call or this field is refused."""
        n = self._nvml
        found = n.nvmlDeviceGetFieldValues(self._board, [number])[0]
        if found.nvmlReturn != n.NVML_SUCCESS:
            raise n.NVMLError(found.nvmlReturn)
        member = _FIELD_MEMBERS[found.valueType]
        return float(getattr(found.value, member))


class _Questions:
    """Asks one query after another and sorts answers from refusals."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._values: dict[str, Value] = {}
        self._refused: dict[str, str] = {}

    def one(self, name: str, query: Callable[[], Value]) -> bool:
        """Ask for one value; whether it was given."""
        return self.many(name, lambda: {name: query()})

    def many(self, name: str, query: Callable[[], Mapping[str, Value]]) -> bool:
        """Ask for several values at once; a refusal is kept under `name`."""
        try:
            self._values.update(query())
        except self._nvml.NVMLError as error:
            if error.value in _gone(self._nvml):
                raise DeviceLost(
                    f"the GPU is gone ({error}): see dmesg for its Xid, reset or reboot, "
                    f"and continue with --resume"
                ) from error
            self._refused[name] = str(error)
        except KeyError as error:
            self._refused[name] = f"the driver answered {error}, which this version cannot read"
        except AttributeError as error:
            self._refused[name] = f"this nvidia-ml-py cannot ask for it: {error}"
        return name not in self._refused

    def answer(self) -> Reading:
        """All that was asked."""
        return Reading(self._values, self._refused)


def others(running: set[int], this: int, own: set[int]) -> int:
    """How many of the processes running on a card are not our own, of which this one is one.

    A container sees the host's process numbers, so ours may not be among them: then as many of
    those listed are taken to be ours as there may be.
    """
    return len(running - own) if this in running else max(0, len(running) - len(own))


# nvmlValueType_t, by nvml.h: which member of the union holds the value.
_FIELD_MEMBERS = {
    0: "dVal",
    1: "uiVal",
    2: "ulVal",
    3: "ullVal",
    4: "sllVal",
    5: "siVal",
    6: "usVal",
}
# nvmlPerfPolicyType_t: what may hold clocks back, and the driver counts for how long.
_POLICIES = {
    "power": "POWER",
    "thermal": "THERMAL",
    "board": "BOARD_LIMIT",
    "reliability": "RELIABILITY",
}
_VIRTUALIZATION = {0: "none", 1: "passthrough", 2: "vgpu", 3: "vgpu host", 4: "vsga host"}
_ON_OFF = {0: "off", 1: "on"}


def _handle(nvml: Any, uuid: str, pci_bus_id: str, name: str) -> tuple[Any, Any] | None:
    """(handle, handle of the whole card) of a device, or None when NVML has no such one."""
    ways: list[Callable[[], Any]] = []
    if uuid:
        ways += [
            lambda: nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}"),
            lambda: nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"),
        ]
    if pci_bus_id:
        ways.append(lambda: nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id))
    if nvml.nvmlDeviceGetCount() == 1:
        ways.append(lambda: _only(nvml, name))
    for place, way in enumerate(ways):
        try:
            handle = way()
        except nvml.NVMLError:
            continue
        if handle is not None:
            of_slice = bool(uuid) and place == 0
            board = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle) if of_slice else None
            return handle, board
    return None


def _only(nvml: Any, name: str) -> Any:
    """The only card there is, if it has that name."""
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    return handle if nvml.nvmlDeviceGetName(handle) == name else None


def _gone(nvml: Any) -> tuple[int, int]:
    return (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED)


def _cuda_version(number: int) -> str:
    """13020 as "13.2"."""
    return f"{number // 1000}.{number % 1000 // 10}"
