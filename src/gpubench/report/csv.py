"""Verdicts as a CSV table: one row a claim or statement, every figure in its own column."""

from __future__ import annotations

import csv
import io

from gpubench.report import wording
from gpubench.report.findings import Findings

COLUMNS = (
    *("claim", "category", "outcome", "basis", "claimed", "accepted", "found", "reason"),
    *("statement", "articles", "evidence", "line", "made"),
)

# A spreadsheet would take a cell that begins so for a formula (owasp.org, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(findings: Findings) -> str:
    """The table, with a line of column names; cells that look like formulas get a leading '."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for verdict, claim in findings.judged:
        cells = (
            claim.id,
            claim.category,
            verdict.outcome,
            verdict.basis,
            wording.claimed(claim.claimed),
            wording.accepted(verdict, claim),
            verdict.found,
            wording.why(verdict),
            claim.statement,
            " ".join(dict.fromkeys(cite.article for cite in claim.citations)),
            str(len(verdict.evidence)),
            str(claim.line),
            findings.made.time,
        )
        writer.writerow([_plain(cell) for cell in cells])
    for entry in findings.set_aside:
        cells = (
            entry.id,
            entry.category,
            "out-of-scope",
            "",
            wording.entry_claimed(entry),
            "",
            "",
            entry.reason,
            entry.statement,
            " ".join(dict.fromkeys(cite.article for cite in entry.citations)),
            "0",
            str(entry.line),
            findings.made.time,
        )
        writer.writerow([_plain(cell) for cell in cells])
    return out.getvalue()


def _plain(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
