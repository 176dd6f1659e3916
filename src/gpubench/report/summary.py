"""Verdicts in brief, in Markdown that fits a comment or a job's summary: the worst first."""

from __future__ import annotations

from gpubench.report import markdown, wording
from gpubench.report.findings import Findings
from gpubench.report.table import escape

COMMENT_LIMIT = 65_536
"""Characters of a comment on GitHub; a job's summary may have sixteen times as many bytes."""

_ORDER = ("refuted", "inconclusive", "conditional", "untested", "supported")
_HEAD = "| claim | verdict | claimed | found | why |\n|---|---|---|---|---|\n"


def render(findings: Findings, limit: int = COMMENT_LIMIT) -> str:
    """Counts, then claims until the limit of characters, those left out counted at the end."""
    verdicts = findings.judgement.verdicts
    rows = [
        "| "
        + " | ".join(
            escape(cell)
            for cell in (
                claim.id,
                wording.verdict(verdict),
                wording.claimed(claim.claimed),
                verdict.found,
                wording.why(verdict),
            )
        )
        + " |\n"
        for outcome in _ORDER
        for verdict, claim in findings.judged
        if verdict.outcome == outcome
    ]
    start = f"## Fact check of {findings.made.time}\n\n{markdown.counts(verdicts)}\n\n{_HEAD}"
    shown, room = [], limit - len(start) - len(_rest(len(rows)))
    for row in rows:
        if len(row) > room:
            break
        shown.append(row)
        room -= len(row)
    left = len(rows) - len(shown)
    return start + "".join(shown) + (_rest(left) if left else "")


def _rest(count: int) -> str:
    return f"\n{wording.counted(count, 'more claim')} did not fit here; see the whole report.\n"
