"""Which catalogue entry a device may be held against, and with what share of its peaks.

The driver's name finds the entry; what the device has must agree with it. Otherwise it is another
variant (two parts are called "NVIDIA H20"), or a piece of a card, and its peaks are not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gpubench.errors import UnknownName
from gpubench.model import Accelerator, Caution
from gpubench.units import Quantity, show

Identify = Callable[[str], Accelerator]
"""Finds a catalogue entry by the driver's name, or raises UnknownName: Catalogue.accelerator."""


@dataclass(frozen=True)
class Facts:
    """What the driver says of a device: name, units, memory, and the card's readings."""

    name: str
    units: int
    memory_total: int
    card: Mapping[str, float | int | str]


@dataclass(frozen=True)
class Standing:
    """The entry to hold a device against, or None; the shares of its peaks; what to know of it.

    `links` is how many scale-up links the entry has, 0 where it does not say.
    """

    accelerator: str | None
    memory_share: float
    compute_share: float
    problems: tuple[Caution, ...]
    links: int = 0


def standing(facts: Facts, identify: Identify | None) -> Standing:
    """Where a device stands in the catalogue. Without `identify` no entry is looked for."""
    problems = list(filter(None, [_power_limited(facts.card)]))
    sliced = is_slice(facts.name)
    name = str(facts.card.get("name", "")) if sliced else facts.name
    entry = None
    if identify is not None:
        try:
            entry = identify(name)
        except UnknownName as error:
            problems.append(_unknown(name or facts.name, error))
    if sliced:
        return _slice_standing(facts, entry, problems)
    if entry is not None and (other := _another_variant(facts, entry)):
        return Standing(None, 1.0, 1.0, (*problems, other))
    links = 0
    if entry is not None and "interconnect_links" in entry.figures:
        links = int(entry.value("interconnect_links"))
    return Standing(entry.id if entry else None, 1.0, 1.0, tuple(problems), links)


def is_slice(name: str) -> bool:
    """Whether the driver's name is that of a MIG slice: "NVIDIA H200 MIG 1g.18gb"."""
    return " MIG " in f" {name} "


def _slice_standing(facts: Facts, entry: Accelerator | None, problems: list[Caution]) -> Standing:
    """A slice's shares, by what the driver tells of slice and card; no entry when it does not."""
    part, whole = facts.card.get("mig_slice_memory_bytes"), facts.card.get("board_memory_bytes")
    units = facts.card.get("mig_slice_units", facts.units)
    if (
        entry is None
        or "compute_units" not in entry.figures
        or not isinstance(part, int)
        or not isinstance(whole, int)
        or not isinstance(units, int)
    ):
        refused = Caution(
            "mig-slice",
            f"{facts.name} is a slice of a card, and the driver does not tell how large a one",
            "measure the whole card with MIG off; this slice's rates are held against no peak",
        )
        return Standing(None, 0.0, 0.0, (*problems, refused))
    memory, compute = _eighths(part / whole), min(1.0, units / entry.value("compute_units"))
    told = Caution(
        "mig-slice",
        f"{facts.name} is a slice: peaks are scaled to {memory:.1%} of the card's memory and "
        f"{compute:.1%} of its units",
        "measure the whole card with MIG off to judge claims about the card",
    )
    return Standing(entry.id, memory, compute, (*problems, told))


def _eighths(share: float) -> float:
    """The share of memory paths behind a share of memory.

    MIG cuts a card's memory, and the paths to it, into eighths (NVIDIA MIG User Guide, "GPU memory
    slice"), of which a slice's usable memory is somewhat less.
    """
    return min(1.0, math.ceil(8 * share - 0.02) / 8)


# A driver shows the marketed gigabytes as binary ones, less what error correction and the system
# take: 141 GB as 150.8e9 bytes, a 24 GB card with ECC as 24.1e9.
_LEAST_MEMORY, _MOST_MEMORY = 0.90, 1.15


def _another_variant(facts: Facts, entry: Accelerator) -> Caution | None:
    """What of the device contradicts the entry that its name found."""
    told = []
    if "compute_units" in entry.figures:
        units = entry.value("compute_units")
        if facts.units != units:
            told.append(f"{facts.units} units where the catalogue has {units:g}")
    if "memory_capacity" in entry.figures:
        memory = entry.value("memory_capacity")
        if not _LEAST_MEMORY <= facts.memory_total / memory <= _MOST_MEMORY:
            has, expected = show(Quantity(facts.memory_total, "B")), show(Quantity(memory, "B"))
            told.append(f"{has} of memory where the catalogue has {expected}")
    if not told:
        return None
    return Caution(
        "another-variant",
        f"{facts.name} has {' and '.join(told)}, so it is not {entry.name}",
        "add this variant to the catalogue with its source; until then no peak is taken for it",
    )


def _unknown(name: str, error: UnknownName) -> Caution:
    return Caution(
        "unknown-card",
        f"the catalogue does not list {name or 'this card'} ({error})",
        "add it with its source; until then rates are held only against what the driver reports",
    )


def _power_limited(card: Mapping[str, float | int | str]) -> Caution | None:
    limit, default = card.get("power_limit_w"), card.get("default_power_limit_w")
    if not isinstance(limit, int | float) or not isinstance(default, int | float):
        return None
    if limit >= 0.995 * default:
        return None
    return Caution(
        "power-limited",
        f"the power limit is {limit:.0f} W where {default:.0f} W is this card's default",
        "have the administrator restore the default, or judge no claim about the full card by this",
    )
