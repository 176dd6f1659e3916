"""Under which conditions the uplifts of a sweep lie in an interval: subgroup discovery.

First what all of them have in common. Then, one after the other, the conditions on up to three
axes that explain most of those left: n combinations of which k lie inside score k · k/n. What is
covered is removed, and the next is looked for ("covering", as in Lavrač et al., Subgroup Discovery
with CN2-SD, JMLR 5, 2004). Every set of values of a short axis and every range of a long one is
tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, compress, product
from typing import TYPE_CHECKING, Any

from gpubench.roofline.sweep import MAX, Sweep

if TYPE_CHECKING:
    import numpy

    Counts = numpy.ndarray[Any, Any]

_MOST_RULES = 6
_AXES_OF_A_RULE = 3
_LEAST_NEW = 0.02
# A rule that adds less of what lies inside is an accident of the values swept.

_MOST_LISTED = 6
# An axis of more values is cut into ranges.

_PIECES = 12
# Ends of ranges: so many at most, so that all pairs of them are tried in milliseconds.

_PRICE = 0.97
# What a condition more must gain: rules of few words are preferred.


@dataclass(frozen=True)
class Condition:
    """What an axis ("precision", "tp", "pp", "batch", "isl", "osl") is held to.

    `values` are those swept; where `is_range` they are all between the first and the last.
    """

    axis: str
    values: tuple[Any, ...]
    is_range: bool


@dataclass(frozen=True)
class Rule:
    """Conditions that hold together, how many combinations they cover, and how many lie inside."""

    conditions: tuple[Condition, ...]
    covered: int
    inside: int


@dataclass(frozen=True)
class Explanation:
    """`inside` combinations lie in the interval, all of them under the conditions of `common`.

    Rules come on top of these, the one that holds most first. Each is counted by itself; at least
    one of them holds for `explained` of the combinations inside.
    """

    inside: int
    common: Rule
    rules: tuple[Rule, ...]
    explained: int


def explain(found: Sweep, between: tuple[float, float]) -> Explanation:
    """Where the uplifts of a sweep lie between two ends."""
    axes, counts = _sorted(found, between)
    if not counts[1].any():
        return Explanation(0, Rule((), int(counts[0].sum()), 0), (), 0)
    axes, counts = _narrowed(axes, counts)
    common = tuple(axis.condition for axis in axes if len(axis.values) < axis.swept)
    covered, inside = (int(count.sum()) for count in counts)
    rules, left = _rules(axes, _pieced(axes, counts))
    rules.sort(key=lambda rule: -rule.inside)
    return Explanation(inside, Rule(common, covered, inside), tuple(rules), inside - left)


# --------------------------------------------------------------------------- axes


@dataclass(frozen=True)
class _Axis:
    """The values of an axis that are looked at, of `swept` ones; a length is never a list."""

    name: str
    values: tuple[Any, ...]
    swept: int

    @property
    def is_range(self) -> bool:
        if self.name == "precision":
            return False
        return self.name in ("isl", "osl") or len(self.values) > _MOST_LISTED

    @property
    def condition(self) -> Condition:
        return Condition(self.name, self.values, self.is_range)

    def starts(self) -> list[int]:
        """Where the pieces of the axis begin; as many sequences as fit are a piece of their own."""
        apart = self.name == "batch" and self.values[-1] == MAX
        numbers = len(self.values) - apart
        pieces = min(numbers, _PIECES) if self.is_range else numbers
        return [n * numbers // pieces for n in range(pieces)] + [numbers] * apart

    def chosen(self, pieces: Counts) -> _Axis:
        """The axis with these pieces of it alone, given as 0 and 1."""
        import numpy as np

        ends = np.append(self.starts(), len(self.values))
        kept = np.repeat(pieces, np.diff(ends))
        return replace(self, values=tuple(compress(self.values, kept)))

    def selections(self) -> Counts:
        """What a rule may hold the axis to, as 0 and 1 a piece; all of it first, then few first."""
        import numpy as np

        count = len(self.starts())
        if self.is_range:
            ends = combinations(range(count + 1), 2)
            rows = [[first <= n < last for n in range(count)] for first, last in ends]
        else:
            rows = [list(row) for row in product([False, True], repeat=count) if any(row)]
        return np.array(sorted(rows, key=lambda row: (sum(row) < count, sum(row))), dtype=float)


def _sorted(found: Sweep, between: tuple[float, float]) -> tuple[list[_Axis], Counts]:
    """The axes in rising order, and for every combination whether it runs, and lies inside.

    The counts have the shape (2, precisions, tensors, pipelines, batches, inputs, outputs).
    """
    import numpy as np

    axes, low, high = found.axes, *between
    kept: list[tuple[str, Sequence[Any], list[Any]]] = [
        ("precision", axes.precisions, list(axes.precisions)),
        ("tp", axes.tensors, sorted(axes.tensors)),
        ("pp", axes.pipelines, sorted(axes.pipelines)),
        ("batch", axes.batches, sorted(axes.batches, key=lambda n: n or float("inf"))),
        ("isl", axes.inputs, sorted(axes.inputs)),
        ("osl", axes.outputs, sorted(axes.outputs)),
    ]
    shape = tuple(len(given) for _, given, _ in kept)
    counts = np.zeros((2, len(found.planes), *shape[3:]), dtype=bool)
    for place, plane in enumerate(found.planes):
        if plane.uplift is not None:
            counts[0, place] = ~np.isnan(plane.uplift)
            counts[1, place] = (plane.uplift >= low) & (plane.uplift <= high)
    counts = counts.reshape(2, *shape)
    for n, (_, given, rising) in enumerate(kept, 1):
        places = {value: place for place, value in enumerate(given)}
        counts = counts.take([places[value] for value in rising], n)
    return [_Axis(name, tuple(values), len(values)) for name, _, values in kept], counts


def _narrowed(axes: Sequence[_Axis], counts: Counts) -> tuple[list[_Axis], Counts]:
    """Each axis cut down to the values, or the range, under which something lies inside."""
    import numpy as np

    narrow = []
    for n, axis in enumerate(axes):
        others = tuple(other for other in range(len(axes)) if other != n)
        places = np.flatnonzero(counts[1].any(axis=others))
        if axis.is_range:
            places = np.arange(places[0], places[-1] + 1)
        counts = counts.take(places, n + 1)
        narrow.append(replace(axis, values=tuple(axis.values[place] for place in places)))
    return narrow, counts


def _pieced(axes: Sequence[_Axis], counts: Counts) -> Counts:
    """The counts summed over the pieces of each axis."""
    import numpy as np

    for n, axis in enumerate(axes, 1):
        counts = np.add.reduceat(counts, axis.starts(), axis=n, dtype=np.int64)
    return counts.astype(float)


# --------------------------------------------------------------------------- rules


def _rules(axes: Sequence[_Axis], counts: Counts) -> tuple[list[Rule], int]:
    """The rules, and how many of those inside none of them covers."""
    import numpy as np

    selections = [axis.selections() for axis in axes]
    left = counts.copy()
    rules: list[Rule] = []
    while len(rules) < _MOST_RULES:
        chosen = _best(left, selections)
        box = np.ix_(np.arange(2), *(np.flatnonzero(row) for row in chosen))
        new = left[box][1].sum()
        if all(row.all() for row in chosen) or new < _LEAST_NEW * counts[1].sum():
            break
        held = [(axis, row) for axis, row in zip(axes, chosen, strict=True) if not row.all()]
        conditions = tuple(axis.chosen(row).condition for axis, row in held)
        rules.append(Rule(conditions, *(int(count.sum()) for count in counts[box])))
        left[box] = 0
    return rules, int(left[1].sum())


def _best(counts: Counts, selections: Sequence[Counts]) -> list[Counts]:
    """What the rule that explains most holds each axis to, as 0 and 1 a piece."""
    import numpy as np

    best, found = 0.0, [rows[0] for rows in selections]
    for axes in combinations(range(len(selections)), _AXES_OF_A_RULE):
        others = tuple(n + 1 for n in range(len(selections)) if n not in axes)
        few = counts.sum(axis=others)
        for n in axes:  # each turn replaces the first axis of pieces by a last one of selections
            few = np.tensordot(few, selections[n], axes=(1, 1))
        score = _scores(*few)
        place = np.unravel_index(score.argmax(), score.shape)
        if score[place] > best:
            chosen = dict(zip(axes, place, strict=True))
            best = score[place]
            found = [rows[chosen.get(n, 0)] for n, rows in enumerate(selections)]
    return found


def _scores(covered: Counts, inside: Counts) -> Counts:
    """k · k/n less the price of conditions; rules that hold for half come before all others."""
    import numpy as np

    score: Counts = inside**2 / np.maximum(covered, 1)
    for n in range(score.ndim):
        price = np.full((score.shape[n],) + (1,) * (score.ndim - n - 1), _PRICE)
        price[0] = 1  # all values: no condition
        score = score * price
    every = inside[(0,) * score.ndim]
    return np.where((inside > 0) & (2 * inside >= covered), score + every, score)
