"""`gpubench validate`: a table of published results beside what the model says of each row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import model_errors, options, printing

if TYPE_CHECKING:
    from gpubench.catalogue import PublishedTable
    from gpubench.validating.leaving_out import LeftOut
    from gpubench.validating.scoring import Compared, Comparison

    LeftOutBy = dict[str, tuple[LeftOut, ...]]

ADDED = ("predicted", "predicted_low", "predicted_high", "binding_limit", "skipped_reason")


@click.command("validate")
@click.argument("table_path", metavar="TABLE.csv", type=click.Path(path_type=Path))
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    metavar="OUT.csv",
    help="Also write the table with prediction, interval, limit and reason of every row.",
)
@options.json_flag
@click.option(
    "--leave-one-gpu-out",
    is_flag=True,
    help="Also fit again without each GPU's rows, and predict those; takes a minute or more.",
)
@click.option(
    "--leave-one-source-out",
    is_flag=True,
    help="The same, source by source.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also draw predicted against published, and the errors by group (SVG).",
)
def command(
    table_path: Path,
    predictions: Path | None,
    as_json: bool,
    leave_one_gpu_out: bool,
    leave_one_source_out: bool,
    plots: Path | None,
) -> None:
    """Hold the performance model against a table of published results.

    Every row is predicted or skipped with a reason. The columns are those of the tables that come
    along, of inference or of training; docs/command-line.md names them. A record of a run may stand
    in a table's place.
    """
    from gpubench import catalogue, records
    from gpubench.catalogue import training
    from gpubench.errors import CannotEstimate
    from gpubench.validating import leaving_out, scoring

    if training.is_training_table(table_path):
        from gpubench.cli import training_table

        if leave_one_gpu_out or leave_one_source_out or plots:
            raise click.UsageError("a table of training results is neither fitted nor drawn")
        training_table.show(table_path, predictions, as_json)
        return
    known = catalogue.load()
    if records.is_record(table_path.name):  # a record of our own
        from gpubench.workloads import rows

        table = rows.as_table([records.read(table_path)], known)
    else:
        table = known.inference_table(table_path)
    found = scoring.compare(table, known)
    if predictions:
        records.write_text(predictions, predictions_text(table, found), "write to another file")
    if not found.predicted:
        why = next(iter(found.skipped), "it has no rows")
        raise CannotEstimate(f"{table_path.name}: no row can be predicted; most often: {why}")
    if plots:
        _draw(found, plots)
    left_out: LeftOutBy = {}
    if leave_one_gpu_out:
        left_out["gpu"] = leaving_out.each_gpu(table, known, printing.ticker())
    if leave_one_source_out:
        left_out["source"] = leaving_out.each_source(table, known, printing.ticker())
    if as_json:
        printing.document(_document(table_path, found, left_out))
        return
    _print(found, left_out)
    if _is_fitted(table_path):
        click.echo(
            "\nThe parameters were fitted to rows of this table; docs/model.md has the errors on "
            "sources left out, --leave-one-source-out finds them."
        )


def _is_fitted(path: Path) -> bool:
    from gpubench.roofline import validated
    from gpubench.validating import validation

    return bool(validation.table_digest(path.read_bytes()) == validated.load()["table_sha256"])


def _draw(found: Comparison, folder: Path) -> None:
    """Both charts of a comparison, as files of a folder."""
    from gpubench.report import charts
    from gpubench.report.charts import validation

    if not any(row.scored for row in found.rows):
        printing.aside("Nothing is drawn: no row has a published figure.")
        return
    for name, chart in (("scatter", validation.scatter), ("errors", validation.errors)):
        path = folder / f"validation-{name}.svg"
        charts.write(chart(found), path)
        printing.aside(f"Chart: {path}")


def predictions_text(table: PublishedTable, found: Comparison) -> str:
    """The table as it came, with the columns of `ADDED` at its end; CSV text."""
    import csv
    import io

    kept = [name for name in table.columns if name not in ADDED]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*kept, *ADDED])
    for row in found.rows:
        binding = row.prediction.binding_limit if row.prediction else ""
        numbers = ["" if n is None else f"{n:.6g}" for n in (row.value, row.low, row.high)]
        cells = [row.entry.cells[name] for name in kept]
        writer.writerow([*cells, *numbers, binding, row.skipped])
    return out.getvalue()


# --------------------------------------------------------------------------- as JSON


def _document(path: Path, found: Comparison, left_out: LeftOutBy) -> dict[str, Any]:
    from gpubench.validating.scoring import NOMINAL

    return {
        "table": {
            "name": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": len(found.rows),
        },
        "predicted": found.predicted,
        "scored": sum(row.scored is not None for row in found.rows),
        **model_errors.documents(found.skipped, found.absolute),
        "ratios": [
            {
                "subject": pair.subject,
                "baseline": pair.baseline,
                "pairs": _PAIRS[pair.room],
                **model_errors.document(pair.errors),
            }
            for pair in found.pairs
        ],
        "interval": {
            "nominal": NOMINAL,
            "covered": {
                name: {"inside": inside, "of": of, "share": inside / of}
                for name, (inside, of) in found.coverage.items()
            },
        },
        "largest": [_row(row) for row in found.largest],
        **{
            f"leave_one_{by}_out": [
                {by: one.name, "fitted_on": one.fitted_rows, "note": one.note}
                | model_errors.document(one.errors)
                for one in left_out.get(by, ())
            ]
            for by in ("gpu", "source")
        },
    }


_PAIRS = {"all": "all", "room": "room for 64 sequences", "less room": "less room"}


def _row(row: Compared) -> dict[str, Any]:
    assert row.scored
    published = row.scored.row
    return {
        "line": row.entry.line,
        "source": published.source_id,
        "gpu": published.accelerator,
        "gpus": published.gpus,
        "model": published.model,
        "precision": published.precision,
        "isl": published.input_tokens,
        "osl": published.output_tokens,
        "published": published.value,
        "predicted": row.value,
        "error": row.scored.error,
    }


# --------------------------------------------------------------------------- for people


def _print(found: Comparison, left_out: LeftOutBy) -> None:
    from gpubench.report.table import Table
    from gpubench.validating.scoring import NOMINAL
    from gpubench.validating.validation import UNPREDICTED

    scored = sum(row.scored is not None for row in found.rows)
    click.echo(
        f"{len(found.rows):,} rows: {found.predicted:,} predicted, {scored:,} of them with a "
        f"published figure, {sum(map(len, found.skipped.values())):,} skipped\n"
    )
    _print_errors(found, left_out)
    covered = [
        [name.replace("_", " "), f"{of:,}", f"{inside / of:.0%}"]
        for name, (inside, of) in found.coverage.items()
    ]
    click.echo()
    printing.table(Table((f"interval, nominally {NOMINAL:.0%}", "rows", "inside"), covered))
    click.echo()
    largest = [[str(value) for value in _written(_row(row))] for row in found.largest]
    printing.table(Table(_LARGEST, largest), "No row has a published figure.")
    model_errors.print_skipped(found.skipped)
    if any(reason.endswith(UNPREDICTED) for reason in found.skipped):
        click.echo(
            "\nPredicted are offline_max_throughput, fixed_batch and latency, as output_tok_s or "
            "ttft_ms, and fixed_batch as total_tok_s."
        )


def _print_errors(found: Comparison, left_out: LeftOutBy) -> None:
    """By what rows have in common, of pairs, and of fits that did without a part or source."""
    from gpubench.invisible import shown
    from gpubench.report.table import Table

    model_errors.print_groups(found.absolute)
    pairs = [
        [f"{pair.subject} / {pair.baseline}", _PAIRS[pair.room], *model_errors.cells(pair.errors)]
        for pair in found.pairs
    ]
    click.echo()
    printing.table(
        Table(("ratio", "pairs", *model_errors.COLUMNS), pairs), "No two rows are a pair."
    )
    for by, ones in left_out.items():
        click.echo()
        rows = [[shown(one.name), one.note, *model_errors.cells(one.errors)] for one in ones]
        title = "GPU" if by == "gpu" else by
        printing.table(Table((f"{title} left out", "parameters", *model_errors.COLUMNS), rows))


def _four(value: float) -> str:
    """Four digits, and no powers of ten where people read."""
    return f"{value:,.0f}" if value >= _FOUR_DIGITS else f"{value:,.4g}"


_FOUR_DIGITS = 1000
_LARGEST = ("line", "source", "GPU", "model", "lengths", "published", "predicted", "error")


def _written(row: Mapping[str, Any]) -> tuple[Any, ...]:
    gpu = f"{row['gpus']} x {row['gpu']}"
    lengths = "/".join(f"{row[name]:g}" if row[name] else "-" for name in ("isl", "osl"))
    figures = (_four(row["published"]), _four(row["predicted"]), f"{row['error']:+.0%}")
    return (
        row["line"],
        row["source"],
        gpu,
        f"{row['model']} {row['precision']}",
        lengths,
        *figures,
    )
