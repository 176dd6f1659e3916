"""Devices that are planned for and not there: an H200 as its driver tells it, and a processor."""

from __future__ import annotations

from gpubench.measuring import Device

H200 = Device(
    "cuda",
    "NVIDIA H200",
    capability="9.0",
    accelerator="nvidia-h200-sxm",
    memory_total=150_754_820_096,
    memory_free=150_100_000_000,
    cache_bytes=60 * 2**20,
    units=132,
    max_sm_clock_hz=1.98e9,
)
CPU = Device("cpu", "a processor", memory_total=2**34, memory_free=2**34)
