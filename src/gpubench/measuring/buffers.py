"""Working sets that no cache holds: how many to take in turn, and a call that takes them so."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import cycle

# Of a cache this many times over, next to nothing is left when a set comes round again.
CACHE_TIMES = 4


def sets_needed(set_bytes: int, cache_bytes: int, most_bytes: int) -> int:
    """How many sets of buffers make up four times the cache; at least 1, and within `most_bytes`.

    Raises ValueError when a set has no bytes.
    """
    if set_bytes <= 0:
        raise ValueError("a set of buffers has at least one byte")
    wanted = math.ceil(CACHE_TIMES * cache_bytes / set_bytes)
    return max(1, min(wanted, most_bytes // set_bytes))


def in_turn(calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """One call that makes these in turn, the next one each time. Raises ValueError for none."""
    if not calls:
        raise ValueError("no calls to take in turn")
    if len(calls) == 1:
        return calls[0]
    following = cycle(calls)
    return lambda: next(following)()
