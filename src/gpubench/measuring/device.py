"""The device to measure: which one it is, what it has, and what stands against taking its peaks."""

from __future__ import annotations

import importlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gpubench.errors import CannotMeasure, UnknownName
from gpubench.measuring import nvlink, telemetry
from gpubench.measuring.clock import Clock, DeviceClock, HostClock
from gpubench.measuring.faults import first_line
from gpubench.measuring.group import EventClock, Group, GroupClock, Prospect
from gpubench.measuring.host_telemetry import HostTelemetry
from gpubench.measuring.telemetry import NullTelemetry, Telemetry, Value
from gpubench.measuring.torch_telemetry import TorchTelemetry
from gpubench.measuring.trials import Trials
from gpubench.measuring.variant import Facts, Identify, standing
from gpubench.model import Caution


@dataclass(frozen=True)
class Device:
    """What is measured. Memory in bytes, clocks in Hz; zero means that the driver does not say.

    `accelerator` is the catalogue's id, or None when no entry can be taken as it stands; `problems`
    says why. `memory_share` and `compute_share` are the part of that entry's peaks that this device
    has: below 1 on a MIG slice, 0 when unknown. `card` and `refused` are the readings of one run.
    """

    kind: Literal["cpu", "cuda"]
    name: str
    index: int = 0
    runtime: str = ""  # "CUDA 13.0", "ROCm 6.4" or "host"
    capability: str = ""  # "9.0", "gfx942", "x86_64"
    accelerator: str | None = None
    memory_total: int = 0
    memory_free: int = 0
    memory_limit: int = 0  # asked for, to stand for a smaller part
    cache_bytes: int = 0  # the last cache before memory
    units: int = 0
    memory_bus_bits: int = 0
    max_sm_clock_hz: float = 0.0
    max_memory_clock_hz: float = 0.0
    memory_share: float = 1.0
    compute_share: float = 1.0
    problems: tuple[Caution, ...] = ()
    card: Mapping[str, Value] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    telemetry: Telemetry = field(default_factory=NullTelemetry, compare=False, repr=False)
    trials: Trials = field(default_factory=Trials, compare=False, repr=False)
    group: Group | Prospect | None = field(
        default=None, compare=False, repr=False
    )  # of ranks, one of them

    @property
    def torch_name(self) -> str:
        """What torch calls it: "cpu" or "cuda:0"."""
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"

    @property
    def peak_bandwidth(self) -> float | None:
        """Bus width times memory clock, both edges of it, in B/s; None when not told.

        NVML gives the clock of HBM and GDDR so that two bits a pin pass in each cycle; AMD's driver
        counts otherwise from one generation to the next, so nothing is derived there.
        """
        if not (self.memory_bus_bits and self.max_memory_clock_hz and self.memory_share):
            return None
        return self.memory_bus_bits / 8 * 2 * self.max_memory_clock_hz * self.memory_share

    def peak_compute(self, flop_per_clock_per_unit: float) -> float | None:
        """Units times FLOP per clock times the largest clock, in FLOP/s; None when not told."""
        peak = self.units * flop_per_clock_per_unit * self.max_sm_clock_hz
        return peak or None


def find(device: str, identify: Identify | None = None) -> Device | None:
    """The device of that name: "auto", "none", "cpu", "cuda" or "cuda:1".

    "auto" is the first GPU, or None without one; "none" is None. `identify` finds the catalogue
    entry and is `Catalogue.accelerator`; without it no device has one. "cuda" is also what torch
    calls AMD's devices.

    Raises:
        CannotMeasure: a device is asked for that is not there, with the reason.
        UnknownName: no device is ever called so.
    """
    named = re.fullmatch(r"auto|none|cpu|cuda(?::(\d+))?", device)
    if named is None:
        known = ("auto", "none", "cpu", "cuda", "cuda:1")
        raise UnknownName("device", device, known, "write auto, none, cpu, cuda or cuda:1")
    if device == "none" or (device == "auto" and not driver_seems_present()):
        return None
    if device == "auto":
        try:
            return _gpu(0, identify)
        except CannotMeasure:
            return None
    return _cpu() if device == "cpu" else _gpu(int(named[1] or 0), identify)


def why_no_gpu() -> str:
    """Why "auto" finds no GPU, in a sentence; empty when it finds one."""
    if not driver_seems_present():
        return "this machine has no GPU driver"
    try:
        _gpu(0, None)
    except CannotMeasure as error:
        return str(error)
    return ""


def synchronize(device: Device) -> None:
    """Wait until the device has done all that is queued. Raises what torch says when it died."""
    if device.kind == "cuda":
        import_torch().cuda.synchronize(device.index)


def clock_for(device: Device) -> Clock:
    """The clock that times work on this device, or on all devices of its group together."""
    if not isinstance(device.group, Group):
        return HostClock() if device.kind == "cpu" else DeviceClock(device.index)
    each = HostClock() if device.kind == "cpu" else EventClock(import_torch().cuda)
    return GroupClock(device.group, each)


@contextmanager
def current(device: Device) -> Iterator[None]:
    """Make this the device that kernels are launched on, which is otherwise the first one."""
    if device.kind == "cpu":
        yield
        return
    with import_torch().cuda.device(device.index):
        yield


def import_torch() -> Any:
    """The module torch. Raises CannotMeasure when it is missing or broken."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise CannotMeasure(
            f"measuring needs torch ({error}): pip install 'gpubench-claims[gpu]', "
            f"or judge without measuring with --device none"
        ) from None
    except OSError as error:  # a library of torch's is missing, or made for another system
        raise CannotMeasure(f"torch does not load ({error}): install it again") from None


# --------------------------------------------------------------------------- graphics cards


def driver_seems_present() -> bool:
    """Whether any GPU driver has left a device file; importing torch to find out takes seconds."""
    if platform.system() != "Linux":
        return True
    files = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/nvmap")
    return any(Path(name).exists() for name in files)


def _gpu(index: int, identify: Identify | None) -> Device:
    torch = import_torch()
    hip = getattr(torch.version, "hip", None)
    _refuse_without_gpu(torch, index, hip)
    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:
        raise CannotMeasure(
            f"cuda:{index} does not answer ({first_line(error)}): another process may hold it "
            f"alone, or it needs a reset"
        ) from error
    source = _telemetry(torch, index, properties, hip)
    card = source.card()
    units = int(properties.multi_processor_count)
    stands = standing(Facts(properties.name, units, total, card.values), identify)
    return Device(
        kind="cuda",
        name=properties.name,
        index=index,
        runtime=f"ROCm {hip}" if hip else f"CUDA {torch.version.cuda}",
        capability=_capability(properties, hip),
        accelerator=stands.accelerator,
        memory_total=total,
        memory_free=free,
        cache_bytes=int(getattr(properties, "L2_cache_size", 0)),
        units=units,
        memory_bus_bits=0 if hip else int(_told(card.values, "memory_bus_bits", properties)),
        max_sm_clock_hz=_told(card.values, "max_sm_clock_hz", properties),
        max_memory_clock_hz=0.0 if hip else _told(card.values, "max_memory_clock_hz", properties),
        memory_share=stands.memory_share,
        compute_share=stands.compute_share,
        problems=(*stands.problems, *nvlink.problems(card.values, stands.links)),
        card=card.values,
        refused=card.refused,
        telemetry=source,
    )


def _refuse_without_gpu(torch: Any, index: int, hip: str | None) -> None:
    if not (torch.version.cuda or hip):
        raise CannotMeasure(
            f"cuda:{index}: this torch ({torch.__version__}) is built for the CPU alone: "
            f"install a CUDA or ROCm build, or measure this machine's memory with --device cpu"
        )
    if not torch.cuda.is_available():
        raise CannotMeasure(
            f"cuda:{index}: torch sees no GPU ({_why_unavailable(torch)}): check the driver with "
            f"{'rocm-smi' if hip else 'nvidia-smi'}, or use --device cpu"
        )
    count = torch.cuda.device_count()
    if index >= count:
        last = f"cuda:0 to cuda:{count - 1}" if count > 1 else "only cuda:0"
        raise CannotMeasure(f"there is no cuda:{index} on this machine, {last}")


def _why_unavailable(torch: Any) -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "the driver lists no device"


def _telemetry(torch: Any, index: int, properties: Any, hip: str | None) -> Telemetry:
    if hip:
        return TorchTelemetry(torch.cuda, index)
    uuid = str(getattr(properties, "uuid", ""))
    bus_id = ""
    if hasattr(properties, "pci_bus_id"):
        domain, device = properties.pci_domain_id, properties.pci_device_id
        bus_id = f"{domain:08x}:{properties.pci_bus_id:02x}:{device:02x}.0"
    return telemetry.connect(uuid, bus_id, properties.name)


def _capability(properties: Any, hip: str | None) -> str:
    if hip:  # "gfx942:sramecc+:xnack-"
        return str(getattr(properties, "gcnArchName", "")).partition(":")[0]
    return f"{properties.major}.{properties.minor}"


# Where torch has what NVML may refuse, and what that is in SI; its clocks are in kHz.
_TORCH_HAS = {
    "memory_bus_bits": ("memory_bus_width", 1.0),
    "max_sm_clock_hz": ("clock_rate", 1e3),
    "max_memory_clock_hz": ("memory_clock_rate", 1e3),
}


def _told(values: Mapping[str, Value], name: str, properties: Any) -> float:
    """A figure by NVML, else by torch, else zero."""
    found = values.get(name)
    if isinstance(found, int | float):
        return float(found)
    attribute, scale = _TORCH_HAS[name]
    return float(getattr(properties, attribute, 0) or 0) * scale


# --------------------------------------------------------------------------- the host


def _cpu() -> Device:
    import_torch()
    memory = _fields(Path("/proc/meminfo"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Device(
        kind="cpu",
        name=cpu_name(),
        runtime="host",
        capability=platform.machine(),
        memory_total=_kib(memory.get("MemTotal", "")),
        memory_free=_kib(memory.get("MemAvailable", "")),
        cache_bytes=_last_cache_bytes(Path("/sys/devices/system/cpu")),
        units=cores or 1,
        telemetry=HostTelemetry(),
    )


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model, or what kind it is where the kernel does not name it."""
    return _fields(cpuinfo).get("model name") or platform.processor() or platform.machine()


def _fields(path: Path) -> dict[str, str]:
    """The first value of each `name : value` line of a file under /proc; empty without the file."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _kib(text: str) -> int:
    """ "24053616 kB" in bytes; the kernel's kB are KiB."""
    number = text.split(" ")[0]
    return int(number) * 1024 if number.isdigit() else 0


def _last_cache_bytes(cpus: Path) -> int:
    """All last-level caches together, as far as the kernel tells: each is counted once."""
    instances: dict[str, int] = {}
    for cpu in cpus.glob("cpu[0-9]*"):
        levels = sorted(cpu.glob("cache/index[0-9]"))
        if not levels:
            continue
        try:
            shared = (levels[-1] / "shared_cpu_list").read_text("ascii").strip()
            size = (levels[-1] / "size").read_text("ascii").strip()
        except OSError:
            continue
        if re.fullmatch(r"\d+K", size):
            instances[shared] = int(size[:-1]) * 1024
    return sum(instances.values())
