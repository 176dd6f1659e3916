"""`gpubench check`: judge claims without measuring, and without writing anything."""

from __future__ import annotations

from pathlib import Path

import click

from gpubench.cli import judging, options


@click.command("check")
@options.claims_file
@options.only
@options.recorded
@options.json_target
@options.fail_on
@click.pass_context
def command(
    ctx: click.Context,
    claims_path: Path | None,
    only: tuple[str, ...],
    results: Path,
    json_target: str | None,
    fail_on: tuple[str, ...] | None,
) -> None:
    """Judge claims from catalogue, model and newest records; measure and write nothing."""
    from gpubench import catalogue, claims, records
    from gpubench.comparing import index
    from gpubench.judging import judgement
    from gpubench.report.findings import Findings, Made

    known = catalogue.load()
    file = claims.load(claims_path or claims.default_path(), known)
    environment = records.environment()
    measured = index.latest(results)
    made = Made(records.now(), environment["gpubench"], judging.devices(measured))
    judged = judgement.judge_all(file, known, only, measured)
    findings = Findings(made, judged, file.citable(known), known, measured)
    judging.show(findings, environment, json_target)
    judging.exit_if_failed(ctx, findings, fail_on)
