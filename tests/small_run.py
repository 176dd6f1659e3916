"""gpubench as a process, with arrays of a megabyte, plans of a blink, and a fault to order.

    python small_run.py FAULT run --device cpu …

Faults: none (without a page, which takes longer than all the rest); no-torch; memory (64 MiB more
than there is now); disk (files end at 1000 bytes once one record has been saved); interrupt (SIGINT
while the second case is sampled); hang (the second case never comes back).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpubench import benchmarks, cli, records
from gpubench.benchmarks import bandwidth
from gpubench.cli import judging
from gpubench.measuring import device, sampling
from gpubench.running import campaign, mishaps


def _no_page() -> None:
    judging.write_page = lambda *_: ""


def _no_torch() -> None:
    sys.modules["torch"] = None  # type: ignore[assignment]


def _memory() -> None:
    import torch

    torch.zeros(10).normal_()  # its threads have their stacks before memory ends
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + 2**26
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    device._last_cache_bytes = lambda _: 2**25  # type: ignore[assignment]


def _disk() -> None:
    written = records.write

    def write(record: records.RunRecord, results: Path) -> Path:
        path = written(record, results)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        return path

    records.write = write


def _interrupt() -> None:
    measured, counted = campaign.measure_in_turn, [0]

    def measure(*arguments: Any) -> Any:
        counted[0] += 1
        if counted[0] == 2:
            arguments = (*arguments[:5], _interrupt_at_a_block, *arguments[6:])
        return measured(*arguments)

    campaign.measure_in_turn = measure


def _hang() -> None:
    measured, counted = campaign.measure_in_turn, [0]

    def measure(cases: Any, *arguments: Any) -> Any:
        counted[0] += 1
        if counted[0] == 2:
            cases = [replace(cases[0], call=threading.Event().wait)]
        return measured(cases, *arguments)

    campaign.measure_in_turn = measure
    campaign._may_hang = lambda _: True
    mishaps.PATIENCE, mishaps.LEAST_PATIENCE_S = 0.0, 1.0


def _interrupt_at_a_block(progress: str) -> None:
    if progress.startswith("block 2"):
        os.kill(os.getpid(), signal.SIGINT)


FAULTS = {
    "none": _no_page,
    "no-torch": _no_torch,
    "memory": _memory,
    "disk": _disk,
    "interrupt": _interrupt,
    "hang": _hang,
}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    benchmarks.names = lambda: ("bandwidth",)
    bandwidth._HOST_ARRAY_BYTES = 2**20
    device._last_cache_bytes = lambda _: 2**18  # type: ignore[assignment]
    sampling.PLANS["quick"] = replace(
        sampling.PLANS["quick"], limit_s=0.2, block_s=0.005, warmup_s=0.02, warmup_limit_s=0.1
    )
    FAULTS[sys.argv[1]]()
    cli.main(sys.argv[2:])
