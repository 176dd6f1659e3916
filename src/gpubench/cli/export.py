"""`gpubench export`: a record in the format of another tool."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gpubench.cli import options
from gpubench.exporting import FORMATS


@click.command("export")
@click.argument("name", metavar="RECORD")
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), required=True, help="What to write."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The file to write; by default stdout.",
)
@options.recorded
def command(name: str, form: str, output: Path | None, results: Path) -> None:
    """Write a record in the format of another tool.

    RECORD is the id of a record, the beginning of one, or its file.
    """
    from gpubench import exporting, records

    path = Path(name)
    record = records.read(path if path.is_file() else records.find(results, name))
    content = exporting.render(form, record)
    if output:
        records.write_bytes(output, content, "write to another file")
        return
    if form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("parquet is no text: name a file with -o")
    click.echo(content, nl=False)
