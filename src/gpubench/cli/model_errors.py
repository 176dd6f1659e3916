"""How the errors of the model are shown, in tables and in JSON, and why rows were skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gpubench.cli import printing

if TYPE_CHECKING:
    from gpubench.validating.validation import ErrorSummary

_SHOWN_LINES = 4

COLUMNS = ("compared", "mean", "median", "bias")


def cells(errors: ErrorSummary) -> list[str]:
    """What stands under `COLUMNS`."""
    return [
        f"{errors.count:,}",
        f"{errors.mean:.1%}",
        f"{errors.median:.1%}",
        f"{errors.bias:+.1%}",
    ]


def document(errors: ErrorSummary) -> dict[str, float]:
    """The same for programs, with the error that nine of ten rows keep within."""
    names = ("count", "mean", "median", "bias", "q90")
    return {name: getattr(errors, name) for name in names}


def documents(
    skipped: Mapping[str, Sequence[int]], groups: Mapping[str, Mapping[str, ErrorSummary]]
) -> dict[str, Any]:
    """What was skipped and why, and the errors of rows by what they have in common."""
    return {
        "skipped": [
            {"reason": reason, "rows": len(lines), "lines": lines}
            for reason, lines in skipped.items()
        ],
        "absolute": {
            by: {name: document(errors) for name, errors in each.items()}
            for by, each in groups.items()
        },
    }


def print_groups(groups: Mapping[str, Mapping[str, ErrorSummary]]) -> None:
    """A table of the errors of rows by what they have in common."""
    from gpubench.invisible import shown
    from gpubench.report.table import Table

    rows = [
        [by, shown(name), *cells(errors)]
        for by, each in groups.items()
        for name, errors in each.items()
    ]
    printing.table(Table(("by", "which", *COLUMNS), rows), "No row has a published figure.")


def print_skipped(skipped: Mapping[str, Sequence[int]]) -> None:
    """A table of how many rows were skipped for each reason; nothing where none was."""
    from gpubench.invisible import shown
    from gpubench.report.table import Table

    if skipped:
        click.echo()
        rows = [[f"{len(at):,}", _some(at), shown(reason)] for reason, at in skipped.items()]
        printing.table(Table(("rows", "lines", "skipped because"), rows))


def _some(lines: Sequence[int]) -> str:
    more = " …" if len(lines) > _SHOWN_LINES else ""
    return ", ".join(map(str, lines[:_SHOWN_LINES])) + more
