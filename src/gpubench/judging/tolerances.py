"""What a claim accepts: from a printed figure and its qualifier to an interval.

Hedged words leave a reader some room. There is no standard for them; the widths are our convention,
stated in docs/verdicts.md, and every report prints the accepted interval beside the finding.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from gpubench.model import Claim, Claimed, Interval
from gpubench.quantities import QUANTITIES
from gpubench.units import Printed


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a qualifier allows, as shares of the printed figure.

    `rounding` replaces the shares by the tolerance of a printed digit (see `rounding`); an `open`
    side has no bound.
    """

    below: float = 0.0
    above: float = 0.0
    rounding: bool = False
    open_below: bool = False
    open_above: bool = False


TOLERANCES: dict[str, Tolerance] = {
    "exact": Tolerance(rounding=True),
    "about": Tolerance(below=0.15, above=0.15),
    "nearly": Tolerance(below=0.15, above=0.02),
    "up-to": Tolerance(below=0.15, above=0.02),
    "at-least": Tolerance(rounding=True, open_above=True),
    "at-most": Tolerance(rounding=True, open_below=True),
    "more-than": Tolerance(open_above=True),
    "less-than": Tolerance(open_below=True),
    "range": Tolerance(rounding=True),
}
LEAST_ROUNDING, MOST_ROUNDING = 0.005, 0.02
"""A printed figure is never taken as sharper than 0.5 % nor as vaguer than 2 %."""

STRICTLY = 0.005
"""Two data sheets that differ by less are rounded differently: a ratio of 1.0001 is not "more"."""

_STRICTLY_ABSOLUTE = 1e-6  # beyond an absolute figure by any amount that arithmetic can show

ABOUT_A_DATE_DAYS = 31
"""The room that "about" leaves around a date."""


def accepts(claimed: Claimed, ratio: bool = False) -> Interval | None:
    """The interval a claim accepts, in the frame of what is found; None for words and dates."""
    if claimed.low is None or claimed.high is None:
        return None
    tolerance = TOLERANCES[claimed.qualifier]
    low, high = claimed.low.value.value, claimed.high.value.value
    margin = STRICTLY if ratio else _STRICTLY_ABSOLUTE
    if not tolerance.rounding:
        low *= 1 + margin * tolerance.open_above
        high *= 1 - margin * tolerance.open_below
    if tolerance.rounding and (ratio or not is_count(claimed.low)):
        low, high = low - rounding(claimed.low), high + rounding(claimed.high)
    low, high = low * (1 - tolerance.below), high * (1 + tolerance.above)
    ends = (
        claimed.low.as_found(-math.inf if tolerance.open_below else low),
        claimed.high.as_found(math.inf if tolerance.open_above else high),
    )
    return Interval(min(ends), max(ends))


def is_count(printed: Printed) -> bool:
    """A whole number without a unit: seven of something, which nobody rounds."""
    return not printed.unit and not printed.change and printed.text.strip().isdigit()


def rounding(printed: Printed) -> float:
    """Half a unit of the last printed digit, within 0.5 and 2 % of the figure."""
    value = abs(printed.value.value)
    return min(max(printed.step / 2, LEAST_ROUNDING * value), MOST_ROUNDING * value)


def is_ratio(claim: Claim) -> bool:
    """Whether a claim's figure is that of one part over another, which is rounded as ratios are."""
    return bool(claim.baselines) and not QUANTITIES[claim.quantities[0]].comparative


def words(text: str) -> set[str]:
    """The words of a text but the names of makers; "7 nm", "HBM 3" and "CDNA-3" are one word each.

    HBM3 is not HBM3e, and TSMC 7nm is TSMC 7 nm.
    """
    joined = re.sub(r"(\d)\s+(?=[a-z])", r"\1", text.lower())
    found = set(_NUMBERED.sub(r"\1", joined).split())
    return found - _MAKERS or found


def words_agree(claimed: str, found: str) -> bool | None:
    """Whether words say what was claimed; None where they are names of two kinds, of which neither
    rules out the other: "4 nm" and "TSMC 4N".
    """
    wanted, said = words(claimed), words(found)
    if wanted <= said:
        return True
    if (wanted & _FOUNDRIES) - said:
        return False
    sizes = {any(_NANOMETRES.fullmatch(word) for word in side) for side in (wanted, said)}
    return None if len(sizes) > 1 else False


_FOUNDRIES = {"tsmc", "samsung", "smic", "globalfoundries"}
_NANOMETRES = re.compile(r"[\d.]+nm")


_NUMBERED = re.compile(r"\b(hbm|gddr|lpddr|cdna|rdna|gaudi|davinci)[\s-]+(?=\d)")
_MAKERS = {"nvidia", "amd", "intel", "huawei", "google"}
