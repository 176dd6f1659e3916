"""What NCCL says of its choices: the algorithm and protocol of each collective and size.

It says so at each launch when NCCL_DEBUG is INFO and NCCL_DEBUG_SUBSYS holds TUNING, on rank 0,
with the bytes that one rank hands in (src/enqueue.cc of github.com/NVIDIA/nccl). Writing that takes
time, so it is asked in a run of its own in which nothing is timed. RCCL writes the same line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

VARIABLES: Mapping[str, str] = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "TUNING"}
"""What to set before the ranks start; with NCCL_DEBUG_FILE for where it goes."""

_LINE = re.compile(r"(\w+): (\d+) Bytes -> Algo (\w+) proto (\w+)")
_FUNCTIONS = {
    "AllReduce": "all_reduce",
    "AllGather": "all_gather",
    "ReduceScatter": "reduce_scatter",
    "Broadcast": "broadcast",
}
# Older releases print numbers (src/include/nccl_common.h).
_ALGORITHMS = {"0": "TREE", "1": "RING", "2": "COLLNET_DIRECT", "3": "COLLNET_CHAIN"}
_ALGORITHMS |= {"4": "NVLS", "5": "NVLS_TREE", "6": "PAT"}
_PROTOCOLS = {"0": "LL", "1": "LL128", "2": "SIMPLE"}

Choice = tuple[str, str]
"""Algorithm and protocol, in NCCL's words."""


def choices(log: str, ranks: int) -> dict[tuple[str, int], Choice]:
    """The choice for each (collective, message in bytes), as sizes are counted here."""
    found = {}
    for name, size, algorithm, protocol in _LINE.findall(log):
        collective = _FUNCTIONS.get(name)
        if collective is None:
            continue
        # The part that a rank hands in, or gets, of what all hold in the end.
        whole = int(size) * (ranks if collective in ("all_gather", "reduce_scatter") else 1)
        known = _ALGORITHMS.get(algorithm, algorithm), _PROTOCOLS.get(protocol, protocol)
        found[collective, whole] = known
    return found
