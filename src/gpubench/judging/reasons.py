"""Verdicts in words: what was found, what was accepted, and where a conditional claim holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpubench.judging.tolerances import ABOUT_A_DATE_DAYS, is_count, is_ratio
from gpubench.model import Claim, Evidence, Interval, Outcome
from gpubench.quantities import CONDITIONS, QUANTITIES
from gpubench.units import Quantity, between, show

Found = tuple[Evidence, str]
"""A piece of evidence and its relation to what the claim accepts."""

HOLDS = ("inside", "achievable")
UNDECIDED = ("straddling", "disputed")


def explain(
    claim: Claim,
    accepted: Interval | None,
    chosen: Sequence[Found],
    outcome: Outcome,
    unanswered: Sequence[Evidence] = (),
    alone: bool = False,
) -> str:
    """The sentence behind a verdict, and what else its reader should know: where nothing could be
    found, that printed figures stand `alone`, and the error of the model where it had a say.
    """
    text = f"{_what(claim, accepted, chosen, outcome)}{_achieved(claim, chosen)}."
    if outcome == "refuted":
        text += _as_dense(chosen)
    if unanswered:
        text += f" {_gaps(claim, chosen, unanswered)}"
    if alone and outcome == "supported" and all(item.kind == "arithmetic" for item, _ in chosen):
        text += " So say the printed figures; nothing else at hand confirms them."
    return f"{text} {_errors(chosen)}".rstrip()


def why_untested(evidence: Sequence[Evidence]) -> str:
    """Why nothing could be found, by the first reason given."""
    reasons = list(dict.fromkeys(item.missing for item in evidence if item.missing))
    if not reasons:
        return "Nothing at hand: no catalogue figure, no arithmetic and no model covers it."
    more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}."


def describe_found(claim: Claim, items: Sequence[Evidence], digits: int = 3) -> str:
    """What the evidence spans, in the claim's own unit."""
    words = list(dict.fromkeys(item.text for item in items if item.text))
    if words:
        return " or ".join(words)
    lows = [item.low for item in items if item.low is not None]
    highs = [item.high for item in items if item.high is not None]
    if not lows or not highs:
        return "nothing"
    return f"{_span(claim, min(lows), max(highs), digits)}{_counted(claim, max(highs))}"


def describe_accepted(claim: Claim, accepted: Interval | None, digits: int = 3) -> str:
    """What the claim accepts, in its own unit."""
    if accepted is None:
        said, qualifier = claim.claimed.text, claim.claimed.qualifier
        hedges = {
            "about": f"{said}, {ABOUT_A_DATE_DAYS} days either way",
            "at-least": f"{said} or later",
            "at-most": f"{said} or earlier",
        }
        return hedges.get(qualifier, said)
    if claim.claimed.low and claim.claimed.qualifier in ("more-than", "less-than"):
        return f"{claim.claimed.qualifier.replace('-', ' ')} {claim.claimed.low.text}"
    low, high = accepted.low, accepted.high
    if claim.claimed.low and claim.claimed.low.change == "less":
        low, high = high, low
    if not math.isfinite(low):
        return f"at most {_number(claim, high, digits)}"
    if not math.isfinite(high) or unbounded_below(claim, accepted):
        return f"at least {_number(claim, low, digits)}"
    return _span(claim, accepted.low, accepted.high, digits)


def unbounded_below(claim: Claim, accepted: Interval) -> bool:
    """Whether what is accepted goes down to nothing, as "at least 4 x less" does."""
    return bool(claim.claimed.low and claim.claimed.low.divides and accepted.low == 0)


def condition(name: str, value: Any) -> str:
    """One condition's value: SI numbers in the unit of that condition, lists with commas."""
    if isinstance(value, (list, tuple)):
        return ", ".join(condition(name, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    unit = CONDITIONS[name].unit if name in CONDITIONS else ""
    if unit:
        return show(Quantity(float(value), unit), "%" if unit == "1" else None)
    return f"{value:,}"


# --------------------------------------------------------------------------- what is added to it


def _as_dense(chosen: Sequence[Found]) -> str:
    """That a figure is the dense one, since nobody said which, and how much the sparse one is."""
    told = dict.fromkeys(
        said
        for item, _ in chosen
        for said in item.assumptions
        if said.startswith("the dense rate, ")
    )
    if not told:
        return ""
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return f" That is {next(iter(told))}{more}."


def _gaps(claim: Claim, chosen: Sequence[Found], unanswered: Sequence[Evidence]) -> str:
    """Conditions of which nothing is known: "Nothing is at hand where sparsity is sparse."."""
    found = [item for item, _ in chosen]
    where = _place(claim, unanswered, [*found, *unanswered])
    names = dict.fromkeys(name for item in unanswered for name in item.conditions)
    marks = {
        name: {item.conditions.get(name) for item in unanswered}
        for name in names
        if f"{name.replace('_', ' ')} is " in where
    }
    # Said only where nothing else lies there.
    alike = [
        item
        for item in found
        if all(item.conditions.get(name) in values for name, values in marks.items())
    ]
    if marks and not alike:
        return f"Nothing is at hand where {where}."
    return f"Nothing is at hand for {len(unanswered)} more."


def _errors(chosen: Sequence[Found]) -> str:
    """The validated errors of the estimates that decided; of several, how many each is of.

    What widens one of several, and which parameters it spans, is told with each piece of evidence.
    """
    errors = Counter(item.error for item, _ in chosen if item.kind == "estimated" and item.error)
    if len(errors) > 1:
        alike = Counter[str]()
        for error, count in errors.items():
            alike[_main_part(error)] += count
        errors = alike
    if len(errors) < 2:
        return "".join(f"Model error: {error}." for error in errors)
    whole = sum(errors.values())
    said = "; ".join(
        f"of {count} of {whole} estimates {error}" for error, count in errors.most_common()
    )
    return f"Model errors: {said}."


def _main_part(error: str) -> str:
    """An error without what follows the shares or, where it is not validated, the ranges."""
    before, ranges, _ = error.partition("the interval spans the ranges of its parameters")
    return (before + ranges).partition("; ")[0]


# --------------------------------------------------------------------------- parts of the sentence


def _what(
    claim: Claim, accepted: Interval | None, chosen: Sequence[Found], outcome: Outcome
) -> str:
    decided = [item for item, relation in chosen if relation != "achievable"]
    found = describe_found(claim, decided or [item for item, _ in chosen])
    allowed = describe_accepted(claim, accepted)
    if outcome == "conditional":
        return f"{_where_it_holds(claim, chosen)}; found {found}, accepted {allowed}"
    if outcome == "inconclusive" and accepted is None:
        return f"{_tally(chosen)}Found {found}, which neither confirms nor rules out {allowed}"
    if outcome == "inconclusive" and all(
        _apart(item, accepted) for item, relation in chosen if relation in UNDECIDED
    ):
        return (
            f"{_tally(chosen)}Found {found}, outside the accepted {allowed}, and sources of the "
            f"same weight disagree"
        )
    if outcome == "inconclusive":
        return (
            f"{_tally(chosen)}Found {found}, which cannot be told apart from the accepted {allowed}"
        )
    if outcome == "refuted" and accepted is not None:
        return f"{_tally(chosen)}{_beside(claim, accepted, decided)}"
    bounded = accepted is not None and (not accepted.finite or unbounded_below(claim, accepted))
    if claim.claimed.text and outcome == "supported":
        return f"Found {found}, as claimed" + ("" if found == allowed else f": {allowed}")
    if claim.claimed.text and outcome == "refuted":
        return f"{_tally(chosen)}Found {found}, where {allowed} is claimed"
    reached = sum(relation in HOLDS for _, relation in chosen)
    if claim.claimed.qualifier == "up-to" and reached < len(chosen):
        share = f"Reached under {reached} of {len(chosen)} conditions"
        return f"{share}; found {found}, accepted {allowed}"
    how = f"and the claim needs {allowed}" if bounded else f"inside the accepted {allowed}"
    return f"Found {found}, {how}"


def _beside(claim: Claim, accepted: Interval, items: Sequence[Evidence]) -> str:
    """What was found and, on one side of it or both, what would have been accepted, with as many
    digits as tell them apart.
    """
    lows = [item.low for item in items if item.low is not None]
    highs = [item.high for item in items if item.high is not None]
    printed = claim.claimed.low
    strict = claim.claimed.qualifier in ("more-than", "less-than")
    strict = strict and printed is not None and not is_count(printed)
    edges = [edge for edge in (accepted.low, accepted.high) if math.isfinite(edge)]
    if strict and printed:
        edges.append(printed.as_found(printed.value.value))
    digits = next(
        (
            digits
            for digits in range(3, _MOST_DIGITS)
            if not {_number(claim, end, digits) for end in (*lows, *highs)}
            & {_number(claim, edge, digits) for edge in edges}
        ),
        _MOST_DIGITS,
    )
    found = describe_found(claim, items, digits)
    allowed = describe_accepted(claim, accepted, digits)
    if not accepted.finite and strict and digits > 3:
        return f"Found {found}, which is not {allowed} by more than rounding"
    if not accepted.finite:
        return f"Found {found}, where the claim needs {allowed}"
    if lows and highs and min(lows) < accepted.low and max(highs) > accepted.high:
        return f"Found {found}, on both sides of the accepted {allowed}"
    return f"Found {found}, outside the accepted {allowed}"


_MOST_DIGITS = 6


def _apart(item: Evidence, accepted: Interval | None) -> bool:
    """Whether an interval does not even touch what is accepted: then another source does."""
    if item.low is None or item.high is None or accepted is None:
        return False
    return item.high < accepted.low or item.low > accepted.high


def _achieved(claim: Claim, chosen: Sequence[Found]) -> str:
    """What a sustained rate reaches of a claimed peak."""
    rates = [item for item, relation in chosen if relation == "achievable"]
    if not rates or claim.claimed.low is None:
        return ""
    found, peak = describe_found(claim, rates), claim.claimed.low.value.value
    point = claim.claimed.low == claim.claimed.high
    if claim.claimed.qualifier in _OPEN or not point or peak <= 0:
        return f"; {found} have been sustained"
    shares = [end / peak for item in rates for end in (item.low, item.high) if end is not None]
    span = between(f"{min(shares):.0%}".replace("%", " %"), f"{max(shares):.0%}".replace("%", " %"))
    return f"; {found} of it, {span}, have been sustained"


_OPEN = ("at-least", "at-most", "more-than", "less-than")  # these name no peak, but a bound of one


_SIDES = {"below": ("below",), "above": ("above",), "undecided": UNDECIDED}


def _tally(chosen: Sequence[Found]) -> str:
    """How the conditions fell, where there were several: "Below in 2, above in 22 of 24. "."""
    if len(chosen) < 2:
        return ""
    said = [
        f"{word} in {count}"
        for word, relations in _SIDES.items()
        if (count := sum(r in relations for _, r in chosen))
    ]
    if not said or (len(said) == 1 and not said[0].startswith("undecided")):
        return ""
    return f"{', '.join(said).capitalize()} of {len(chosen)} conditions. "


def _where_it_holds(claim: Claim, chosen: Sequence[Found]) -> str:
    """Where a conditional claim holds: "Holds in 4 of 16 conditions (25 %), only where …"."""
    inside = [item for item, relation in chosen if relation in HOLDS]
    others = [item for item, relation in chosen if relation not in HOLDS]
    undecided = sum(relation in UNDECIDED for _, relation in chosen)
    share = f"{len(inside) / len(chosen):.0%}".replace("%", " %")
    if all(item.conditions == inside[0].conditions for item, _ in chosen):
        text = f"Holds by {len(inside)} of {len(chosen)} findings ({share}){_ways(inside)}"
        return f"{text}; {undecided} undecided" if undecided else text
    less = claim.claimed.high is not None and claim.claimed.high.change == "less"
    beyond = [item for item, relation in chosen if relation == ("below" if less else "above")]
    if claim.claimed.qualifier == "up-to" and beyond:
        text = _exceeded(claim, inside, beyond, [item for item, _ in chosen])
        return f"{text}; {undecided} undecided" if undecided else text
    holds = "Holds" if undecided < len(others) else "Shown"
    text = f"{holds} in {len(inside)} of {len(chosen)} conditions ({share})"
    everything = [item for item, _ in chosen]
    if here := _place(claim, inside, everything):
        # What is undecided may hold elsewhere, too.
        text = f"{text}, {'shown ' if undecided and holds == 'Holds' else ''}only where {here}"
    elif there := _place(claim, others, everything):
        text = f"{text}, the others all where {there}"
    if undecided == len(others):
        return f"{text}; {undecided} undecided, and none fails"
    sides = [f"{word} in {sum(r == word for _, r in chosen)}" for word in ("below", "above")]
    if not any(side.endswith(" in 0") for side in sides):
        text = f"{text}; {', '.join(sides)}"
    return f"{text}; {undecided} undecided" if undecided else text


def _exceeded(
    claim: Claim,
    inside: Sequence[Evidence],
    beyond: Sequence[Evidence],
    everything: Sequence[Evidence],
) -> str:
    """Of "up to": that it is reached, as it should be somewhere, and where there is more."""
    reached, of = len(inside) + len(beyond), len(everything)
    share = f"{reached / of:.0%}".replace("%", " %")
    text = (
        f"Reached in {reached} of {of} conditions ({share}), and exceeded in {len(beyond)} of them"
    )
    place = _place(claim, beyond, everything)
    return f"{text}, only where {place}" if place else text


def _ways(items: Sequence[Evidence]) -> str:
    """How what was found under the same conditions was found: ": copy; triad"."""
    told = dict.fromkeys(item.assumptions[0] for item in items if item.assumptions)
    return f": {'; '.join(told)}" if told else ""


def _place(claim: Claim, items: Sequence[Evidence], everything: Sequence[Evidence]) -> str:
    """What is common to some pieces of evidence and not to all, as far as it sets them apart."""
    marks = {}
    for name in dict.fromkeys(name for item in everything for name in item.conditions):
        everywhere = [item.conditions[name] for item in everything if name in item.conditions]
        here = [item.conditions[name] for item in items if name in item.conditions]
        # Of several pieces, each must tell; a single one is told by what not all of them have.
        comparable = len(everywhere) == len(everything) or (len(items) == 1 and here)
        if comparable and set(here) < set(everywhere):
            marks[name] = here
    others = [item for item in everything if all(item is not one for one in items)]
    return " and ".join(
        _clause(name, marks[name], [e.conditions[name] for e in everything if name in e.conditions])
        for name in _telling(claim, marks, others)
    )


def _telling(
    claim: Claim, marks: Mapping[str, Sequence[Any]], others: Sequence[Evidence]
) -> list[str]:
    """The names of marks: all that the claim leaves open, and of those that only the evidence
    tells, such as an engine, what it takes beside them to set others apart.
    """

    def alike(names: Iterable[str]) -> int:
        return sum(
            all(item.conditions.get(name) in marks[name] for name in names) for item in others
        )

    kept = list(marks)
    for name in marks:
        rest = [other for other in kept if other != name]
        if name not in claim.sweep and rest and alike(rest) == alike(kept):
            kept = rest
    return kept


def _clause(name: str, here: Sequence[Any], everywhere: Sequence[Any]) -> str:
    values = list(dict.fromkeys(here))
    others = [value for value in dict.fromkeys(everywhere) if value not in values]
    label = name.replace("_", " ")
    numeric = all(isinstance(value, int | float) for value in (*values, *others))
    if len(values) > 1 and numeric and min(values) > max(others):
        return f"{label} is {condition(name, min(values))} or more"
    if len(values) > 1 and numeric and max(values) < min(others):
        return f"{label} is {condition(name, max(values))} or less"
    return f"{label} is {' or '.join(condition(name, value) for value in values)}"


def _span(claim: Claim, low: float, high: float, digits: int = 3) -> str:
    first, last = _number(claim, low, digits), _number(claim, high, digits)
    if claim.claimed.low and claim.claimed.low.change == "less":
        first, last = last, first
    return between(first, last)


def _number(claim: Claim, value: float, digits: int = 3) -> str:
    printed = claim.claimed.low
    if printed:
        return printed.show(value, digits)
    if is_ratio(claim):
        return show(Quantity(value, "1"), "x", digits)
    unit = QUANTITIES[claim.quantities[0]].unit
    return show(Quantity(value, unit), None, digits).removesuffix(" x" if unit == "1" else "")


_COUNTED = {
    ("figures_improved",): ("figure improved", "figures improved"),
    ("figures_reduced",): ("figure reduced", "figures reduced"),
    ("figures_improved", "figures_reduced"): ("figure changed", "figures changed"),
    ("devices_needed",): ("device", "devices"),
    ("rule_criteria",): ("limit", "limits"),
}
"""One and several of what these quantities count."""


def _counted(claim: Claim, number: float) -> str:
    """What a bare number counts, such as " devices"."""
    printed = claim.claimed.low
    if claim.quantities not in _COUNTED or (
        is_ratio(claim) if printed is None else not is_count(printed)
    ):
        return ""
    return f" {_COUNTED[claim.quantities][number != 1]}"
