"""`gpubench rank` with short cases, few sizes, and a fault of rank 1 to order.

    torchrun … faulty_rank.py FAULT --device cpu --suite quick …

Faults: none; dies (killed in the second case); hangs (in the second case); wrong (one number of its
part is off, in the second case); version (another gpubench).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import gpubench
from gpubench import cli
from gpubench.benchmarks import collectives
from gpubench.measuring import group, sampling
from gpubench.running import campaign

TIMEOUT_S = 4.0


def _in_second_case(act: Any) -> None:
    """Let rank 1 act on its buffers, once, when the second case has allocated them."""
    allocated, seen = collectives._allocated, []

    def hooked(*arguments: Any) -> Any:
        buffers = allocated(*arguments)
        seen.append(1)
        if len(seen) == 2 and os.environ["RANK"] == "1":
            act(buffers)
        return buffers

    collectives._allocated = hooked  # type: ignore[assignment]


def _spoil(buffers: Any) -> None:
    buffers.send[-1] += 1


FAULTS = {
    "none": lambda: None,
    "dies": lambda: _in_second_case(lambda _: os.kill(os.getpid(), signal.SIGKILL)),
    "hangs": lambda: _in_second_case(lambda _: time.sleep(3600)),
    "wrong": lambda: _in_second_case(_spoil),
    "version": lambda: (
        setattr(gpubench, "__version__", "0.0.0") if os.environ["RANK"] == "1" else None
    ),
}

if __name__ == "__main__":
    collectives._LADDERS["cpu", "quick"] = (1024, 4096, 65536)
    sampling.PLANS["quick"] = replace(
        sampling.PLANS["quick"], limit_s=0.2, block_s=0.005, warmup_s=0.02, warmup_limit_s=0.1
    )
    joined = group.join
    group.join = lambda *asked: joined(*asked, timeout_s=TIMEOUT_S)  # type: ignore[assignment]
    FAULTS[sys.argv[1]]()
    assert campaign
    cli.main(["rank", *sys.argv[2:]])
