"""What `run` and `check` have in common: showing a judgement and choosing the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubench.cli import printing
from gpubench.invisible import shown

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.records import RunRecord
    from gpubench.report.findings import Findings

STDOUT = "-"
FAILED = 1
NO_DEVICE = "none; nothing was measured"


def devices(measured: Iterable[RunRecord]) -> str:
    """What evidence was measured on, with the records, in words."""
    told = ", ".join(f"{record.device} (record {record.id})" for record in measured)
    return told or NO_DEVICE


def show(
    findings: Findings,
    environment: Mapping[str, str],
    json_target: str | None,
    tables: bool = False,
) -> None:
    """Print the verdicts as tables, or the JSON document in their place.

    Args:
        tables: print what the records measured as well, in place of a line for each of them.

    Raises:
        RecordError: the JSON file cannot be written.
    """
    from gpubench.report import json, rates, terminal

    if json_target:
        content = json.document(findings, environment)
        if json_target == STDOUT:
            printing.document(content)
            return
        from gpubench import records

        records.write_text(Path(json_target), json.text(content), "choose another file with --json")
    if tables:
        _show_all_measured(findings.measured, findings.catalogue)
    printing.table(terminal.verdict_table(findings, printing.columns()))
    click.echo()
    for line in terminal.reasons(findings, printing.columns()):
        click.echo(click.wrap_text(line, printing.columns(), subsequent_indent="  ") + "\n")
    printing.table(terminal.count_table(findings.judgement.verdicts))
    if findings.judgement.contradictions:
        click.echo("\nContradictions between claims:\n")
    for found in findings.judgement.contradictions:
        click.echo(f"- {found.left.id} and {found.right.id}: {found.why}")
    used = [] if tables else _used(findings)
    if used:
        click.echo("\nRecords used as evidence; gpubench show ID has what they measured:\n")
        for record in used:
            click.echo(f"- {record.id}: {shown(rates.title(record))}")


def _used(findings: Findings) -> list[RunRecord]:
    """The records that some evidence comes from."""
    told = {item.source for one in findings.judgement.verdicts for item in one.evidence}
    return [r for r in findings.measured if any(f"record {r.id}" in source for source in told)]


def _show_all_measured(records: Iterable[RunRecord], catalogue: Catalogue) -> None:
    from gpubench.report import workloads

    for record in records:
        show_measured(record, catalogue)
    shared = workloads.share_table(tuple(records), catalogue)
    if shared.rows:
        printing.table(shared)
        click.echo()


def show_measured(record: RunRecord, catalogue: Catalogue) -> None:
    """Print what a record measured, beside the peaks, and on stderr what weakens it."""
    from gpubench.report import rates, record_tables

    click.echo(f"{shown(rates.title(record))}:\n")
    for title, table in record_tables.tables(record, catalogue, brief=True):
        if title:
            click.echo(f"{title}:\n")
        printing.table(table)
        click.echo()
    for line in record_tables.remarks(record, catalogue):
        printing.aside(shown(line))


def write_page(findings: Findings, path: Path) -> str:
    """Write the HTML report; its line of the closing words, or none where the extra is missing.

    Raises:
        RecordError: the file cannot be written.
    """
    from gpubench import records
    from gpubench.errors import CannotReport
    from gpubench.report import html

    try:
        text = html.render(findings)
    except CannotReport as error:
        printing.aside(f"No page was written: {error}")
        return ""
    records.write_text(path, text)
    return f"\nPage: {path}"


def exit_if_failed(ctx: click.Context, findings: Findings, fail_on: tuple[str, ...] | None) -> None:
    """Exit with 1 when a claim has one of the outcomes, naming the claims; and say so where those
    that came along were judged, since a script that waits may mean its own.
    """
    watched = fail_on or ()
    chosen = ctx.params["claims_path"] or ctx.params["only"]
    if watched and not chosen and not Path("claims.yaml").exists():
        printing.aside(
            "There is no claims.yaml here, so the claims that came along are taken: "
            "--claims names others"
        )
    failed = [v.claim for v in findings.judgement.verdicts if v.outcome in watched]
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        printing.aside(f"--fail-on {','.join(watched)}: {', '.join(failed[:3])}{more}")
        ctx.exit(FAILED)
