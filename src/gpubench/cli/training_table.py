"""What `gpubench validate` says of a table of training results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import model_errors, printing

if TYPE_CHECKING:
    from gpubench.validating.training_check import Checked

ADDED = ("predicted", "binding_limit", "skipped_reason")


def show(path: Path, predictions: Path | None, as_json: bool) -> None:
    """Print errors and reasons; raises CannotEstimate where no row can be predicted."""
    from gpubench import catalogue, records
    from gpubench.errors import CannotEstimate
    from gpubench.validating import training_check

    known = catalogue.load()
    found = training_check.check(known.training_table(path), known)
    if predictions:
        text = predictions_text(path, found)
        records.write_text(predictions, text, "write to another file")
    if not found.absolute.get("all"):
        why = next(iter(found.skipped), "it has no rows")
        raise CannotEstimate(f"{path.name}: no row can be predicted; most often: {why}")
    if as_json:
        printing.document(_document(path, found))
    else:
        _print(found)


def predictions_text(path: Path, found: Checked) -> str:
    """The table as it came, with the columns of `ADDED` at its end; CSV text."""
    import csv
    import io

    out = io.StringIO()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        writer = csv.writer(out, lineterminator="\n")
        header = next(reader)
        kept = [place for place, name in enumerate(header) if name not in ADDED]
        writer.writerow([*(header[place] for place in kept), *ADDED])
        rows = (cells for cells in reader if cells)  # a blank line is no row
        for cells, row in zip(rows, found.rows, strict=True):
            value = "" if row.value is None else f"{row.value:.6g}"
            own = [cells[place] if place < len(cells) else "" for place in kept]
            writer.writerow([*own, value, row.binding_limit, row.skipped])
    return out.getvalue()


def _document(path: Path, found: Checked) -> dict[str, Any]:
    return {
        "table": {"name": path.name, "rows": len(found.rows)},
        "predicted": sum(row.value is not None for row in found.rows),
        **model_errors.documents(found.skipped, found.absolute),
        "ratios": {name: model_errors.document(errors) for name, errors in found.ratios.items()},
    }


def _print(found: Checked) -> None:
    from gpubench.report.table import Table

    predicted = sum(row.value is not None for row in found.rows)
    click.echo(
        f"{len(found.rows):,} rows of training: {predicted:,} predicted, "
        f"{sum(map(len, found.skipped.values())):,} skipped. Errors are of speed; above 0 the "
        f"model is faster than what was published.\n"
    )
    model_errors.print_groups(found.absolute)
    click.echo()
    pairs = [[name, *model_errors.cells(errors)] for name, errors in found.ratios.items()]
    printing.table(Table(("ratio", *model_errors.COLUMNS), pairs), "No two rows are a pair.")
    model_errors.print_skipped(found.skipped)
