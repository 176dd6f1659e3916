"""Conditions under which the uplifts of a sweep lie inside an interval, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpubench.report.table import Table
from gpubench.report.wording import counted

if TYPE_CHECKING:
    from gpubench.roofline.subgroups import Condition, Explanation, Rule
    from gpubench.roofline.sweep import Sweep

Between = tuple[float, float]
"""The interval of uplifts that is asked for."""


def interval(between: Between) -> str:
    """ "1.6 to 1.9"."""
    return f"{between[0]:g} to {between[1]:g}"


def where(found: Sweep, between: Between) -> dict[str, Any]:
    """What `subgroups.explain` finds, as a document."""
    from gpubench.roofline import subgroups

    why = subgroups.explain(found, between)
    return {
        "inside": why.inside,
        "common": _rule(why.common),
        "rules": [{**_rule(rule), "of_all_inside": rule.inside / why.inside} for rule in why.rules],
        "explained": why.explained / why.inside if why.inside else None,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "conditions": {condition.axis: _held(condition) for condition in rule.conditions},
        "combinations": rule.covered,
        "inside": rule.inside / rule.covered,
    }


def _held(condition: Condition) -> dict[str, Any] | list[Any]:
    values = [_batch(value) if condition.axis == "batch" else value for value in condition.values]
    return {"low": values[0], "high": values[-1]} if condition.is_range else values


def _batch(number: int) -> int | str:
    return number or "max"


def introduced(why: Explanation, total: int, between: Between) -> str:
    """What stands above the rules: how many lie inside, and what they have in common."""
    ends, common = interval(between), why.common
    if not why.inside:
        return f"None of the {total:,} lies inside {ends}."
    if why.inside == total:
        return f"All {total:,} lie inside {ends}."
    told = f"Inside {ends} {'lies' if why.inside == 1 else 'lie'} {why.inside:,} of {total:,}"
    if common.inside == common.covered:
        return f"{told}: exactly those with {_words(common)}."
    if common.conditions:
        told += f", all with {_words(common)} ({counted(common.covered, 'combination')})"
    if not why.rules:
        return f"{told}; no conditions on up to three axes explain it better."
    return f"{told}. {'On top of that' if common.conditions else 'What they have'}:"


def table(why: Explanation) -> Table:
    """The rules for people."""
    rows = [
        [
            f"{rule.inside / why.inside:.0%}",
            f"{rule.covered:,}",
            f"{rule.inside / rule.covered:.0%}",
            _words(rule),
        ]
        for rule in why.rules
    ]
    return Table(("of those inside", "combinations", "inside", "conditions"), rows)


def concluded(why: Explanation) -> str:
    """What stands below the rules."""
    told = f"One or more of these hold for {why.explained / why.inside:.0%} of those inside."
    if all(2 * rule.inside < rule.covered for rule in why.rules):
        told += " No conditions on up to three axes have half of their combinations inside."
    return told


def _words(rule: Rule) -> str:
    return "; ".join(_condition(condition) for condition in rule.conditions)


def _condition(condition: Condition) -> str:
    """ "tp 2, 4 or 8", "osl from 512 to 4,096"."""
    axis = condition.axis
    values = (_batch(value) if axis == "batch" else value for value in condition.values)
    named = [f"{value:,}" if isinstance(value, int) else value for value in values]
    if len(named) > 1 and condition.is_range:
        return f"{axis} from {named[0]} to {named[-1]}"
    *others, last = named
    return f"{axis} {', '.join(others)} or {last}" if others else f"{axis} {last}"
