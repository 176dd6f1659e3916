"""A table of published results beside the model: every row predicted or its reason, and the errors.

The interval of a prediction is nominally 80 %: mid · e^±q, with q the quantile of the
cross-validated |ln(predicted / published)| of its kind. A part of a family that no row of the
shipped table covers gets its own ranges of memory and compute on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from gpubench.catalogue import inference
from gpubench.roofline import calibration, validated
from gpubench.validating import validation
from gpubench.validating.validation import ErrorSummary, Prediction, lines_by_reason, summary

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue, InferenceRow, PublishedTable
    from gpubench.catalogue.inference import TableRow

NOMINAL = 0.8
"""The share of published figures that intervals are meant to hold."""

ROOM = 64
"""Sequences that the smaller part of a pair must hold for its batch not to hang on a gigabyte."""

_OWN_GROUPS = ("memory", "compute")
_LARGEST = 10


@dataclass(frozen=True, slots=True)
class Compared:
    """A line of the table with what the model says, in the row's own unit, or why it does not."""

    entry: TableRow
    prediction: Prediction | None
    low: float | None
    high: float | None
    skipped: str

    @property
    def value(self) -> float | None:
        """The prediction, as the row would print it."""
        return self.prediction.printed if self.prediction else None

    @property
    def scored(self) -> Prediction | None:
        """The prediction, if there is a published figure to hold it against."""
        found = self.prediction
        return found if found and found.value and found.row.value else None

    @property
    def covered(self) -> bool:
        """Whether the interval holds the published figure."""
        if self.scored is None or self.low is None or self.high is None:
            return False
        return self.low <= self.scored.row.value <= self.high


@dataclass(frozen=True, slots=True)
class PairErrors:
    """Errors of subject over baseline on matched pairs; `room` says which pairs."""

    subject: str
    baseline: str
    room: str
    errors: ErrorSummary


@dataclass(frozen=True)
class Comparison:
    """What came of a whole table."""

    rows: tuple[Compared, ...]
    skipped: Mapping[str, tuple[int, ...]]
    absolute: Mapping[str, Mapping[str, ErrorSummary]]
    pairs: tuple[PairErrors, ...]
    coverage: Mapping[str, tuple[int, int]]
    largest: tuple[Compared, ...] = field(default=())

    @property
    def predicted(self) -> int:
        """Rows with a prediction."""
        return sum(row.value is not None for row in self.rows)


def compare(table: PublishedTable, catalogue: Catalogue) -> Comparison:
    """Predict every row that can be predicted, and sum up how far off that is."""
    rows = tuple(_compared(entry, catalogue) for entry in table.rows)
    scored = [row.scored for row in rows if row.scored]
    inside = [row for row in rows if row.scored]
    return Comparison(
        rows=rows,
        skipped=lines_by_reason((row.entry.line, row.skipped) for row in rows),
        absolute=absolute(scored),
        pairs=tuple(pair_errors(scored)),
        coverage=_coverage(inside),
        largest=tuple(sorted(inside, key=_size, reverse=True)[:_LARGEST]),
    )


def _compared(entry: TableRow, catalogue: Catalogue) -> Compared:
    if entry.row is None:
        return Compared(entry, None, None, None, entry.problem)
    (found,) = validation.predict([entry.row], catalogue)
    if found.printed is None:
        return Compared(entry, found, None, None, found.skipped)
    below, above = _spread(found, catalogue)
    low, high = found.printed * math.exp(-below), found.printed * math.exp(above)
    return Compared(entry, found, low, high, "")


def _spread(found: Prediction, catalogue: Catalogue) -> tuple[float, float]:
    """Natural logarithms of mid / low and high / mid."""
    known = validated.load()
    entries = known["absolute"]
    # A kind that was compared too seldom gets the widest interval of the others.
    widest = max(entry["log_q80"] for entry in entries.values())
    _, own = validated.entry(entries, found.kind, validation.devices(found.row))
    spread: float = own["log_q80"] if own else widest
    if found.row.framework != validation.ENGINE:
        # What an engine nobody fitted makes of a part is far less certain than what it allows.
        alone = known["other_engines"].get("all", {}).get("log_q80", widest)
        return max(spread, alone), max(spread, alone)
    if catalogue.accelerators[found.row.accelerator].family in known["families"]:
        return spread, spread
    shared = calibration.load()
    low = high = 0.0
    for group in _OWN_GROUPS:
        shifts = [0.0]
        for parameters in shared.varied(group):
            (moved,) = validation.predict([found.row], catalogue, parameters)
            if moved.value and found.value:
                shifts.append(math.log(moved.value / found.value))
        low, high = low - min(shifts), high + max(shifts)
    return math.hypot(spread, low), math.hypot(spread, high)


def _size(row: Compared) -> float:
    assert row.prediction
    return abs(math.log(row.prediction.error + 1))


# --------------------------------------------------------------------------- summaries

_GROUPS: Mapping[str, Callable[[InferenceRow], str]] = {
    "scenario": lambda row: f"{row.scenario} {row.metric}",
    "gpu": lambda row: row.accelerator,
    "model": lambda row: row.model,
    "source": lambda row: row.source_id or "not named",
}


def absolute(scored: Sequence[Prediction]) -> dict[str, dict[str, ErrorSummary]]:
    """Errors of single figures: all of them, then by scenario, GPU, model and source."""
    found: dict[str, dict[str, ErrorSummary]] = {}
    if scored:
        found["all"] = {"all": summary([one.error + 1 for one in scored])}
    for name, key in _GROUPS.items():
        parts: dict[str, list[float]] = {}
        for one in scored:
            parts.setdefault(key(one.row), []).append(one.error + 1)
        found[name] = {label: summary(ratios) for label, ratios in sorted(parts.items())}
    return found


def pair_errors(scored: Sequence[Prediction]) -> Iterable[PairErrors]:
    """Errors of ratios on matched pairs of every two accelerators, split by the room for a batch.

    Throughput alone: a first token knows no batch.
    """
    by_line = {one.row.line: one for one in scored}
    rows = [one.row for one in scored if one.row.metric.endswith("tok_s")]
    names = sorted({row.accelerator for row in rows}, reverse=True)
    for subject, baseline in combinations(names, 2):
        found: dict[str, list[float]] = {}
        for pair in inference.matched_pairs(rows, subject, baseline):
            above, below = by_line[pair.subject.line], by_line[pair.baseline.line]
            error = (above.error + 1) / (below.error + 1)
            room = "room" if min(above.room, below.room) >= ROOM else "less room"
            for name in ("all", room):
                found.setdefault(name, []).append(error)
        for name in ("all", "room", "less room"):
            if name in found:
                yield PairErrors(subject, baseline, name, summary(found[name]))


def _coverage(rows: Sequence[Compared]) -> dict[str, tuple[int, int]]:
    """Rows inside their interval and rows, by kind of estimate and for all."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        assert row.prediction
        for name in ("all", row.prediction.kind):
            found.setdefault(name, []).append(row.covered)
    return {name: (sum(hits), len(hits)) for name, hits in found.items()}
