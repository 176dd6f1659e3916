"""What the harness adds to a bare loop of the same all-reduce over gloo, taken in turn.

    python tests/bench_collectives.py           prints ratios for 2 and 4 ranks

Each rank is this script again, started by torchrun. A turn is a bare loop (barrier, k calls, time
over k) and a sample of the harness's clock with as many calls; turns alternate in who comes first.
The ratio of their medians, by the slowest rank, does not hang on how fast the machine is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

SIZES = (2**20, 4 * 2**20, 16 * 2**20)
RANKS = (2, 4)
TURNS = 101
TURN_S = 0.05


def ratios() -> None:
    """Print the table; run by every rank, printed by the first."""
    import torch
    import torch.distributed as dist

    from gpubench.measuring.clock import HostClock
    from gpubench.measuring.group import GroupClock, join, place

    where = place()
    assert where
    group = join(where, None, torch)
    clock = GroupClock(group, HostClock())
    for size in SIZES:
        buffer = torch.zeros(size // 4)

        def call(buffer: torch.Tensor = buffer) -> None:
            dist.all_reduce(buffer, group=group.data)

        def bare(calls: int) -> float:
            dist.barrier()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            mine = (time.perf_counter() - start) / calls
            return max(each[0] for each in group.times([mine]))

        for _ in range(3):
            once = bare(3)
        calls = max(1, round(group.of_first(TURN_S / once)))
        loops, samples = [], []
        for turn in range(TURNS):
            for who in (turn % 2, 1 - turn % 2):
                if who:
                    samples.append(clock.samples(call, calls, 1)[0])
                else:
                    loops.append(bare(calls))
        if where.rank == 0:
            one, other = statistics.median(loops), statistics.median(samples)
            pairs = statistics.median(s / b for s, b in zip(samples, loops, strict=True))
            print(
                f"| {where.size} | {size // 2**20} MiB | {one * 1e3:.3f} ms | {other * 1e3:.3f} ms "
                f"| {other / one:.3f} | {pairs:.3f} |",
                flush=True,
            )
    group.leave()


def main() -> None:
    """Start the ranks, once for each number of them."""
    print("| ranks | message | bare loop | harness | of medians | median of pairs |")
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    for ranks in RANKS:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command = [sys.executable, *launch, __file__]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    ratios() if "RANK" in os.environ else main()
