"""Claim + Evidence -> Verdict.

A claim accepts an interval, and every piece of evidence is one: inside it, outside or straddling.
The strongest kind of evidence decides wherever it reaches; weaker kinds decide where it does not.
No verdict is stored: change a figure, a claimed value or a tolerance, and the verdict follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gpubench import dates
from gpubench.model import KINDS, Claim, Evidence, Interval, Kind, Outcome, OutOfScope, Verdict
from gpubench.quantities import ACHIEVABLE, DATE, PEAK_CEILING, QUANTITIES
from gpubench.reasons import HOLDS, Found, describe_found, explain, why_untested
from gpubench.tolerances import ABOUT_A_DATE_DAYS, accepts


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
        return replace(verdict, reason=why_untested(evidence))
    chosen, basis = _deciding(claim, found)
    outcome = _outcome(claim, [relation for _, relation in chosen])
    return replace(
        verdict,
        outcome=outcome,
        basis=basis,
        reason=explain(claim, accepted, chosen, outcome),
        found=describe_found(claim, [item for item, _ in chosen]),
    )


def set_aside(entry: OutOfScope) -> Verdict:
    """The verdict on a statement that no computation settles."""
    return Verdict(claim=entry.id, outcome="out-of-scope", basis="", reason=entry.reason)


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
        floor = ACHIEVABLE[_quantity_of(claim, item)].floor
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
        and "sustained" not in (claim.conditions.get("rate"), *claim.sweep.get("rate", ()))
        and _quantity_of(claim, item) in ACHIEVABLE
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
    return "inside" if _words(claimed) <= _words(item.text) else "above"


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


def _words(text: str) -> set[str]:
    """The words of a text, "7 nm" as one: HBM3 is not HBM3e, TSMC 7nm is TSMC 7 nm."""
    return set(re.sub(r"(\d)\s+(?=[a-z])", r"\1", text.lower()).split())


# --------------------------------------------------------------------------- all of it together


def _deciding(claim: Claim, found: Sequence[Found]) -> tuple[list[Found], Kind]:
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


def _by_strength(claim: Claim, found: Sequence[Found]) -> tuple[list[Found], Kind]:
    """A weaker kind is heard only under conditions that no stronger kind reached.

    The basis is the last kind that had to fill in, unless a stronger one alone had shown already
    that the claim holds here and fails there: that cannot be undone.
    """
    swept = set(swept_names(claim))
    chosen: list[Found] = []
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
    inside = sum(relation in HOLDS for relation in relations)
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


def _disagreements(claim: Claim, found: Sequence[Found]) -> tuple[str, ...]:
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


def _is_ratio(claim: Claim) -> bool:
    return bool(claim.baselines) and not QUANTITIES[claim.quantities[0]].comparative


def _unit(claim: Claim) -> str:
    if claim.claimed.low:
        return claim.claimed.low.value.unit
    return QUANTITIES[claim.quantities[0]].unit


def _quantity_of(claim: Claim, item: Evidence) -> str:
    return str(item.conditions.get("quantity", claim.quantities[0]))
