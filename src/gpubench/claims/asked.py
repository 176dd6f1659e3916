"""A claim that somebody types: one quantity, of what, under which conditions, and what is said.

What is said reads as one would say it: "4.8 TB/s", "60 to 90 % more", "nearly 6 x", "up to 30 x",
"HBM3e", "2023-11". It is checked as an entry of a claims file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gpubench import units, yaml_text
from gpubench.claims import checks, schema, shape
from gpubench.errors import UnitError
from gpubench.model import Claim
from gpubench.quantities import DATE, QUANTITIES, TEXT

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue

_HEDGES = {
    **{name.replace("-", " "): name for name in schema.QUALIFIERS},
    "almost": "nearly",
    **dict.fromkeys(("around", "roughly", "approximately", "~", "≈"), "about"),
    **dict.fromkeys(("≥", ">="), "at-least"),
    **dict.fromkeys(("≤", "<="), "at-most"),
    **dict.fromkeys(("over", ">"), "more-than"),
    **dict.fromkeys(("under", "<"), "less-than"),
}
_HEDGE = re.compile(rf"({'|'.join(_HEDGES)})(?![a-z])\s*", re.IGNORECASE)
# Two ends: "4.75 TB/s to 4.85 TB/s", "60 to 90 % more", "60-90 %".
_ENDS = re.compile(
    rf"({units.NUMBER}[^-–]*?)\s*(?:\bto\b|[-–])\s*({units.NUMBER}.*)", re.IGNORECASE
)
# "Faster" is more of a rate and less of a time; figures of files say which of them is meant.
_SPEED = {"faster": ("more", "less"), "slower": ("less", "more")}


def claim(
    quantity: str,
    subjects: Sequence[str],
    baselines: Sequence[str],
    said: str | None,
    conditions: Mapping[str, Sequence[str]],
    catalogue: Catalogue,
) -> Claim:
    """The claim that these words make; without a figure where nothing is `said`.

    Args:
        quantity: as in `gpubench list quantities`.
        subjects: accelerators, models or rules; several are tried each, as are `baselines`.
        said: the figure that is claimed.
        conditions: values by name; several of one name are tried each.

    Raises:
        UnitError: something of it is unknown, or does not belong together; the message has a
            sentence for each problem.
    """
    problems = yaml_text.Problems("")
    checker = checks.Checker(yaml_text.Mapping(), catalogue, problems)
    _check_answerable(quantity)
    entry = schema.ClaimEntry.model_construct(
        id="asked",
        category="not-performance",
        statement="",
        translations=None,
        articles=[],
        subject=list(subjects) or None,
        baseline=list(baselines) or None,
        quantity=[quantity],
        claimed=None if said is None else _entry(said, quantity),
        conditions={name: values[0] for name, values in conditions.items() if len(values) == 1},
        sweep={name: list(values) for name, values in conditions.items() if len(values) > 1},
        arithmetic=None,
        reading=None,
    )
    gaps = frozenset({"claimed"} if said is None else ())
    found = checker.claim(shape.Shaped(0, entry, gaps))
    if problems:
        raise UnitError("; ".join(problems.messages()))
    return found


def _check_answerable(quantity: str) -> None:
    kind = QUANTITIES.get(quantity)
    if kind and kind.via == "article":
        raise UnitError(
            f"{quantity} is known from what articles print alone: write a claim with a formula "
            f"over their figures into a claims file"
        )


def _entry(said: str, quantity: str) -> schema.ClaimedEntry:
    """What is said, as a claims file has it."""
    said = said.strip()
    qualifier = None
    if hedge := _HEDGE.match(said):
        qualifier = _HEDGES[hedge[1].lower()]
        said = said[hedge.end() :]
    kind = QUANTITIES.get(quantity)
    unit = kind.unit if kind else ""
    ends = None
    if unit not in (TEXT, DATE):
        said = re.sub(r"[A-Za-z]+", lambda found: _plainly(found[0], unit), said)
        ends = _two_ends(said)
    if ends is None:
        return schema.ClaimedEntry.model_construct(
            value=said, low=None, high=None, qualifier=qualifier or "exact"
        )
    return schema.ClaimedEntry.model_construct(
        value=None, low=ends[0], high=ends[1], qualifier=qualifier or "range"
    )


def _two_ends(said: str) -> tuple[str, str] | None:
    """Both ends of a range, each a whole figure; None where one figure is said, or none is."""
    try:
        units.parse_printed(said)
    except UnitError:
        pass
    else:
        return None  # "1e-3 s" is no range
    match = _ENDS.fullmatch(said)
    if match is None:
        return None
    low, high = match.groups()
    if re.fullmatch(units.NUMBER, low):  # "60 to 90 % more" says the unit once
        low += re.sub(f"^{units.NUMBER}", "", high)
    elif not units.ends_in_change(low):  # "60 % to 90 % more" says the change once
        low = f"{low} {units.ends_in_change(high)}".rstrip()
    return low, high


def _plainly(word: str, unit: str) -> str:
    """A word as figures of quantities in that unit have it."""
    rate, plain = unit.endswith("/s") and unit != "J/s", word.lower()
    if plain in _SPEED and (rate or unit == "s"):
        return _SPEED[plain][not rate]
    return {"twice": "2 x", "half": "0.5 x"}.get(plain, word)


def conditions(texts: Iterable[str]) -> dict[str, list[str]]:
    """Values by name, of texts such as "precision=fp8". Raises UnitError for any other."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise UnitError(f"'{text}' is no condition: write NAME=VALUE, as in precision=fp8")
        name = name.replace("-", "_").lower()
        if value not in found.setdefault(name, []):
            found[name].append(value)
    return found
