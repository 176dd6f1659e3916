"""Verdicts for spreadsheets, test viewers, annotations and comments: the same in every form."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gpubench.catalogue import Catalogue
from gpubench.judging import judgement
from gpubench.report import annotations, junit, summary
from gpubench.report import csv as table
from gpubench.report.findings import Findings, Made
from tests.conftest import Load

BODY = """
statement: {statement}
subject: nvidia-h200-sxm
quantity: memory_bandwidth
claimed: {{value: {value}, qualifier: exact}}
"""
HOSTILE = '"=cmd|calc!A1 <script>alert(1)</script> | %0A::error:: , ]]>"'


@pytest.fixture
def findings(load_claims: Load, shipped: Catalogue) -> Findings:
    bodies = [
        BODY.format(statement=statement, value=value).replace("statement: ", "reading: ")
        for statement, value in (
            ("Right.", "4.8 TB/s"),
            ("Wrong.", "9.6 TB/s"),
            (HOSTILE, "3.35 TB/s"),
        )
    ]
    file = load_claims(*bodies)
    judged = judgement.judge_all(file, shipped, ())
    return Findings(Made("2026-01-31T09:30:00Z", "1", "none"), judged, shipped.articles, shipped)


def outcomes(findings: Findings) -> dict[str, str]:
    return {verdict.claim: verdict.outcome for verdict, _ in findings.judged}


def test_a_spreadsheet_has_a_row_for_every_claim(findings: Findings) -> None:
    rows = list(csv.DictReader(io.StringIO(table.render(findings))))
    assert {row["claim"]: row["outcome"] for row in rows} == outcomes(findings)
    assert rows[1]["claimed"] == "9.6 TB/s"
    assert all(row["reason"] and row["made"] for row in rows)


def test_no_cell_is_a_formula(findings: Findings) -> None:
    verdicts = tuple(
        replace(verdict, reason=f"{start}1+1")
        for verdict, start in zip(findings.judgement.verdicts, "=+@", strict=True)
    )
    hostile = replace(findings, judgement=replace(findings.judgement, verdicts=verdicts))
    for row in csv.reader(io.StringIO(table.render(hostile))):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)


def test_refuted_claims_fail_and_the_undecided_are_skipped(findings: Findings) -> None:
    root = ElementTree.fromstring(junit.render(findings))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert set(cases) == set(outcomes(findings))
    for name, outcome in outcomes(findings).items():
        assert (cases[name].find("failure") is not None) == (outcome == "refuted")
        assert cases[name].get("line", "0") != "0"
    assert sum(int(suite.get("failures", "")) for suite in root.iter("testsuite")) == 2
    assert sum(int(suite.get("tests", "")) for suite in root.iter("testsuite")) == 3


def test_characters_that_xml_forbids_do_not_break_it(findings: Findings) -> None:
    verdicts = tuple(
        replace(verdict, reason="a\x00b\x07\ud800 ]]> <x>&")
        for verdict in findings.judgement.verdicts
    )
    hostile = replace(findings, judgement=replace(findings.judgement, verdicts=verdicts))
    root = ElementTree.fromstring(junit.render(hostile))
    (failure, *_) = root.iter("failure")
    assert "a\ufffdb\ufffd\ufffd ]]> <x>&" in (failure.get("message") or "")


COMMAND = re.compile(r"^::(error|warning|notice) file=[^,:]+,line=\d+,title=[^,:]+::[^\r\n]+$")


def test_annotations_stand_on_the_lines_of_their_claims(findings: Findings) -> None:
    lines = annotations.render(findings).splitlines()
    assert len(lines) == 2  # what is supported needs no word
    source = findings.judgement.claims_file.path.read_text("utf-8").splitlines()
    for line in lines:
        assert COMMAND.match(line), line
        number, name = (re.search(p, line) for p in (r"line=(\d+)", r"title=(claim-\d)"))
        assert number
        assert name
        assert source[int(number[1]) - 1].strip() == f"- id: {name[1]}"


def test_the_worst_annotations_come_first(findings: Findings) -> None:
    levels = [line.split()[0] for line in annotations.render(findings).splitlines()]
    assert levels == sorted(levels, key=["::error", "::warning", "::notice"].index)


def test_a_new_line_in_a_reason_begins_no_command(findings: Findings) -> None:
    verdicts = tuple(
        replace(verdict, reason="x\n::error::fake\r%") for verdict in findings.judgement.verdicts
    )
    hostile = replace(findings, judgement=replace(findings.judgement, verdicts=verdicts))
    for line in annotations.render(hostile).splitlines():
        assert COMMAND.match(line)
        assert "%0A" in line


def test_a_summary_keeps_its_limit_and_leaves_out_the_best(findings: Findings) -> None:
    whole = summary.render(findings)
    assert "did not fit" not in whole
    positions = [whole.index(f"| {name} ") for name in ("claim-2", "claim-1")]
    assert positions == sorted(positions)
    short = summary.render(findings, len(whole) - 20)
    assert len(short) <= len(whole) - 20
    assert "1 more claim did not fit here" in short
    assert "| claim-1 " not in short


def test_two_hundred_claims_fit_a_comment(shipped: Catalogue) -> None:
    from gpubench import claims

    file = claims.load(Path(__file__).parents[1] / "claims.yaml", shipped)
    judged = judgement.judge_all(file, shipped, ())
    every = Findings(Made("2026", "1", "none"), judged, shipped.articles, shipped)
    assert len(summary.render(every)) <= summary.COMMENT_LIMIT
