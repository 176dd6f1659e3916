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

REASON_FROM_COLUMNS = 150
"""Narrower terminals show no reasons: they would wrap each claim over many lines."""


def verdict_table(findings: Findings, columns: int) -> Table:
    """One row a claim, for a terminal of so many columns."""
    reasons = columns >= REASON_FROM_COLUMNS
    rows = []
    for verdict, claim in findings.judged:
        row = [
            claim.id,
            wording.verdict(verdict),
            wording.claimed(claim.claimed),
            verdict.found,
        ]
        rows.append([*row, verdict.reason] if reasons else row)
    head = ["claim", "verdict", "claimed", "found"]
    return Table([*head, "why"] if reasons else head, rows, styles=COLOURS)


def count_table(verdicts: Iterable[Verdict]) -> Table:
    """How many verdicts of each outcome, by the kind of evidence that decided."""
    columns, rows = count_rows(verdicts)
    return Table(columns, rows, styles=COLOURS)
