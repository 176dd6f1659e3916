"""`gpubench run`: judge every claim on this machine, and keep the record."""

from __future__ import annotations

import re
from pathlib import Path

import click

from gpubench.cli import judging, options, printing


def _device(text: str) -> str:
    """auto, none, cpu, cuda or cuda:N."""
    if not re.fullmatch(r"auto|none|cpu|cuda(:[0-9]{1,4})?", text):
        raise click.BadParameter(f"'{text}' is no device: write auto, none, cpu, cuda or cuda:0")
    return text


@click.command("run")
@options.claims_file
@click.option(
    "--device",
    type=_device,
    default="auto",
    show_default=True,
    metavar="auto|none|cpu|cuda[:N]",
    help="Where to measure. This version measures nothing yet: auto means none.",
)
@options.only
@options.results
@options.json_target
@options.fail_on
@click.pass_context
def command(
    ctx: click.Context,
    claims_path: Path | None,
    device: str,
    only: tuple[str, ...],
    results: Path,
    json_target: str | None,
    fail_on: tuple[str, ...] | None,
) -> None:
    """Judge every claim on this machine; write a record and a report.

    The record (JSON) and the report (Markdown) go to a folder of the accelerator's name under
    --results.
    """
    from gpubench import catalogue, claims, records, run
    from gpubench.report import markdown
    from gpubench.report.findings import Findings, Made

    known = catalogue.load()
    result = run.execute(claims_path or claims.default_path(), known, results, device, only)
    made = Made(result.record.created, result.record.environment["gpubench"], judging.NO_DEVICE)
    findings = Findings(made, result.judgement, known.articles)
    report_path = result.record_path.with_suffix(".md")
    records.write_text(report_path, markdown.render(findings))
    judging.show(findings, result.record.environment, json_target)
    closing = f"\nRecord: {result.record_path}\nReport: {report_path}"
    if json_target == judging.STDOUT:
        printing.aside(closing)
    else:
        click.echo(closing)
    judging.exit_if_failed(ctx, findings, fail_on)
