"""Fitting the parameters of serving to published results, from those results alone.

The sum of |ln(predicted / published)| over rows, and over the ratios of pairs that differ in
nothing but memory, is made small within the ranges of `calibration.yaml`: a few Gauss-Newton steps
with the weights of that sum, then a search along each parameter for what steps cannot see (batches
are whole numbers). No chance is involved, and the starts are fixed shares of the ranges, so that
the same table always gives the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from gpubench.catalogue import inference
from gpubench.errors import CannotEstimate
from gpubench.roofline import ceilings
from gpubench.roofline.calibration import Calibration, Parameters
from gpubench.validating import validation

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue, InferenceRow

ROWS_A_PARAMETER = 5
"""Fewer rows than this for each parameter fit noise."""

_DELTA = 0.02
# Errors below this count as squares, above as they are; releases of one engine differ by more.

_PAIR_WEIGHT = 5.0
# The uplift of one part over another is what estimates are asked for most, and pairs are fewer.

_NO_PREDICTION = 2.0
# The logarithmic error of a run that was published and is said not to fit.

_STARTS = (0.4, 0.5, 0.6)
# Shares of the ranges to start from; the better end counts.

_AT_THE_END = 1.01
# Within a hundredth of an end of its range, a parameter ended there.

_STEP = 0.03
_LONGEST = 0.7
_DIGITS = 4


@dataclass(frozen=True)
class Effort:
    """How long to search: Gauss-Newton steps, then sweeps over all parameters."""

    steps: int
    sweeps: int


FULL, REFIT = Effort(steps=10, sweeps=10), Effort(steps=4, sweeps=4)
"""From the middle of the ranges, and from a fit that saw a little more."""


@dataclass(frozen=True)
class Fitted:
    """Parameters found, how many rows they saw, and which ended on an end of their range."""

    parameters: Parameters
    values: Mapping[str, float]
    rows: int
    on_bound: tuple[str, ...]


def fit(
    rows: Sequence[InferenceRow],
    catalogue: Catalogue,
    shared: Calibration,
    start: Parameters | None = None,
) -> Fitted:
    """The parameters listed as fitted in `shared`, on these rows; four significant digits.

    Args:
        start: where to begin, a short search from there; without it a long one from the middle.

    Raises:
        CannotEstimate: there are too few rows of the engine that is fitted.
    """
    problem = _Problem(rows, catalogue, shared)
    if len(problem.rows) < ROWS_A_PARAMETER * len(problem.names):
        raise CannotEstimate(
            f"{len(problem.rows)} rows of {validation.ENGINE} that can be predicted are too few to "
            f"fit {len(problem.names)} parameters: give {ROWS_A_PARAMETER * len(problem.names)} "
            f"or more"
        )
    starts = [problem.point(start)] if start else [problem.inside(share) for share in _STARTS]
    effort = REFIT if start else FULL
    found = [
        _sweep(problem, _gauss_newton(problem, at, effort.steps), effort.sweeps) for at in starts
    ]
    at = min(found, key=lambda end: problem.cost(problem.errors(end)))
    values = {
        name: _rounded(math.exp(x), low, high)
        for name, x, (low, high) in zip(problem.names, at, problem.plain, strict=True)
    }
    on_bound = tuple(
        name
        for name, (low, high) in zip(problem.names, problem.plain, strict=True)
        if min(values[name] / low, high / values[name]) < _AT_THE_END
    )
    return Fitted(replace(shared.mid, **values), values, len(problem.rows), on_bound)


def folds(
    rows: Sequence[InferenceRow], catalogue: Catalogue, shared: Calibration, full: Fitted
) -> dict[str, dict[str, float]]:
    """For each source of the fitted rows, the values of a fit without it.

    Raises:
        CannotEstimate: there is one source only, or too little without one of them.
    """
    sources = sorted({row.source_id for row in _Problem(rows, catalogue, shared).rows})
    if len(sources) < 2:
        raise CannotEstimate(
            "the rows come from one source, so none is left to validate on: add rows of another, "
            "with another source_id"
        )
    return {
        source: dict(without(rows, catalogue, shared, full, partial(_of_source, source)))
        for source in sources
    }


def _of_source(source: str, row: InferenceRow) -> bool:
    return row.source_id == source


def without(
    rows: Sequence[InferenceRow],
    catalogue: Catalogue,
    shared: Calibration,
    full: Fitted,
    left_out: Callable[[InferenceRow], bool],
) -> Mapping[str, float]:
    """The values of a fit that leaves some rows out, from where the full fit ended."""
    kept = [row for row in rows if not left_out(row)]
    return fit(kept, catalogue, shared, full.parameters).values


def _rounded(value: float, low: float, high: float) -> float:
    return min(high, max(low, float(f"{value:.{_DIGITS - 1}e}")))


class _Problem:
    """Logarithmic errors of rows and pairs as a function of the logarithms of the parameters."""

    def __init__(
        self, rows: Sequence[InferenceRow], catalogue: Catalogue, shared: Calibration
    ) -> None:
        self.names = shared.fitted
        self.base, self.catalogue = shared.mid, catalogue
        ends = [(getattr(shared.low, n), getattr(shared.high, n)) for n in self.names]
        self.plain = [(min(pair), max(pair)) for pair in ends]
        self.ranges = [(math.log(low), math.log(high)) for low, high in self.plain]
        self.rows = [
            found.row
            for found in validation.predict(rows, catalogue, shared.mid)
            if found.value is not None
            and found.row.value
            and found.row.framework == validation.ENGINE
        ]
        self.pairs = self._pairs()

    def _pairs(self) -> list[tuple[int, int]]:
        """Places of rows that form pairs of parts with equal compute."""
        place = {row.line: i for i, row in enumerate(self.rows)}
        names = sorted({row.accelerator for row in self.rows})
        parts = [self.catalogue.accelerators[name] for name in names]
        return [
            (place[pair.subject.line], place[pair.baseline.line])
            for i, first in enumerate(parts)
            for second in parts[i + 1 :]
            if ceilings.equal_compute(first, second, "fp16")
            for pair in inference.matched_pairs(self.rows, first.id, second.id)
        ]

    def point(self, parameters: Parameters) -> list[float]:
        return [
            min(high, max(low, math.log(getattr(parameters, name))))
            for name, (low, high) in zip(self.names, self.ranges, strict=True)
        ]

    def inside(self, share: float) -> list[float]:
        """The point at this share of every range, from its low end."""
        return [low + share * (high - low) for low, high in self.ranges]

    def errors(self, at: Sequence[float]) -> list[float]:
        values = {name: math.exp(x) for name, x in zip(self.names, at, strict=True)}
        found = [
            _NO_PREDICTION if one.value is None else math.log(one.value / one.published)
            for one in validation.predict(self.rows, self.catalogue, replace(self.base, **values))
        ]
        return found + [found[first] - found[second] for first, second in self.pairs]

    def cost(self, errors: Sequence[float]) -> float:
        sizes = [math.sqrt(e * e + _DELTA * _DELTA) for e in errors]
        return sum(sizes) + (_PAIR_WEIGHT - 1) * sum(sizes[len(self.rows) :])

    def weights(self, errors: Sequence[float]) -> list[float]:
        """1/|error|, so that squares add up to the cost."""
        found = [1 / math.sqrt(e * e + _DELTA * _DELTA) for e in errors]
        rows = len(self.rows)
        return found[:rows] + [_PAIR_WEIGHT * weight for weight in found[rows:]]


def _gauss_newton(problem: _Problem, at: list[float], steps: int) -> list[float]:
    """Damped steps with weights 1/|error|, until none of them helps."""
    errors = problem.errors(at)
    cost, damping = problem.cost(errors), 1e-3
    for _ in range(steps):
        matrix, gradient = _normal_equations(problem, at, errors)
        for _ in range(5):
            step = _solve(problem, at, matrix, gradient, damping)
            tried = _moved(problem, at, step)
            tried_errors = problem.errors(tried)
            tried_cost = problem.cost(tried_errors)
            if tried_cost < cost:
                break
            damping *= 8
        else:
            return at
        enough = cost - tried_cost < 1e-4 * cost
        at, errors, cost, damping = tried, tried_errors, tried_cost, damping / 3
        if enough:
            return at
    return at


def _normal_equations(
    problem: _Problem, at: list[float], errors: list[float]
) -> tuple[list[list[float]], list[float]]:
    slopes = []
    for i, (_, high) in enumerate(problem.ranges):
        step = _STEP if at[i] + _STEP <= high else -_STEP
        moved = problem.errors([*at[:i], at[i] + step, *at[i + 1 :]])
        slopes.append([(b - a) / step for a, b in zip(errors, moved, strict=True)])
    weights = problem.weights(errors)
    weighted = [[s * w for s, w in zip(row, weights, strict=True)] for row in slopes]
    matrix = [[_product(a, b) for b in slopes] for a in weighted]
    return matrix, [_product(row, errors) for row in weighted]


def _product(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def _solve(
    problem: _Problem,
    at: list[float],
    matrix: list[list[float]],
    gradient: list[float],
    damping: float,
) -> list[float]:
    """The damped step; a parameter on an end that would leave its range stays there."""
    free = [
        i
        for i, (low, high) in enumerate(problem.ranges)
        if not (at[i] <= low + 1e-9 and gradient[i] > 0)
        and not (at[i] >= high - 1e-9 and gradient[i] < 0)
    ]
    rows = [
        [matrix[i][j] * (1 + damping * (i == j)) + 1e-9 * (i == j) for j in free] + [-gradient[i]]
        for i in free
    ]
    found = dict(zip(free, _eliminated(rows), strict=True))
    return [found.get(i, 0.0) for i in range(len(at))]


def _eliminated(rows: list[list[float]]) -> list[float]:
    """Gaussian elimination with pivoting; the last column is the right-hand side."""
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(i + 1, size):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        rest = sum(rows[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (rows[i][size] - rest) / rows[i][i]
    return found


def _moved(problem: _Problem, at: list[float], step: list[float]) -> list[float]:
    return [
        min(high, max(low, x + min(_LONGEST, max(-_LONGEST, s))))
        for x, s, (low, high) in zip(at, step, problem.ranges, strict=True)
    ]


def _sweep(problem: _Problem, at: list[float], sweeps: int) -> list[float]:
    """Try a step up and down along each parameter; lengthen what helps, halve what does not."""
    cost = problem.cost(problem.errors(at))
    lengths = [0.15] * len(at)
    for _ in range(sweeps):
        for i, (low, high) in enumerate(problem.ranges):
            for sign in (1, -1):
                moved = min(high, max(low, at[i] + sign * lengths[i]))
                tried = [*at[:i], moved, *at[i + 1 :]]
                found = problem.cost(problem.errors(tried)) if moved != at[i] else cost
                if found < cost - 1e-9:
                    at, cost = tried, found
                    lengths[i] *= 1.5
                    break
            else:
                lengths[i] /= 2
        if max(lengths) < 0.01:
            break
    return at
