"""How well the model does on a part none of whose rows it was fitted on.

The fit runs on the table at hand without that part's rows, a short search from the parameters that
ship with gpubench. A part without rows of the fitted engine was never in a fit, and keeps those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpubench.errors import CannotEstimate
from gpubench.roofline import calibration, fitting, validation
from gpubench.roofline.validation import ErrorSummary, summary

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue, PublishedTable


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Errors on one accelerator's rows, the rows that were fitted, and a note on the fit."""

    gpu: str
    fitted_rows: int
    note: str
    errors: ErrorSummary


def each_gpu(
    table: PublishedTable, catalogue: Catalogue, tell: Callable[[str], None] | None = None
) -> tuple[LeftOut, ...]:
    """For every accelerator of the table: fit without it, then predict it."""
    rows = [entry.row for entry in table.rows if entry.row]
    shared = calibration.load()
    found = []
    for gpu in sorted({row.accelerator for row in rows if row.accelerator}):
        if tell:
            tell(f"fitting without {gpu}")
        own = [row for row in rows if row.accelerator == gpu]
        others = [row for row in rows if row.accelerator != gpu]
        parameters, fitted, note = shared.mid, 0, "as they ship: never fitted on it"
        if any(row.framework == validation.ENGINE for row in own):
            try:
                fit = fitting.fit(others, catalogue, shared, shared.mid)
                parameters, fitted = fit.parameters, fit.rows
                note = f"fitted on {fit.rows:,} rows of others"
            except CannotEstimate:
                note = "as they ship: the table has too few other rows to fit"
        ratios = [
            one.error + 1
            for one in validation.predict(own, catalogue, parameters)
            if one.value and one.published
        ]
        if ratios:
            found.append(LeftOut(gpu, fitted, note, summary(ratios)))
    if tell:
        tell("")
    return tuple(found)
