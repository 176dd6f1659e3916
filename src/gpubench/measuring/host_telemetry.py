"""What the kernel says of this process while it measures a processor: had it to wait for it?

Linux counts for every thread the time for which it ran, and for which it was ready to run while
another had the processor (Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat). Threads
that meet at a barrier all wait for the one that was put off, so that a busy machine shows steady
times that are far too long, and no noise.
"""

from __future__ import annotations

from pathlib import Path

from gpubench.measuring.telemetry import Reading

_NONE = {"telemetry": "a processor has no NVML"}


class HostTelemetry:
    """The times of this process's threads, from `tasks`, the folder with one folder a thread."""

    def __init__(self, tasks: Path = Path("/proc/self/task")) -> None:
        self._tasks = tasks

    def read(self) -> Reading:
        """`processor_s`, for which the threads ran, and `waiting_s`, for which they could not."""
        ran = waited = 0
        for path in self._tasks.glob("*/schedstat"):
            try:
                told = path.read_text("ascii").split()
                ran, waited = ran + int(told[0]), waited + int(told[1])
            except (OSError, ValueError, IndexError):  # the thread has ended
                continue
        if not ran:
            return Reading(refused={**_NONE, "waiting_s": "this kernel does not count it"})
        return Reading({"processor_s": ran * 1e-9, "waiting_s": waited * 1e-9}, _NONE)

    def card(self) -> Reading:
        """Nothing, with the reason."""
        return Reading(refused=_NONE)
