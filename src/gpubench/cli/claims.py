"""`gpubench claims`: check a claims file, describe its format, account for the digest."""

from __future__ import annotations

from pathlib import Path

import click

from gpubench.cli import options, printing

INCOMPLETE = 2
_NOTHING = "there is nothing to account for"


@click.group("claims")
def command() -> None:
    """Check, describe or account for a claims file."""


@command.command("lint")
@click.argument(
    "file", type=click.Path(path_type=Path), required=False, callback=options.misnamed_claims
)
def lint(file: Path | None) -> None:
    """Say every error of FILE at once, each with line, column and what to write instead."""
    from gpubench import catalogue, claims
    from gpubench.invisible import shown
    from gpubench.report import wording

    found = claims.load(file or claims.default_path(), catalogue.load())
    claimed = wording.counted(len(found.claims), "claim")
    aside = wording.counted(len(found.out_of_scope), "statement")
    click.echo(shown(f"{found.path}: {claimed} and {aside} out of scope, no errors"))


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a claims file."""
    from gpubench.claims.schema import json_schema

    printing.document(json_schema())


@command.command("coverage")
@options.claims_file
@click.pass_context
def coverage(ctx: click.Context, claims_path: Path | None) -> None:
    """Account for the digest of the shipped articles that the file cites.

    Fails when an entry is missing, named twice or unknown.
    """
    from gpubench import catalogue, claims
    from gpubench.invisible import shown
    from gpubench.report.table import Table

    file = claims.load(claims_path or claims.default_path(), catalogue.load())
    account = claims.coverage(file)
    if not account.total:
        click.echo(shown(f"{file.path} cites no article that ships with gpubench: {_NOTHING}"))
        return
    rows = {
        "entries of the digest": account.total,
        "covered by claims": len(account.as_claims),
        "out of scope": len(account.as_out_of_scope),
        "in both": len(account.in_both),
        "missing": len(account.missing),
        "unknown": len(account.unknown),
    }
    printing.table(Table(("account", "count"), [(name, str(n)) for name, n in rows.items()]))
    if account.complete:
        return
    for label, ids in (
        ("is missing: cover it by a claim or list it under out_of_scope", account.missing),
        ("stands both in a claim and under out_of_scope: keep one", account.in_both),
        ("is no entry of the digest of an article that the file cites", account.unknown),
    ):
        for name in ids:
            printing.aside(f"Error: {name} {label}")
    ctx.exit(INCOMPLETE)
