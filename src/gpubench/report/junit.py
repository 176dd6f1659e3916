"""Verdicts as JUnit XML, one test case a claim, for whatever shows test results.

Refuted claims fail. What could not be decided, was not tried or is out of scope is skipped, with
the reason; a conditional claim passes and says its conditions. The layout is the one that Jenkins
and GitLab read (github.com/jenkinsci/junit-plugin, its documentation of the format).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from xml.etree import ElementTree

from gpubench.model import Claim, Verdict
from gpubench.report import wording
from gpubench.report.findings import Findings

_SKIPPED = ("inconclusive", "untested", "out-of-scope")
# What XML 1.0 does not allow, even escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(findings: Findings) -> str:
    """The document; one suite a category."""
    root = ElementTree.Element("testsuites", name="gpubench")
    judged = sorted(findings.judged, key=lambda one: one[1].category)
    for category, group in groupby(judged, key=lambda one: one[1].category):
        _suite(root, category, list(group), findings)
    aside = [
        ("out-of-scope", f"{entry.category}: {entry.statement}", entry.id, entry.reason, entry.line)
        for entry in findings.set_aside
    ]
    if aside:
        suite = _begun(root, "out of scope", len(aside), Counter({"out-of-scope": len(aside)}))
        for outcome, statement, name, reason, line in aside:
            case = _case(suite, "out of scope", name, line, findings)
            ElementTree.SubElement(case, "skipped", message=_legal(f"{outcome}: {reason}"))
            ElementTree.SubElement(case, "system-out").text = _legal(statement)
    ElementTree.indent(root)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ElementTree.Element,
    category: str,
    group: Iterable[tuple[Verdict, Claim]],
    findings: Findings,
) -> None:
    members = list(group)
    counts = Counter[str](verdict.outcome for verdict, _ in members)
    suite = _begun(root, category, len(members), counts)
    for verdict, claim in members:
        case = _case(suite, category, claim.id, claim.line, findings)
        said = f"{wording.verdict(verdict)}: {wording.why(verdict)}"
        if verdict.outcome == "refuted":
            failure = ElementTree.SubElement(case, "failure", type="refuted", message=_legal(said))
            failure.text = _legal("\n".join(_lines(verdict, claim)))
        elif verdict.outcome in _SKIPPED:
            ElementTree.SubElement(case, "skipped", message=_legal(said))
        ElementTree.SubElement(case, "system-out").text = _legal(
            "\n".join([said, *_lines(verdict, claim)])
        )


def _begun(
    root: ElementTree.Element, name: str, tests: int, counts: Counter[str]
) -> ElementTree.Element:
    return ElementTree.SubElement(
        root,
        "testsuite",
        name=_legal(name),
        tests=str(tests),
        failures=str(counts["refuted"]),
        errors="0",
        skipped=str(sum(counts[outcome] for outcome in _SKIPPED)),
    )


def _case(
    suite: ElementTree.Element, category: str, name: str, line: int, findings: Findings
) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite,
        "testcase",
        classname=_legal(f"claims.{category}"),
        name=_legal(name),
        file=_legal(str(findings.judgement.claims_file.path)),
        line=str(line),
        time="0",
    )


def _lines(verdict: Verdict, claim: Claim) -> Iterator[str]:
    yield claim.statement
    yield f"claimed: {wording.claimed(claim.claimed)}"
    yield f"found: {verdict.found or 'nothing'}"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
