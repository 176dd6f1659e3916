"""A clock that empties the caches before each call, for times of data met for the first time.

A buffer of several times the last cache is written before every call. On a GPU a first one more
keeps the device busy while the host queues the call, and every one the device is busy with until
the next call is queued, so that no launch is paid for; only what lies between the two events
counts. Calls that the device may have waited for all the same are told in `host_bound`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gpubench.measuring.clock import Call, HostClock
from gpubench.measuring.device import Device, import_torch

_CACHES = 3
_HEAD_START = 16  # each tens of microseconds
_LEAST_BYTES, _UNKNOWN_CACHE = 2**25, 2**26


class FlushingClock(HostClock):
    """Times single calls, each after its caches were emptied; see Clock."""

    most_calls = 1

    def __init__(self, device: Device) -> None:
        super().__init__()
        torch = import_torch()
        size = max(_LEAST_BYTES, _CACHES * (device.cache_bytes or _UNKNOWN_CACHE))
        self._buffer = torch.empty(size // 4, dtype=torch.float32, device=device.torch_name)
        self._cuda: Any = None
        if device.kind == "cuda":
            self._cuda, self.resolution_s = torch.cuda, 0.5e-6

    def samples(
        self,
        call: Call,
        calls_per_sample: int,
        count: int,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[float]:
        """The time of one call, `count` times over; `calls_per_sample` is 1."""
        del calls_per_sample
        found = self._on_device(call, count) if self._cuda else self._on_host(call, count)
        if meanwhile:
            meanwhile()
        return found

    def _on_host(self, call: Call, count: int) -> list[float]:
        found = []
        for _ in range(count):
            self._buffer.fill_(0.0)
            start = time.perf_counter_ns()
            call()
            found.append((time.perf_counter_ns() - start) * 1e-9)
        return found

    def _on_device(self, call: Call, count: int) -> list[float]:
        pairs, behind = [], 0
        for _ in range(_HEAD_START):
            self._buffer.fill_(0.0)
        for _ in range(count):
            before, after = (self._cuda.Event(enable_timing=True) for _ in range(2))
            self._buffer.fill_(0.0)
            before.record()
            call()
            after.record()
            behind += bool(before.query())  # the device was there before the host had done
            pairs.append((before, after))
        self._cuda.synchronize()
        self.host_bound = behind / count
        return [before.elapsed_time(after) * 1e-3 for before, after in pairs]
