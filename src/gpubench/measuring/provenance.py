"""Where a measurement comes from: an allow-list of facts, never the process environment.

What names a machine (its hostname, the card's UUID) can be redacted: a short hash still tells two
machines apart and matches two runs of one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path

from gpubench.measuring.device import Device, cpu_name

_PACKAGES = ("torch", "triton", "nvidia-ml-py", "numpy")
_FROM_CARD = {
    "driver": "driver",
    "driver_cuda": "driver_cuda",
    "vbios": "vbios",
    "virtualization": "gpu_virtualization",
    "power_limit_w": "power_limit_w",
    "default_power_limit_w": "default_power_limit_w",
    "ecc_mode": "ecc_mode",
    "mig_mode": "mig_mode",
    "pcie_generation": "pcie_generation",
    "pcie_width": "pcie_width",
    "nvlink_up": "nvlink_up",
    "nvlink_generation": "nvlink_generation",
    "nvlink_ends": "nvlink_ends",
    "nvlink_rates": "nvlink_rates",
    "nvlink_errors": "nvlink_errors",
    "fabric_state": "fabric_state",
    "numa_node": "numa_node",
}


def facts(device: Device, seed: int | None = None, redact: bool = False) -> dict[str, str]:
    """The facts of this machine and device that a reader of the record needs.

    A fact that cannot be had is left out, or told as "refused: …" where the driver gave a reason.
    With `redact`, the hostname and the card's UUID are replaced by short hashes.
    """
    found = {
        "device": device.name,
        "device_kind": device.torch_name,
        "runtime": device.runtime,
        "capability": device.capability,
        "cpu": cpu_name(),
        "kernel": platform.release(),
        "hostname": _named(platform.node(), redact),
        "git_commit": git_commit(),
        "seed": "" if seed is None else str(seed),
    }
    found |= {package: _version(package) for package in _PACKAGES}
    found["machine_virtualization"] = _hypervisor()
    for name, fact in _FROM_CARD.items():
        if name in device.card:
            found[fact] = str(device.card[name])
        elif name in device.refused:
            found[fact] = f"refused: {device.refused[name]}"
    if "uuid" in device.card:
        found["gpu_uuid"] = _named(str(device.card["uuid"]), redact)
    return {name: fact for name, fact in found.items() if fact}


def git_commit(root: Path | None = None) -> str:
    """The commit of gpubench's own checkout, with "-dirty" after local edits; "" when installed."""
    root = root or Path(__file__).parents[3]
    if not (root / ".git").exists() or not (root / "src" / "gpubench").is_dir():
        return ""
    commit = _git(root, "rev-parse", "HEAD")
    edited = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src", "kernels")
    return f"{commit}-dirty" if commit and edited else commit


def _git(root: Path, *words: str) -> str:
    try:
        said = subprocess.check_output(
            ["git", "-C", str(root), *words], stderr=subprocess.DEVNULL, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip()


def _named(text: str, redact: bool) -> str:
    if not (text and redact):
        return text
    return f"redacted-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _hypervisor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """ "guest" when the processor says that a hypervisor runs below, else ""."""
    try:
        text = cpuinfo.read_text("utf-8", errors="replace")
    except OSError:
        return ""
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "guest" if "hypervisor" in flags.split() else ""
