"""The verdicts as tables for a terminal or, off one, for Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gpubench.model import Verdict
from gpubench.report import wording
from gpubench.report.markdown import count_rows
from gpubench.report.table import Table

if TYPE_CHECKING:
    from gpubench.report.findings import Findings

COLOURS = {
    "supported": "green",
    "conditional": "yellow",
    "refuted": "red",
    "inconclusive": "magenta",
    "untested": "dim",
    "out-of-scope": "dim",
}
"""By outcome; the word itself always stands beside the colour."""

WHY_FROM_COLUMNS, ONE_LINE_FROM_COLUMNS, TWO_LINES_FROM_COLUMNS = 190, 110, 76
"""Narrower terminals show no reasons in the table, since each would wrap over many lines; still
narrower ones show a claim on two lines, or on four, so that its id stays whole."""

REASONS_BELOW = 10
"""Of so many claims at the most the reasons stand below the table."""


def verdict_table(findings: Findings, columns: int) -> Table:
    """The verdicts, for a terminal of so many columns."""
    rows = [
        [claim.id, wording.verdict(verdict), wording.claimed(claim.claimed), verdict.found]
        for verdict, claim in findings.judged
    ]
    if columns < TWO_LINES_FROM_COLUMNS:
        return Table(("claim",), [["\n".join(row)] for row in rows], styles=COLOURS)
    if columns < ONE_LINE_FROM_COLUMNS:
        stacked = [[f"{row[0]}\n{row[1]}", f"{row[2]}\n{row[3]}"] for row in rows]
        return Table(("claim\nverdict", "claimed\nfound"), stacked, styles=COLOURS)
    head = ["claim", "verdict", "claimed", "found"]
    if columns >= WHY_FROM_COLUMNS:
        head = [*head, "why"]
        whys = [wording.why(verdict) for verdict, _ in findings.judged]
        rows = [[*row, why] for row, why in zip(rows, whys, strict=True)]
    return Table(head, rows, ["verdict"], COLOURS)


def reasons(findings: Findings, columns: int) -> list[str]:
    """What stands below a table without reasons: those of a few claims, or where to find them."""
    judged = list(findings.judged)
    if columns >= WHY_FROM_COLUMNS or not judged:
        return []
    if len(judged) > REASONS_BELOW:
        return ["Why: gpubench show ID, check --only ID, or here on a wider terminal."]
    return [f"- {claim.id}: {wording.why(verdict)}" for verdict, claim in judged]


def count_table(verdicts: Iterable[Verdict]) -> Table:
    """How many verdicts of each outcome, by the kind of evidence that decided."""
    columns, rows = count_rows(verdicts)
    return Table(columns, rows, styles=COLOURS)
