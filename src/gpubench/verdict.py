"""Claim + Evidence -> Verdict.

A claim accepts an interval, and every piece of evidence is one: inside it, outside or straddling.
The strongest kind of evidence decides wherever it reaches; weaker kinds decide where it does not.
No verdict is stored: change a figure, a claimed value or a tolerance, and the verdict follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpubench import dates
from gpubench.model import (
    KINDS,
    Claim,
    Claimed,
    Evidence,
    Interval,
    Kind,
    Outcome,
    OutOfScope,
    Verdict,
)
from gpubench.quantities import DATE, QUANTITIES
from gpubench.units import Printed, Quantity, between, show


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


# Hedged words leave a reader about this much room. There is no standard for them; the figures are
# our convention, stated in docs/verdicts.md, and every report prints the accepted interval.
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

PEAK_FLOORS: dict[str, tuple[float, str]] = {
    # Lowest share of the datasheet peak that published stream kernels and dense GEMMs reach on
    # parts whose peak is not in doubt; see docs/verdicts.md for the table they come from.
    "memory_bandwidth": (0.80, "published stream kernels reach 83 to 98 % of the peak"),
    "peak_fp16": (0.65, "published FP16 GEMMs reach 68 to 96 % of the dense peak"),
    "peak_bf16": (0.65, "published BF16 GEMMs reach 68 to 96 % of the dense peak"),
    "interconnect_bandwidth": (0.75, "published ring all-reduces reach 82 % of one direction"),
}
PEAK_CEILING = 1.02
"""A rate above the peak by more is a fault of the measurement, not a better part."""


def judge(claim: Claim, evidence: Sequence[Evidence]) -> Verdict:
    """The verdict on a claim, given everything found about it."""
    accepted = accepts(claim.claimed, _is_ratio(claim))
    best = _best_of_peaks(claim, evidence)
    relations = tuple(_relation(claim, accepted, item, best) for item in evidence)
    found = [
        (item, relation)
        for item, relation in zip(evidence, relations, strict=True)
        if relation not in ("missing", "implausible", "slower")
    ]
    verdict = Verdict(
        claim=claim.id,
        outcome="untested",
        basis="",
        reason="",
        accepted=accepted,
        unit=_unit(claim),
        evidence=tuple(evidence),
        relations=relations,
        flags=_disagreements(claim, found),
    )
    if not found:
        return replace(verdict, reason=_why_untested(evidence))
    chosen, basis = _deciding(claim, found)
    outcome = _outcome(claim, [relation for _, relation in chosen])
    return replace(
        verdict,
        outcome=outcome,
        basis=basis,
        reason=_reason(claim, accepted, chosen, outcome),
        found=describe_found(claim, [item for item, _ in chosen]),
    )


def set_aside(entry: OutOfScope) -> Verdict:
    """The verdict on a statement that no computation settles."""
    return Verdict(claim=entry.id, outcome="out-of-scope", basis="", reason=entry.reason)


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
    if tolerance.rounding:
        low, high = low - rounding(claimed.low), high + rounding(claimed.high)
    low, high = low * (1 - tolerance.below), high * (1 + tolerance.above)
    ends = (
        claimed.low.as_found(-math.inf if tolerance.open_below else low),
        claimed.high.as_found(math.inf if tolerance.open_above else high),
    )
    return Interval(min(ends), max(ends))


def rounding(printed: Printed) -> float:
    """Half a unit of the last printed digit, within 0.5 and 2 % of the figure."""
    value = abs(printed.value.value)
    return min(max(printed.step / 2, LEAST_ROUNDING * value), MOST_ROUNDING * value)


# --------------------------------------------------------------------------- one piece of evidence


def _relation(
    claim: Claim, accepted: Interval | None, item: Evidence, best: Mapping[object, Evidence]
) -> str:
    """inside, below, above, straddling or missing; for a sustained rate held against a peak also
    achievable, slower (another kernel does better) or implausible.
    """
    if not item.missing and accepted is None:
        return _word_relation(claim, item)
    if item.missing or accepted is None or item.low is None or item.high is None:
        return "missing"
    if _held_against_peak(claim, item):
        if best[_peak_key(claim, item)] is not item:
            return "slower"
        floor, _ = PEAK_FLOORS[_quantity_of(claim, item)]
        achievable = Interval(accepted.low * floor, accepted.high * PEAK_CEILING)
        place = _place(item.low, item.high, achievable)
        return {"inside": "achievable", "above": "implausible"}.get(place, place)
    return _place(item.low, item.high, accepted)


def _place(low: float, high: float, bounds: Interval) -> str:
    slack = 1e-9 * max(abs(low), abs(high))
    if low >= bounds.low - slack and high <= bounds.high + slack:
        return "inside"
    if low > bounds.high:
        return "above"
    return "below" if high < bounds.low else "straddling"


def _held_against_peak(claim: Claim, item: Evidence) -> bool:
    """A sustained rate, and a claim that is about the peak."""
    return (
        item.kind in ("measured", "published")
        and not claim.baselines
        and item.conditions.get("rate") == "sustained"
        and claim.conditions.get("rate") != "sustained"
        and _quantity_of(claim, item) in PEAK_FLOORS
    )


def _peak_key(claim: Claim, item: Evidence) -> object:
    return item.kind, item.conditions.get("subject"), _quantity_of(claim, item)


def _best_of_peaks(claim: Claim, evidence: Sequence[Evidence]) -> dict[object, Evidence]:
    """Of several kernels, the one that comes nearest to the peak."""
    best: dict[object, Evidence] = {}
    for item in evidence:
        if item.high is not None and _held_against_peak(claim, item):
            held = best.setdefault(_peak_key(claim, item), item)
            if item.high > (held.high or 0.0):
                best[_peak_key(claim, item)] = item
    return best


def _word_relation(claim: Claim, item: Evidence) -> str:
    claimed = claim.claimed.text
    if QUANTITIES[_quantity_of(claim, item)].unit == DATE:
        return _date_relation(claim.claimed.qualifier, dates.span(claimed), dates.span(item.text))
    return "inside" if _folded(claimed) in _folded(item.text) else "above"


def _date_relation(qualifier: str, claimed: tuple[int, int], found: tuple[int, int]) -> str:
    low, high = claimed
    if qualifier == "about":
        low, high = low - ABOUT_A_DATE_DAYS, high + ABOUT_A_DATE_DAYS
    if qualifier == "at-least":
        high = 10**9
    if qualifier == "at-most":
        low = 0
    if low <= found[0] and found[1] <= high:
        return "inside"
    if found[1] < low:
        return "below"
    return "above" if found[0] > high else "straddling"


def _folded(text: str) -> str:
    return "".join(text.lower().split())


# --------------------------------------------------------------------------- all of it together

_Found = tuple[Evidence, str]


def _deciding(claim: Claim, found: Sequence[_Found]) -> tuple[list[_Found], Kind]:
    """The evidence that decides, strongest kind first, and the kind that is the verdict's basis.

    A sustained rate near a peak says that the peak is achievable, not where it is: it confirms
    what a device or data sheet says, and stands alone only where they are silent.
    """
    confirming = [pair for pair in found if pair[1] == "achievable"]
    others = [pair for pair in found if pair[1] != "achievable"]
    if not others:
        return confirming, confirming[0][0].kind
    chosen, basis = _by_strength(claim, others)
    if confirming and _outcome(claim, [relation for _, relation in chosen]) == "supported":
        return confirming + chosen, min(confirming[0][0].kind, basis, key=KINDS.index)
    return chosen, basis


def _by_strength(claim: Claim, found: Sequence[_Found]) -> tuple[list[_Found], Kind]:
    """A weaker kind is heard only under conditions that no stronger kind reached.

    The basis is the last kind that had to fill in, unless a stronger one alone had shown already
    that the claim holds here and fails there: that cannot be undone.
    """
    swept = set(swept_names(claim))
    chosen: list[_Found] = []
    basis: Kind = KINDS[0]
    settled = False
    for kind in KINDS:
        fresh = [
            (item, relation)
            for item, relation in found
            if item.kind == kind and not any(_covers(other, item, swept) for other, _ in chosen)
        ]
        if not fresh:
            continue
        chosen = chosen + fresh
        if not settled:
            basis = kind
        settled = settled or _outcome(claim, [r for _, r in chosen]) == "conditional"
    return chosen, basis


def _covers(strong: Evidence, weak: Evidence, swept: set[str]) -> bool:
    if strong.kind == weak.kind:
        return False
    if strong.kind == "arithmetic":
        return True  # the article's own figures hold under whatever conditions it had in mind
    return all(
        name in strong.conditions and strong.conditions[name] == weak.conditions[name]
        for name in swept
        if name in weak.conditions
    )


def _outcome(claim: Claim, relations: Sequence[str]) -> Outcome:
    inside = relations.count("inside") + relations.count("achievable")
    straddling = relations.count("straddling")
    outside = len(relations) - inside - straddling
    if claim.claimed.qualifier == "up-to" and inside:
        # "up to" needs one condition that reaches the figure and none that exceeds it.
        outside, straddling = relations.count("above"), 0
    if inside and (outside or straddling):
        return "conditional"
    if inside:
        return "supported"
    return "refuted" if outside and not straddling else "inconclusive"


def _disagreements(claim: Claim, found: Sequence[_Found]) -> tuple[str, ...]:
    """Kinds of evidence that say the opposite of each other."""
    said = {
        kind: _outcome(claim, [r for item, r in found if item.kind == kind])
        for kind in KINDS
        if any(item.kind == kind for item, _ in found)
    }
    yes = [kind for kind, outcome in said.items() if outcome == "supported"]
    no = [kind for kind, outcome in said.items() if outcome == "refuted"]
    if not yes or not no:
        return ()
    return (f"{' and '.join(yes)} evidence supports it, {' and '.join(no)} evidence refutes it",)


def swept_names(claim: Claim) -> tuple[str, ...]:
    """The conditions that vary: those of `sweep`, and subject, baseline, quantity if several."""
    several = {
        "subject": claim.subjects,
        "baseline": claim.baselines,
        "quantity": claim.quantities,
    }
    return (*(name for name, values in several.items() if len(values) > 1), *claim.sweep)


# --------------------------------------------------------------------------- in words


def _reason(
    claim: Claim, accepted: Interval | None, chosen: Sequence[_Found], outcome: Outcome
) -> str:
    found = describe_found(claim, [item for item, _ in chosen])
    allowed = describe_accepted(claim, accepted)
    if outcome == "conditional":
        text = f"{_boundary(chosen)}; found {found}, accepted {allowed}."
    elif outcome == "inconclusive":
        text = f"Found {found}, which reaches into and out of the accepted {allowed}."
    else:
        where = "inside" if outcome == "supported" else "outside"
        text = f"Found {found}, {where} the accepted {allowed}."
    error = next((item.error for item, _ in chosen if item.kind == "estimated" and item.error), "")
    return f"{text} Model error: {error}." if error else text


def describe_found(claim: Claim, items: Sequence[Evidence]) -> str:
    """What the evidence spans, in the claim's own unit."""
    words = list(dict.fromkeys(item.text for item in items if item.text))
    if words:
        return " or ".join(words)
    lows = [item.low for item in items if item.low is not None]
    highs = [item.high for item in items if item.high is not None]
    return _span(claim, min(lows), max(highs)) if lows and highs else "nothing"


def describe_accepted(claim: Claim, accepted: Interval | None) -> str:
    """What the claim accepts, in its own unit."""
    if accepted is None:
        return f"'{claim.claimed.text}'"
    if not math.isfinite(accepted.low):
        return f"at most {_number(claim, accepted.high)}"
    if not math.isfinite(accepted.high):
        return f"at least {_number(claim, accepted.low)}"
    return _span(claim, accepted.low, accepted.high)


def _span(claim: Claim, low: float, high: float) -> str:
    first, last = _number(claim, low), _number(claim, high)
    if claim.claimed.low and claim.claimed.low.change == "less":
        first, last = last, first
    return between(first, last)


def _number(claim: Claim, value: float) -> str:
    printed = claim.claimed.low
    return printed.show(value) if printed else show(Quantity(value, _unit(claim)))


def _boundary(chosen: Sequence[_Found]) -> str:
    """Where a conditional claim holds: "Holds in 4 of 16 conditions (25 %), only where …"."""
    inside = [item for item, relation in chosen if relation == "inside"]
    undecided = sum(relation == "straddling" for _, relation in chosen)
    share = f"Holds in {len(inside)} of {len(chosen)} conditions ({len(inside) / len(chosen):.0%})"
    clauses = []
    for name in dict.fromkeys(name for item, _ in chosen for name in item.conditions):
        everywhere = [item.conditions[name] for item, _ in chosen if name in item.conditions]
        here = [item.conditions[name] for item in inside if name in item.conditions]
        if len(everywhere) == len(chosen) and set(here) < set(everywhere):
            clauses.append(_clause(name, here, everywhere))
    text = f"{share}, only where {' and '.join(clauses)}" if clauses else share
    return f"{text}; {undecided} undecided" if undecided else text


def _clause(name: str, here: Sequence[Any], everywhere: Sequence[Any]) -> str:
    values = list(dict.fromkeys(here))
    others = [value for value in dict.fromkeys(everywhere) if value not in values]
    numeric = all(isinstance(value, int | float) for value in (*values, *others))
    label = name.replace("_", " ")
    if numeric and min(values) > max(others):
        return f"{label} is {min(values):g} or more"
    if numeric and max(values) < min(others):
        return f"{label} is {max(values):g} or less"
    return f"{label} is {' or '.join(str(value) for value in values)}"


def _why_untested(evidence: Sequence[Evidence]) -> str:
    reasons = list(dict.fromkeys(item.missing for item in evidence if item.missing))
    if not reasons:
        return "Nothing at hand: no catalogue figure, no arithmetic and no model covers it."
    more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}."


def _is_ratio(claim: Claim) -> bool:
    return bool(claim.baselines) and not QUANTITIES[claim.quantities[0]].comparative


def _unit(claim: Claim) -> str:
    if claim.claimed.low:
        return claim.claimed.low.value.unit
    return QUANTITIES[claim.quantities[0]].unit


def _quantity_of(claim: Claim, item: Evidence) -> str:
    return str(item.conditions.get("quantity", claim.quantities[0]))
