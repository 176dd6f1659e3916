"""How well the model does on a part, or on a source, none of whose rows it was fitted on.

The fit runs on the table at hand without those rows, a short search from the parameters that ship
with gpubench. Where none of them is of a fitted engine they never were in a fit, which is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpubench.errors import CannotEstimate
from gpubench.roofline import calibration
from gpubench.validating import fitting, validation
from gpubench.validating.validation import ErrorSummary, summary

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue, InferenceRow, PublishedTable
    from gpubench.roofline.calibration import Parameters


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Errors on the rows of one accelerator or source, how many others were fitted, and a note."""

    name: str
    fitted_rows: int
    note: str
    errors: ErrorSummary


def each_gpu(
    table: PublishedTable, catalogue: Catalogue, tell: Callable[[str], None] | None = None
) -> tuple[LeftOut, ...]:
    """For every accelerator of the table: fit without it, then predict it."""
    return _each(table, catalogue, lambda row: row.accelerator, tell)


def each_source(
    table: PublishedTable, catalogue: Catalogue, tell: Callable[[str], None] | None = None
) -> tuple[LeftOut, ...]:
    """For every source that the table names: fit without it, then predict it."""
    return _each(table, catalogue, lambda row: row.source_id, tell)


def _each(
    table: PublishedTable,
    catalogue: Catalogue,
    key: Callable[[InferenceRow], str],
    tell: Callable[[str], None] | None,
) -> tuple[LeftOut, ...]:
    rows = [entry.row for entry in table.rows if entry.row]
    found = []
    for name in sorted({key(row) for row in rows} - {""}):
        if tell:
            tell(f"fitting without {name}")
        own = [row for row in rows if key(row) == name]
        parameters, fitted, note = _without(own, [r for r in rows if key(r) != name], catalogue)
        ratios = [
            one.error + 1
            for one in validation.predict(own, catalogue, parameters)
            if one.value and one.published
        ]
        if ratios:
            found.append(LeftOut(name, fitted, note, summary(ratios)))
    if tell:
        tell("")
    return tuple(found)


def _without(
    own: list[InferenceRow], others: list[InferenceRow], catalogue: Catalogue
) -> tuple[Parameters, int, str]:
    """Parameters that know nothing of `own`, how many rows they were fitted on, and a note."""
    shared = calibration.load()
    if not any(row.framework == validation.ENGINE for row in own):
        return shared.mid, 0, "as they ship: never fitted on it"
    try:
        fit = fitting.fit(others, catalogue, shared, shared.mid)
    except CannotEstimate:
        return shared.mid, 0, "as they ship: the table has too few other rows to fit"
    return fit.parameters, fit.rows, f"fitted on {fit.rows:,} rows of others"
