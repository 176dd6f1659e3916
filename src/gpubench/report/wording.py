"""How claims, findings and verdicts are put in words, each figure in the unit that was printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpubench import units
from gpubench.judging.reasons import condition, describe_accepted, describe_found
from gpubench.model import Article, Claim, Claimed, Evidence, OutOfScope, Verdict
from gpubench.stats import MedianInterval

_QUALIFIERS = {
    "exact": "",
    "range": "",
    "about": "about ",
    "nearly": "nearly ",
    "up-to": "up to ",
    "at-least": "at least ",
    "at-most": "at most ",
    "more-than": "more than ",
    "less-than": "less than ",
}


def counted(number: int, noun: str) -> str:
    """ "1 claim", "2 claims"."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def publisher(article: Article) -> str:
    """Who published an article, after who wrote it: "Jane Doe, Example Post"."""
    return ", ".join(name for name in (article.author, article.publisher) if name)


def verdict(found: Verdict) -> str:
    """ "supported (measured)"; the outcome alone where there is no basis."""
    return f"{found.outcome} ({found.basis})" if found.basis else found.outcome


def why(found: Verdict) -> str:
    """The reason of a verdict, with the remarks on it."""
    return " ".join([found.reason, *(f"Note: {flag}." for flag in found.flags)])


def claimed(what: Claimed) -> str:
    """What was printed: "about 4.8 TB/s", "30 to 50 %", "HBM3e"."""
    qualifier = _QUALIFIERS.get(what.qualifier, f"{what.qualifier} ")
    if what.low is None or what.high is None:
        later = {"at-least": f"{what.text} or later", "at-most": f"{what.text} or earlier"}
        return later.get(what.qualifier, f"{qualifier}{what.text}")
    return qualifier + units.between(what.low.text, what.high.text)


def entry_claimed(entry: Claim | OutOfScope) -> str:
    """What a claim, or an entry out of scope, printed; empty where it has no figure."""
    printed = entry.claimed if isinstance(entry, Claim) else entry.printed
    return claimed(printed) if printed else ""


def accepted(found: Verdict, claim: Claim) -> str:
    """What the claim allows: an interval in its own unit, or its word."""
    return describe_accepted(claim, found.accepted)


def finding(evidence: Evidence, claim: Claim) -> str:
    """What one piece of evidence says, in the claim's unit."""
    return describe_found(claim, [evidence])


def conditions(chosen: Mapping[str, Any], without: Iterable[str] = ()) -> str:
    """ "precision fp8, network 400 GB/s"."""
    left_out = set(without)
    return ", ".join(
        f"{name.replace('_', ' ')} {condition(name, value)}"
        for name, value in chosen.items()
        if name not in left_out
    )


def shared(evidence: Sequence[Evidence]) -> dict[str, Any]:
    """The conditions that every piece of evidence has in common."""
    if len(evidence) < 2:
        return {}
    first, *others = (item.conditions for item in evidence)
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def spread(found: MedianInterval) -> str:
    """Half an interval's width, or both sides of one that is lopsided; a dash for one figure, of
    which nobody knows how far it strays.
    """
    if found.count < 2:
        return "–"
    below, above = (100 * abs(end / found.mid - 1) for end in (found.low, found.high))
    if max(below, above) > max(_LOPSIDED * min(below, above), _WIDE):
        return f"−{below:.3g} to +{above:.3g} %"
    return f"{100 * found.half_width:.2f} %"


_LOPSIDED, _WIDE = 3, 5.0
# One side so many times the other, and so many percent: half of both would mislead.


def with_spread(shown: str, found: MedianInterval) -> str:
    """ "4.05 TB/s ±0.31 %", or "957 GFLOPS (−72 to +1 %)"."""
    told = spread(found)
    if found.count < 2:
        return shown
    return f"{shown} ({told})" if " to " in told else f"{shown} ±{told}"
