"""`gpubench import`: another tool's results become a record that claims can use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubench.cli import options, printing
from gpubench.importing import TOOLS

if TYPE_CHECKING:
    from gpubench.model import Accelerator
    from gpubench.records import RunRecord


@click.command("import")
@click.argument("tool", type=click.Choice(list(TOOLS)))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--accelerator",
    metavar="G",
    help="What it was measured on: id, alias, driver name, or cpu. Otherwise as the file says.",
)
@options.results
@options.json_flag
def command(tool: str, path: Path, accelerator: str | None, results: Path, as_json: bool) -> None:
    """Keep another tool's results as a record.

    Reads nccl-tests and rccl-tests (their table, or the JSON of -J), nvbandwidth (-j), BabelStream
    (--csv) and pytest-benchmark (--benchmark-json); FILE is - for what comes on stdin. The record
    names the tool and the file's SHA-256; what it holds counts as published by others, never as
    measured here.
    """
    from gpubench import catalogue, importing, records
    from gpubench.comparing import fleet
    from gpubench.errors import UnknownName
    from gpubench.report import links, rates

    known = catalogue.load()

    def identify(name: str) -> Accelerator | None:
        try:
            return known.accelerator(name)
        except UnknownName:
            return None

    by_processor = (accelerator or "").lower() == importing.PROCESSOR
    part = known.accelerator(accelerator) if accelerator and not by_processor else None
    (record,) = fleet.marked((importing.read(tool, path, identify, part, by_processor),))
    records.check_writable(results / record.accelerator)
    before = _imported_before(record, results)
    saved = records.write(record, results)
    if as_json:
        printing.document({"record": str(saved), "measurements": records.measurements(record)})
        return
    printing.table(links.imported_table(record))
    for warning in rates.warnings(record):
        click.echo(f"- {warning}")
    if left := record.environment.get("left_out"):
        printing.aside(f"Left out, since gpubench measures nothing like it: {left}")
    if record.accelerator == importing.UNKNOWN and record.device:
        printing.aside(
            f"'{record.device}' is no accelerator of the catalogue, so no claim can use this: "
            f"import it again with --accelerator"
        )
    if before:
        printing.aside(before)
    click.echo(f"\nRecord: {saved}")


def _imported_before(record: RunRecord, results: Path) -> str:
    """A sentence on a record in use that was made of the same file."""
    from gpubench.comparing import index
    from gpubench.errors import RecordError

    try:
        used = index.latest(results)
    except RecordError:  # of some other record; `check` says so
        return ""
    told = record.environment["imported_sha256"]
    for one in used:
        if one.environment.get("imported_sha256") != told:
            continue
        if one.accelerator == record.accelerator:
            return f"The same file is record {one.id} already; the newer one is used."
        return (
            f"The same file is record {one.id} of {one.accelerator} already, and both are used: "
            f"delete the one that is wrong."
        )
    return ""
