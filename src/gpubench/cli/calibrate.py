"""`gpubench calibrate`: fit the parameters of serving, and find how far off they are unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import model_errors, printing

if TYPE_CHECKING:
    from gpubench.roofline.calibration import Calibration
    from gpubench.validating.fitting import Fitted


@click.command("calibrate")
@click.argument("table_path", metavar="TABLE.csv", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for calibration.yaml and validated_error.yaml; by default that of the model.",
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Date to write into both files; by default the one that stands there.",
)
def command(table_path: Path, output: Path | None, date: datetime | None) -> None:
    """Fit the model's parameters to a table of published results.

    The same table gives the same files to the digit. Each source is then left out in turn, and the
    errors on it are those that estimates show. Takes some minutes.
    """
    from gpubench import catalogue, records
    from gpubench.catalogue import training
    from gpubench.roofline import calibration, validated
    from gpubench.validating import fitting, training_check, validation

    known = catalogue.load()
    table = known.inference_table(table_path)
    rows = [entry.row for entry in table.rows if entry.row]
    shared = calibration.load()
    printing.aside(f"Fitting {len(shared.fitted)} parameters on {table_path.name}")
    fitted = fitting.fit(rows, known, shared)
    printing.aside("Fitting again without each source in turn")
    folds = fitting.folds(rows, known, shared, fitted)
    digest = hashlib.sha256(table_path.read_bytes()).hexdigest()
    day = f"{date:%Y-%m-%d}" if date else str(shared.provenance["date"])
    new = calibration.with_values(fitted.values)
    errors = validation.summarise(rows, known, folds, new)
    published = training_check.check(known.training_table(training.TABLE), known, new.mid)
    errors["training"] = training_check.summarise(published, known)
    folder = output or Path(calibration.__file__).parent
    text = calibration.rewritten(
        calibration.text(),
        fitted.values,
        {"table_sha256": digest, "rows": fitted.rows, "date": f"'{day}'"},
    )
    records.write_text(folder / calibration.FILE, text)
    records.write_text(folder / validated.FILE, validation.written(errors, digest, day))
    _print(shared, fitted, errors, folder)


def _print(shared: Calibration, fitted: Fitted, errors: Mapping[str, Any], folder: Path) -> None:
    from gpubench.report.table import Table
    from gpubench.validating.validation import ErrorSummary

    rows = []
    for name, value in fitted.values.items():
        ends = sorted((getattr(shared.low, name), getattr(shared.high, name)))
        bound = "on its bound" if name in fitted.on_bound else ""
        before = f"{getattr(shared.mid, name):.4g}"
        rows.append([name, f"{value:.4g}", before, f"{ends[0]:g} to {ends[1]:g}", bound])
    printing.table(Table(("parameter", "fitted", "before", "range", "remark"), rows))
    click.echo(f"\nFitted on {fitted.rows:,} rows. Errors on sources left out of the fit:\n")
    kinds = []
    for section in ("absolute", "ratio_equal_compute", "ratio_other"):
        for kind, entry in errors[section].items():
            names = [section.replace("_", " "), kind.replace("_", " ")]
            kinds.append([*names, *model_errors.cells(ErrorSummary(**entry))])
    printing.table(Table(("what", "kind", *model_errors.COLUMNS), kinds))
    for name in fitted.on_bound:
        printing.aside(
            f"{name} ended on an end of its range: give it another range, or explain why it should"
        )
    click.echo(f"\nWritten to {folder}")
