"""`gpubench compare`: do two records agree?"""

from __future__ import annotations

from pathlib import Path

import click

from gpubench.cli import options, printing

DIFFERENT = 1


@click.command("compare")
@click.argument("first", required=False, metavar="[A]")
@click.argument("second", required=False, metavar="[B]")
@options.results
@click.option(
    "--within",
    type=click.FloatRange(0, min_open=True),
    metavar="PERCENT",
    help="Exit with 1 if a rate that claims are judged by differs by more.",
)
@click.pass_context
def command(
    ctx: click.Context,
    first: str | None,
    second: str | None,
    results: Path,
    within: float | None,
) -> None:
    """Compare two records, case by case.

    A and B are ids of records; by default the two newest that were measured on one accelerator.
    """
    from gpubench import comparison, records
    from gpubench.invisible import shown
    from gpubench.report import rates

    if first and not second:
        raise click.UsageError("name two records, or none for the two newest")
    if first and second:
        one, other = (records.read(records.find(results, name)) for name in (first, second))
    else:
        one, other = records.newest_two(results)
    found = comparison.pairs(one, other)
    click.echo(shown(f"{other.id} ({other.device}) against {one.id} ({one.device}):\n"))
    printing.table(rates.comparison_table(found), empty="They have no case in common.")
    if within is None:
        return
    off = [pair.name for pair in found if pair.counts and abs(pair.faster) > within / 100]
    if off or not any(pair.counts for pair in found):
        what = ", ".join(off) or "no rate that claims are judged by is in both"
        printing.aside(f"--within {within:g}: {what}")
        ctx.exit(DIFFERENT)
    click.echo(f"\nAll rates that claims are judged by agree within {within:g} %.")
