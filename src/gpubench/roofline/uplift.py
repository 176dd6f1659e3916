"""Why one part is faster than another: the uplift split over what differs between them.

Parts are swapped feature by feature, baseline's for subject's, and the throughput of every hybrid
is estimated. A feature's effect is its mean gain over all orders of swapping (the Shapley value of
the logarithm), so that effects multiply to the uplift and no order is preferred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from gpubench.model import Accelerator
from gpubench.roofline.estimates import estimate

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

_FEATURES: dict[str, tuple[str, ...]] = {
    "memory capacity": ("memory_capacity",),
    "memory bandwidth": ("memory_bandwidth", "memory_type"),
    "compute": ("peak_", "process_node", "boost_clock", "board_power"),
    "links": ("interconnect", "pcie_generation"),
}
"""Each feature with the figures it consists of, by name or beginning. Board power counts as
compute, since it is what full matrix units run out of first."""

_NO_UPLIFT = 1e-6


@dataclass(frozen=True, slots=True)
class Effect:
    """What one feature does: `factor` of throughput, `share` of the uplift (logarithms; sum 1).

    Where the parts are equally fast there is nothing to share, and every share is 0.
    """

    name: str
    factor: float
    share: float


def effects(
    subject: Accelerator,
    baseline: Accelerator,
    conditions: Mapping[str, Any],
    catalogue: Catalogue,
) -> tuple[Effect, ...]:
    """The effects behind the uplift of inference throughput, greatest first.

    Args:
        conditions: as for `estimate`; `gpus` must be given, so that all hybrids have as many.

    Raises:
        CannotEstimate: the model has no answer for one of the hybrids.
    """
    logs = {
        chosen: math.log(
            estimate(
                "inference_throughput", _hybrid(subject, baseline, chosen), conditions, catalogue
            ).mid
        )
        for chosen in _subsets(tuple(_FEATURES))
    }
    total = logs[frozenset(_FEATURES)] - logs[frozenset()]
    found = [
        Effect(name, math.exp(value), value / total if abs(total) > _NO_UPLIFT else 0.0)
        for name in _FEATURES
        for value in (_shapley(name, logs),)
    ]
    return tuple(sorted(found, key=lambda effect: -abs(math.log(effect.factor))))


def _subsets(names: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(some) for n in range(len(names) + 1) for some in combinations(names, n)]


def _shapley(name: str, logs: Mapping[frozenset[str], float]) -> float:
    others = tuple(other for other in _FEATURES if other != name)
    count = len(_FEATURES)
    return sum(
        math.factorial(len(some))
        * math.factorial(count - len(some) - 1)
        / math.factorial(count)
        * (logs[some | {name}] - logs[some])
        for some in _subsets(others)
    )


def _hybrid(
    subject: Accelerator, baseline: Accelerator, from_subject: frozenset[str]
) -> Accelerator:
    """The baseline with some features of the subject."""
    prefixes = tuple(prefix for name in from_subject for prefix in _FEATURES[name])
    figures = {
        **{k: v for k, v in baseline.figures.items() if not k.startswith(prefixes)},
        **{k: v for k, v in subject.figures.items() if prefixes and k.startswith(prefixes)},
    }
    able = subject if "compute" in from_subject else baseline
    return replace(baseline, figures=figures, unsupported=able.unsupported)
