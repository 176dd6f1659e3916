"""Verdicts as annotations on the lines of the claims file, in GitHub's workflow commands.

GitHub shows ten of each kind a step, so the worst come first (docs.github.com, "Workflow commands
for GitHub Actions").
"""

from __future__ import annotations

from gpubench.report import wording
from gpubench.report.findings import Findings

_LEVELS = {"refuted": "error", "inconclusive": "warning", "conditional": "notice"}
_ORDER = ("refuted", "inconclusive", "conditional")


def render(findings: Findings) -> str:
    """One command a claim that is refuted, inconclusive or conditional; the others need no word."""
    file = findings.judgement.claims_file.path
    lines = []
    for outcome in _ORDER:
        for verdict, claim in findings.judged:
            if verdict.outcome != outcome:
                continue
            where = f"file={_property(str(file))},line={max(1, claim.line)}"
            title = _property(f"{claim.id}: {wording.verdict(verdict)}")
            said = f"Claimed {wording.claimed(claim.claimed)}. {wording.why(verdict)}"
            lines.append(f"::{_LEVELS[outcome]} {where},title={title}::{_data(said)}")
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
