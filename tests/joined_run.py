"""`gpubench run` as a rank that torchrun started, with few sizes and plans of a blink.

With RANK_1_DIES set, the second rank is killed in its second collective.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import Any

from gpubench import benchmarks, cli
from gpubench.benchmarks import bandwidth, collectives
from gpubench.measuring import device, sampling


def _die_in_the_second_collective() -> None:
    allocated, seen = collectives._allocated, []

    def hooked(*arguments: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return allocated(*arguments)

    collectives._allocated = hooked  # type: ignore[assignment]


if __name__ == "__main__":
    if os.environ.get("RANK_1_DIES") and os.environ["RANK"] == "1":
        _die_in_the_second_collective()
    benchmarks.names = lambda: ("bandwidth", "collectives")
    bandwidth._HOST_ARRAY_BYTES = 2**20
    device._last_cache_bytes = lambda _: 2**18  # type: ignore[assignment]
    collectives._LADDERS["cpu", "quick"] = (1024, 65536)
    sampling.PLANS["quick"] = replace(
        sampling.PLANS["quick"], limit_s=0.2, block_s=0.005, warmup_s=0.02, warmup_limit_s=0.1
    )
    cli.main(["run", *sys.argv[1:]])
