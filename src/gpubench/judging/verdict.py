"""Claim + Evidence -> Verdict.

A claim accepts an interval, and every piece of evidence is one: inside it, outside or straddling.
The strongest kind of evidence decides wherever it reaches; weaker kinds decide where it does not.
No verdict is stored: change a figure, a claimed value or a tolerance, and the verdict follows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gpubench import dates
from gpubench.judging.reasons import HOLDS, UNDECIDED, Found, describe_found, explain, why_untested
from gpubench.judging.tolerances import ABOUT_A_DATE_DAYS, accepts, is_ratio, words_agree
from gpubench.model import KINDS, Claim, Evidence, Interval, Kind, Outcome, OutOfScope, Verdict
from gpubench.quantities import ACHIEVABLE, DATE, PEAK_CEILING, QUANTITIES
from gpubench.units import Quantity, show

_NO_EVIDENCE = ("missing", "implausible", "slower", "sustained")


def judge(claim: Claim, evidence: Sequence[Evidence]) -> Verdict:
    """The verdict on a claim, given everything found about it."""
    accepted = accepts(claim.claimed, is_ratio(claim))
    relations = _relations(claim, accepted, evidence)
    found = [
        (item, relation)
        for item, relation in zip(evidence, relations, strict=True)
        if relation not in _NO_EVIDENCE
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
    outcome = _outcome(claim, chosen)
    return replace(
        verdict,
        outcome=outcome,
        flags=(*verdict.flags, *_disputes(claim, accepted, chosen, outcome)),
        basis=basis,
        reason=explain(
            claim,
            accepted,
            chosen,
            outcome,
            unanswered=_unanswered(claim, chosen, evidence),
            alone=len(found) == len(chosen),
        ),
        found=describe_found(claim, [item for item, _ in chosen]),
        span=_span(chosen),
    )


def _unanswered(
    claim: Claim, chosen: Sequence[Found], evidence: Sequence[Evidence]
) -> list[Evidence]:
    """What could not be found, under conditions that nothing else reached either."""
    swept = set(swept_names(claim))
    return [
        item
        for item in evidence
        if item.missing
        and item.conditions
        and not any(_reaches_there(other, item, swept) for other, _ in chosen)
    ]


def _span(chosen: Sequence[Found]) -> Interval | None:
    """From the lowest to the highest number that decided; None where it is all words.

    A sustained rate that confirms a peak counts only where nothing else speaks.
    """
    items = [item for item, relation in chosen if relation != "achievable"]
    items = items or [item for item, _ in chosen]
    ends = [end for item in items for end in (item.low, item.high) if end is not None]
    return Interval(min(ends), max(ends)) if ends else None


def set_aside(entry: OutOfScope) -> Verdict:
    """The verdict on a statement that no computation settles."""
    return Verdict(claim=entry.id, outcome="out-of-scope", basis="", reason=entry.reason)


# --------------------------------------------------------------------------- one piece of evidence


def _relations(
    claim: Claim, accepted: Interval | None, evidence: Sequence[Evidence]
) -> tuple[str, ...]:
    """For each piece inside, below, above, straddling or missing, or disputed where a source of the
    same weight is inside and it is not; for a sustained rate held against a peak also achievable,
    slower (another kernel does better), sustained (how near to the peak a good kernel comes is not
    known) or implausible.
    """
    best = _best_of_peaks(claim, evidence)

    def relation(item: Evidence) -> str:
        if not item.missing and accepted is None:
            return _word_relation(claim, item)
        if item.missing or accepted is None or item.low is None or item.high is None:
            return "missing"
        if item.kind == "device" and _quantity_of(claim, item) in ACHIEVABLE:
            # A data sheet rounds what bus width and clock give: 4.8 TB/s for 4.92.
            nominal = Interval(accepted.low / PEAK_CEILING, accepted.high * PEAK_CEILING)
            return _place(item.low, item.high, nominal)
        if not _held_against_peak(claim, item):
            place = _place(item.low, item.high, accepted)
            # Refuting takes all sources of the same weight.
            return "disputed" if place != "inside" and _backers(item, accepted) else place
        if best[_peak_key(claim, item)] is not item:
            return "slower"
        return _against_peak(claim, accepted, item, evidence)

    return tuple(relation(item) for item in evidence)


def _against_peak(
    claim: Claim, accepted: Interval, item: Evidence, evidence: Sequence[Evidence]
) -> str:
    """A rate above the claimed peak refutes it where a device or data sheet lists a higher peak;
    where none does, the measurement is at fault.
    """
    assert item.low is not None
    assert item.high is not None
    # How near a sparse product comes to twice the dense rate is not known.
    sparse = item.conditions.get("sparsity") == "sparse"
    known = None if sparse else ACHIEVABLE.get(_quantity_of(claim, item))
    achievable = Interval(
        accepted.low * (known.floor if known else 0), accepted.high * PEAK_CEILING
    )
    place = _place(item.low, item.high, achievable)
    listed = [
        other.high
        for other in evidence
        if other.kind in ("device", "catalogue") and other.high and _same_case(item, other)
    ]
    if place == "above" and item.high > max(listed, default=0.0) * PEAK_CEILING:
        return "implausible"
    bound_above = claim.claimed.qualifier in ("at-most", "less-than")
    if place != "above" and (not known or bound_above):
        return "sustained"  # how much less than a bound is reached says nothing about the bound
    return "achievable" if place == "inside" else place


def _same_case(one: Evidence, other: Evidence) -> bool:
    shared = one.conditions.keys() & other.conditions.keys()
    return all(one.conditions[name] == other.conditions[name] for name in shared)


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
    )


def _peak_key(claim: Claim, item: Evidence) -> object:
    conditions = item.conditions.get("subject"), item.conditions.get("sparsity")
    return item.kind, *conditions, _quantity_of(claim, item)


def _best_of_peaks(claim: Claim, evidence: Sequence[Evidence]) -> dict[object, Evidence]:
    """Of several kernels that were measured soundly, the one that comes nearest to the peak."""
    best: dict[object, Evidence] = {}
    for item in evidence:
        if item.high is not None and not item.missing and _held_against_peak(claim, item):
            held = best.setdefault(_peak_key(claim, item), item)
            if item.high > (held.high or 0.0):
                best[_peak_key(claim, item)] = item
    return best


def _word_relation(claim: Claim, item: Evidence) -> str:
    claimed = claim.claimed.text
    if QUANTITIES[_quantity_of(claim, item)].unit == DATE:
        return _date_relation(claim.claimed.qualifier, dates.span(claimed), dates.span(item.text))
    agree = words_agree(claimed, item.text)
    return "straddling" if agree is None else "inside" if agree else "above"


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


# --------------------------------------------------------------------------- all of it together


def _deciding(claim: Claim, found: Sequence[Found]) -> tuple[list[Found], Kind]:
    """The evidence that decides, strongest kind first, and the kind that is the verdict's basis.

    A sustained rate near a peak says that the peak is achievable, not where it is: it confirms
    what a device or data sheet says, and stands alone only where they are silent.
    """
    confirming = [pair for pair in found if pair[1] == "achievable"]
    others = [pair for pair in found if pair[1] != "achievable"]
    # That others stayed far below a peak tells less of it than what a data sheet says.
    stated = [pair for pair in others if not _others_rate(claim, pair)]
    others = stated or others
    if not others:
        return confirming, confirming[0][0].kind
    chosen, basis = _by_strength(claim, others)
    if confirming and _outcome(claim, chosen) == "supported":
        return confirming + chosen, min(confirming[0][0].kind, basis, key=KINDS.index)
    return chosen, basis


def _others_rate(claim: Claim, pair: Found) -> bool:
    """Whether it is what others sustained, below what is achievable of a claimed peak."""
    item, relation = pair
    return item.kind == "published" and relation == "below" and _held_against_peak(claim, item)


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
        inside, outside, _ = _tally(claim, chosen)
        settled = settled or bool(inside and outside)
    return chosen, basis


def _covers(strong: Evidence, weak: Evidence, swept: set[str]) -> bool:
    if strong.kind == weak.kind:
        return False
    return _reaches_there(strong, weak, swept)


def _reaches_there(item: Evidence, other: Evidence, swept: set[str]) -> bool:
    """Whether a piece of evidence speaks for the conditions of another."""
    if item.kind == "arithmetic":
        # The article's own figures hold under whatever conditions it had in mind; only another
        # alternative of the same inputs is a case of its own.
        return item.conditions.keys() != other.conditions.keys() or _same_case(item, other)
    return all(
        name in item.conditions and item.conditions[name] == other.conditions[name]
        for name in swept
        if name in other.conditions
    )


def _outcome(claim: Claim, found: Sequence[Found]) -> Outcome:
    inside, outside, straddling = _tally(claim, found)
    if inside and (outside or straddling):
        return "conditional"
    if inside:
        return "supported"
    return "refuted" if outside and not straddling else "inconclusive"


def _tally(claim: Claim, found: Sequence[Found]) -> tuple[int, int, int]:
    """How many pieces lie inside, outside and across what the claim accepts.

    "Up to" needs one piece that reaches the figure and none that exceeds it, so once it is reached
    only what goes or may go beyond it counts.
    """
    inside = sum(relation in HOLDS for _, relation in found)
    across = [item for item, relation in found if relation in UNDECIDED]
    outside = len(found) - inside - len(across)
    if claim.claimed.qualifier == "up-to" and inside:
        less = claim.claimed.high is not None and claim.claimed.high.change == "less"
        beyond = "below" if less else "above"  # a larger reduction leaves a smaller ratio
        outside = sum(relation == beyond for _, relation in found)
        across = [item for item in across if _reaches(claim, item, beyond)]
    return inside, outside, len(across)


def _reaches(claim: Claim, item: Evidence, beyond: str) -> bool:
    """Whether an interval extends past the bound of an "up to" claim."""
    limit = accepts(claim.claimed, is_ratio(claim))
    if limit is None or item.low is None or item.high is None:
        return False
    return item.low < limit.low if beyond == "below" else item.high > limit.high


def _disagreements(claim: Claim, found: Sequence[Found]) -> tuple[str, ...]:
    """Kinds of evidence that say the opposite of each other about the same conditions."""
    swept = set(swept_names(claim))
    found = [pair for pair in found if pair[1] != "achievable"]  # it tells no peak
    flags = []
    for strong, weak in itertools.combinations(KINDS, 2):
        pairs = [
            (one, other)
            for one in found
            for other in found
            if one[0].kind == strong and other[0].kind == weak and _covers(one[0], other[0], swept)
        ]
        if not pairs:
            continue
        said = {
            _outcome(claim, [one for one, _ in pairs]): strong,
            _outcome(claim, [other for _, other in pairs]): weak,
        }
        if said.keys() == {"supported", "refuted"}:
            flags.append(
                f"{said['supported']} evidence supports it, {said['refuted']} evidence refutes it"
            )
    return tuple(flags)


def _disputes(
    claim: Claim, accepted: Interval | None, chosen: Sequence[Found], outcome: Outcome
) -> Iterator[str]:
    """Sources that support what others of the same weight do not."""
    if outcome not in ("refuted", "inconclusive") or accepted is None:
        return
    said = {who: value for item, _ in chosen for who, value in _backers(item, accepted).items()}
    for who, value in said.items():
        yield f"{who} says {show(Quantity(value, _unit(claim)))}, which would support it"


def _backers(item: Evidence, accepted: Interval) -> dict[str, float]:
    """Who else, of the same weight, says what the claim accepts."""
    return {
        who: value for who, value in item.disputed.items() if accepted.low <= value <= accepted.high
    }


def swept_names(claim: Claim) -> tuple[str, ...]:
    """The conditions that vary: those of `sweep`, and subject, baseline, quantity if several."""
    several = {
        "subject": claim.subjects,
        "baseline": claim.baselines,
        "quantity": claim.quantities,
    }
    return (*(name for name, values in several.items() if len(values) > 1), *claim.sweep)


def _unit(claim: Claim) -> str:
    if claim.claimed.low:
        return claim.claimed.low.value.unit
    return QUANTITIES[claim.quantities[0]].unit


def _quantity_of(claim: Claim, item: Evidence) -> str:
    return str(item.conditions.get("quantity", claim.quantities[0]))
