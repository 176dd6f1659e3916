"""Claims that cannot both hold: the same quantity of the same parts, and no value both accept."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpubench import dates
from gpubench.judging.reasons import describe_accepted
from gpubench.judging.tolerances import accepts, is_ratio, words_agree
from gpubench.model import Claim, Interval
from gpubench.quantities import DATE, QUANTITIES


@dataclass(frozen=True)
class Contradiction:
    """Two claims about the same thing that cannot both hold."""

    left: Claim
    right: Claim
    why: str


def contradictions(claims_: Iterable[Claim]) -> tuple[Contradiction, ...]:
    """Pairs of claims about the same quantity of the same parts whose accepted intervals differ.

    Where one leaves a quantity or a condition open and the other does not, they contradict each
    other as far as they mean the same.
    """
    groups: dict[tuple[object, ...], list[Claim]] = {}
    for claim in claims_:
        for key in itertools.product(
            claim.quantities, claim.subjects or ("",), claim.baselines or ("",)
        ):
            if QUANTITIES[key[0]].via != "article":
                groups.setdefault(key, []).append(claim)
    found: dict[tuple[str, str], Contradiction] = {}
    for group in groups.values():
        for left, right in itertools.combinations(_distinct(group), 2):
            why = _clash(left, right)
            if why:
                found.setdefault((left.id, right.id), Contradiction(left, right, why))
    return tuple(found.values())


# A thing claimed in more ways than this is told by its first ones; pairs would grow as the square.
_MOST_DISTINCT = 40


def _distinct(group: Sequence[Claim]) -> list[Claim]:
    """One claim for each different statement of a group, the first that made it."""
    first: dict[object, Claim] = {}
    for claim in group:
        key = (claim.claimed, tuple(sorted(claim.conditions.items())))
        first.setdefault(key, claim)
    return list(first.values())[:_MOST_DISTINCT]


def _clash(left: Claim, right: Claim) -> str:
    """Why two claims about the same thing cannot both hold, or nothing."""
    if not _same_conditions(left, right):
        return ""
    if left.claimed.text or right.claimed.text:
        return _word_clash(left, right)
    one, other = (accepts(claim.claimed, is_ratio(claim)) for claim in (left, right))
    if one is None or other is None or not one.disjoint(other):
        return ""
    how = left.claimed.qualifier, right.claimed.qualifier
    if _short_of(left, one, how[1], other) or _short_of(right, other, how[0], one):
        return ""
    return f"{describe_accepted(left, one)} and {describe_accepted(right, other)} do not overlap"


def _short_of(best: Claim, one: Interval, usual: str, other: Interval) -> bool:
    """Whether the other, of that qualifier, merely says less than what is reached at best."""
    if best.claimed.qualifier != "up-to" or usual in ("up-to", "at-most", "less-than"):
        return False  # two bests, or a bound below the best, do contradict it
    less = best.claimed.high is not None and best.claimed.high.change == "less"
    return other.low > one.high if less else other.high < one.low


def _same_conditions(left: Claim, right: Claim) -> bool:
    """Whether what one states, the other may mean: it states or sweeps it, or nobody has to say."""
    return all(
        value in _meant(other, name)
        for one, other in ((left, right), (right, left))
        for name, value in one.conditions.items()
    )


# What a figure means where nothing is said, as in `catalogue.facts`.
_UNSAID = {"rate": "peak", "direction": "both", "sparsity": "dense"}


def _meant(claim: Claim, name: str) -> Sequence[object]:
    """The values of a condition that a claim may mean."""
    return claim.sweep.get(name) or (claim.conditions.get(name, _UNSAID.get(name)),)


def _word_clash(left: Claim, right: Claim) -> str:
    a, b = left.claimed.text, right.claimed.text
    if QUANTITIES[left.quantities[0]].unit != DATE:
        apart = words_agree(a, b) is False and words_agree(b, a) is False
        return f"'{a}' is not '{b}'" if apart else ""
    if {left.claimed.qualifier, right.claimed.qualifier} != {"exact"}:
        return ""
    one, other = dates.span(a), dates.span(b)
    return f"{a} and {b} do not overlap" if one[1] < other[0] or other[1] < one[0] else ""
