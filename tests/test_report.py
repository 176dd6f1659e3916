"""Reports say what was judged, in words that no statement can bend."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt  # rich depends on it

from gpubench import units
from gpubench.catalogue import Catalogue, load
from gpubench.claims import ClaimsFile
from gpubench.judging.contradictions import Contradiction
from gpubench.judging.judgement import Judgement, judge_all
from gpubench.judging.verdict import judge, set_aside
from gpubench.model import Article, Citation, Claim, Claimed, Evidence, OutOfScope, Verdict
from gpubench.report import json as report_json
from gpubench.report import lines as report_lines
from gpubench.report import markdown, table, terminal, wording
from gpubench.report.findings import Findings, Made
from gpubench.stats import MedianInterval
from tests.conftest import Load

ARTICLE = Article("000", "H200 | <script>alert(1)</script>", "A [publisher](http://x)", "2025")


def claim(statement: str = "It reaches 4.8 TB/s.", value: str = "4.8 TB/s") -> Claim:
    printed = units.parse_printed(value)
    return Claim(
        id="a1-bandwidth",
        category="datasheet-spec",
        statement=statement,
        citations=(Citation("000", "section 1", ("d1",)),),
        quantities=("memory_bandwidth",),
        claimed=Claimed("about", printed, printed),
        subjects=("acme-a1",),
    )


def found(value: float, **more: object) -> Evidence:
    kind, source = "catalogue", "Acme, https://acme.example/a1 (grade A)"
    item = Evidence(kind, {"rate": "peak"}, source, value, value, value, "B/s")  # type: ignore[arg-type]
    return replace(item, **more)  # type: ignore[arg-type]


def findings(*pairs: tuple[Claim, Verdict], aside: tuple[OutOfScope, ...] = ()) -> Findings:
    file = ClaimsFile(Path("claims.yaml"), "ab" * 32, tuple(c for c, _ in pairs), aside)
    verdicts = (*(v for _, v in pairs), *(set_aside(entry) for entry in aside))
    judgement = Judgement(file, verdicts, ())
    return Findings(
        Made("2026-01-01T00:00:00Z", "1.0", "none"), judgement, {"000": ARTICLE}, load()
    )


def cells(line: str) -> int:
    """The cells of a Markdown table's row, as a renderer counts them."""
    return line.replace("\\|", "").count("|") - 1


def rendered(text: str) -> str:
    """The HTML of a Markdown text, by a renderer that lets HTML through."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


# --------------------------------------------------------------------------- Markdown


def test_a_report_leads_from_the_verdict_to_the_source() -> None:
    text = markdown.render(findings((claim(), judge(claim(), [found(4.7e12)]))))
    assert "[a1-bandwidth](#a1-bandwidth)" in text
    assert "### a1-bandwidth" in text
    assert "**supported (catalogue).**" in text
    assert "- Claimed: about 4.8 TB/s" in text
    assert "- Accepted: 4.08 to 5.52 TB/s" in text
    assert "[Acme](https://acme.example/a1) (grade A)" in text
    assert "section 1" in text


def test_a_statement_cannot_bend_the_report() -> None:
    nasty = (
        "A | B\n\n# Heading <img src=x onerror=alert(1)> [click](javascript:alert(1)) `code` *x*"
    )
    judged = judge(claim(nasty), [found(4.7e12, source=nasty, assumptions=(nasty,))])
    html = rendered(markdown.render(findings((claim(nasty), judged))))
    assert not re.search(r"<(img|script)", html)
    assert set(re.findall(r'href="([a-z]+):', html)) <= {"https"}
    assert html.count("<h1>") == 1
    assert "<h1>Heading" not in html
    assert "# Heading &lt;img src=x onerror=alert(1)&gt;" in html


def test_an_id_like_a_heading_of_the_report_keeps_its_own_anchor() -> None:
    odd = replace(claim(), id="verdicts")
    text = markdown.render(findings((odd, judge(odd, [found(4.7e12)]))))
    assert "[verdicts](#verdicts-1)" in text  # as Markdown numbers the second of two headings
    assert text.index("## Verdicts") < text.index("### verdicts")


def test_a_report_shows_what_cannot_be_seen() -> None:
    nasty = "a \x1b[31m b \u202e c $x$"
    text = markdown.render(findings((claim(nasty), judge(claim(nasty), [found(4.7e12)]))))
    assert "a \\<U+001B\\>\\[31m b \\<U+202E\\> c \\$x\\$" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    nasty = claim("a | b || c \\| d")
    judged = judge(nasty, [found(4.7e12, source="x | y"), found(1e12, binding_limit="a|b")])
    lines = markdown.render(findings((nasty, judged))).splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("| -")]
    assert len(heads) >= 3
    for head in heads:
        row = head - 1
        while row < len(lines) and lines[row].startswith("|"):
            assert cells(lines[row]) == cells(lines[head]), lines[row]
            row += 1


def test_only_web_addresses_become_links() -> None:
    assert table.link("A", "https://a.example/x_(y)") == "[A](https://a.example/x_%28y%29)"
    assert table.link("A", "javascript:alert(1)") == "A"
    assert table.link("A", "file:///etc/passwd") == "A"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("memory_bandwidth", "memory_bandwidth"),
        ("_stressed_", "\\_stressed\\_"),
        ("a|b", "a\\|b"),
        ("1. item", "1\\. item"),
        ("# head", "\\# head"),
        ("a\nb", "a b"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert table.escape(text) == escaped


def test_both_sources_of_a_ratio_become_links() -> None:
    source = (
        "990 TFLOPS (Acme, https://acme.example/a (grade A)) over 2 TFLOPS (B (C), https://b.c/d)"
    )
    text = markdown.render(findings((claim(), judge(claim(), [found(4.7e12, source=source)]))))
    assert (
        "990 TFLOPS ([Acme](https://acme.example/a) (grade A)) over 2 TFLOPS "
        "([B (C)](https://b.c/d))"
    ) in text


def test_a_long_sweep_shows_a_dozen_lines_and_counts_the_rest() -> None:
    many = [found(4e12 + i * 1e10, conditions={"batch": i + 1}) for i in range(100)]
    text = markdown.claim_section(judge(claim(), many), claim(), {})
    rows = [line for line in text.splitlines() if "| catalogue" in line]
    assert len(rows) == report_lines.MOST_ROWS
    assert "4 TB/s" in rows[0]
    assert "4.99 TB/s" in rows[-1]
    assert "88 more like these" in text


def test_the_one_line_in_which_a_claim_holds_is_always_shown() -> None:
    items = [found((3 + i / 100) * 1e12, conditions={"run": i}) for i in range(100)]
    items.insert(50, found(4.8e12, conditions={"run": 100}))
    text = markdown.claim_section(judge(claim(), items), claim(), {})
    assert "run 100" in text
    assert "1 lies inside" in text


def test_notes_name_the_lines_they_belong_to() -> None:
    items = [found(4.7e12, assumptions=("cold",)), found(4.8e12), found(4.9e12, error="8 %")]
    text = markdown.claim_section(judge(claim(), items), claim(), {})
    assert "- cold (line 1)" in text
    assert "- 8 % (line 3)" in text


def test_contradictions_and_statements_out_of_scope_have_their_sections() -> None:
    aside = OutOfScope("forecast", "It will sell.", (), "A forecast is no figure.", "market")
    judged = findings((claim(), judge(claim(), [found(4.7e12)])), aside=(aside,))
    other = replace(claim(), id="a1-other")
    clash = Contradiction(claim(), other, "they do not overlap")
    judged = replace(judged, judgement=replace(judged.judgement, contradictions=(clash,)))
    text = markdown.render(judged)
    assert "## Where the articles contradict each other" in text
    assert "[a1-other](#a1-other)" in text
    assert "## Out of scope" in text
    assert "A forecast is no figure." in text


def test_the_real_claims_make_a_report(load_claims: Load, shipped: Catalogue) -> None:
    file = load_claims(
        "subject: nvidia-h200-sxm\nquantity: memory_bandwidth\n"
        "claimed: {value: 4.8 TB/s, qualifier: exact}"
    )
    made = Made("2026-01-01T00:00:00Z", "1.0", "none")
    text = markdown.render(Findings(made, judge_all(file, shipped), shipped.articles, shipped))
    assert shipped.article("000_8d8314c702c96883").title in text
    assert "(https://" in text


# --------------------------------------------------------------------------- tables


def test_counts_add_up() -> None:
    verdicts = [
        judge(claim(), [found(4.7e12)]),
        judge(claim(), [found(1e12)]),
        judge(claim(), []),
    ]
    columns, rows = markdown.count_rows(verdicts)
    assert columns == ["outcome", "catalogue", "none", "total"]
    assert rows[-1] == ["total", "2", "1", "3"]
    assert sum(int(row[-1]) for row in rows[:-1]) == 3


def test_a_wide_terminal_shows_reasons_and_a_narrow_one_does_not() -> None:
    judged = findings((claim(), judge(claim(), [found(4.7e12)])))
    assert terminal.verdict_table(judged, 200).columns[-1] == "why"
    assert terminal.verdict_table(judged, 120).columns[-1] == "found"
    assert terminal.reasons(judged, 200) == []
    assert terminal.reasons(findings(), 120) == []
    assert terminal.reasons(judged, 120) == [
        "- a1-bandwidth: Found 4.7 TB/s, inside the accepted 4.08 to 5.52 TB/s."
    ]
    many = findings(*[(claim(), judge(claim(), [found(4.7e12)]))] * 11)
    assert terminal.reasons(many, 120) == [
        "Why: gpubench show ID, check --only ID, or here on a wider terminal."
    ]


@pytest.mark.parametrize("columns", [30, 60, 80, 100, 120, 200])
def test_no_terminal_is_too_narrow_for_an_id(columns: int) -> None:
    from rich.console import Console

    long = replace(claim(), id="h200-" + "x" * 20)
    judged = findings((long, judge(long, [found(4.7e12)])))
    console = Console(width=columns)
    with console.capture() as capture:
        console.print(table.terminal(terminal.verdict_table(judged, columns), columns))
    shown = capture.get()
    for words in (long.id, "supported (catalogue)", "about 4.8 TB/s", "4.7 TB/s"):
        assert words in shown


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_a_table_folds_no_word_and_becomes_a_list_where_it_would(columns: int) -> None:
    from rich.console import Console

    wide = table.Table(
        ("id", "fp16 dense"), [["an-accelerator-of-some-length-" + "x" * 20, "1,307 TFLOPS"]]
    )
    console = Console(width=columns)
    with console.capture() as capture:
        console.print(table.terminal(wide, columns))
    shown = capture.get()
    assert "fp16 dense" in shown
    assert "TFLOPS" in shown
    assert wide.rows[0][0] in shown.replace("\n", "")  # a list wraps an id, and never cuts it


def drawn(told: table.Table, columns: int) -> str:
    from rich.console import Console

    console = Console(width=columns)
    with console.capture() as capture:
        console.print(table.terminal(told, columns))
    return capture.get()


def test_a_table_is_read_back_from_the_markdown_that_was_written() -> None:
    odd = r"a | b \ [c] & _d_ * `e`"
    source = table.link("ACME [1]", "https://acme.example/a_(b)") + " (grade A)"
    block = table.markdown_cells(("Line", "Source"), [[table.escape(odd), source]])
    told, addresses = table.parsed(block)
    assert (told.columns, told.rows) == (["Line", "Source"], [[odd, "ACME [1] (grade A)"]])
    assert addresses == {"https://acme.example/a_%28b%29": "ACME [1]"}


def test_a_narrow_terminal_does_without_what_can_be_spared_and_says_so() -> None:
    told = table.Table(
        ("id", "rate", "power", "released"),
        [["a" * 20, "1,307 TFLOPS", "700 W", "2024"]],
        spare=("power", "released"),
    )
    assert all(word in drawn(told, 80) for word in ("700 W", "2024"))
    middle, narrow = drawn(told, 56), drawn(told, 46)
    assert "700 W" in middle
    assert "2024" not in middle
    assert "released: on a wider terminal" in middle
    assert "700 W" not in narrow
    assert "power, released: on a wider terminal" in narrow
    assert "1,307 TFLOPS" in narrow  # nothing is folded before it has to be


def test_a_list_holds_as_many_cells_on_a_line_as_have_room() -> None:
    told = table.Table(("id", "memory", "rate"), [["x" * 30, "80 GB", "3.35 TB/s"], ["y", "", ""]])
    assert drawn(told, 33).splitlines() == ["x" * 30, "  memory: 80 GB · rate: 3.35 TB/s", "y"]
    assert drawn(told, 32).splitlines() == ["x" * 30, "  memory: 80 GB", "  rate: 3.35 TB/s", "y"]


def test_a_name_with_brackets_is_no_terminal_style() -> None:
    from rich.console import Console

    drawn = table.terminal(table.Table(("name",), [["[bold]x[/bold]"]]), 60)
    console = Console(width=60)
    with console.capture() as capture:
        console.print(drawn)
    assert "[bold]x[/bold]" in capture.get()


# --------------------------------------------------------------------------- JSON


def test_the_json_document_has_the_promised_shape() -> None:
    judged = findings((claim(), judge(claim(), [found(4.7e12)])))
    document = json.loads(report_json.text(report_json.document(judged, {"python": "3.11"})))
    assert set(document) >= {"schema", "environment", "verdicts", "measurements"}
    (verdict,) = document["verdicts"]
    assert set(verdict) >= {"claim", "outcome", "basis", "claimed", "evidence", "reason"}
    assert verdict["claimed"] == {
        "low": 4.8e12,
        "high": 4.8e12,
        "unit": "B/s",
        "text": "about 4.8 TB/s",
        "qualifier": "about",
    }
    (evidence,) = verdict["evidence"]
    assert set(evidence) >= {"kind", "low", "mid", "high", "unit", "conditions", "source"}


def test_json_has_null_where_a_claim_has_no_bound() -> None:
    more = replace(claim(), claimed=replace(claim().claimed, qualifier="at-least"))
    verdict = judge(more, [found(5e12)])
    assert verdict.accepted is not None
    assert verdict.accepted.high == math.inf
    document = report_json.document(findings((more, verdict)), {})
    assert document["verdicts"][0]["accepted"]["high"] is None
    assert "Infinity" not in report_json.text(document)


# --------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("value", "qualifier", "words"),
    [
        ("4.8 TB/s", "exact", "4.8 TB/s"),
        ("60 % more", "up-to", "up to 60 % more"),
        ("5.5 billion USD", "more-than", "more than 5.5 billion USD"),
    ],
)
def test_a_claimed_value_reads_as_it_was_printed(value: str, qualifier: str, words: str) -> None:
    printed = units.parse_printed(value)
    assert wording.claimed(Claimed(qualifier, printed, printed)) == words


def test_conditions_are_shown_in_units_of_the_trade() -> None:
    chosen = {"network": 4e11, "utilization": 0.4, "batch": 2048, "model": "llama-2-70b"}
    assert (
        wording.conditions(chosen)
        == "network 400 GB/s, utilization 40 %, batch 2,048, model llama-2-70b"
    )


def test_a_lopsided_interval_shows_both_of_its_sides() -> None:
    even, skew = MedianInterval(99, 100, 101, 20, 0.96), MedianInterval(28, 100, 101, 20, 0.96)
    assert wording.spread(even) == "1.00 %"
    assert wording.with_spread("100 GB/s", even) == "100 GB/s ±1.00 %"
    assert wording.with_spread("100 GB/s", skew) == "100 GB/s (−72 to +1 %)"
    assert wording.spread(MedianInterval(9, 9, 9, 1, 0.0)) == "–"
