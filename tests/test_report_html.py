"""The page says what was judged, the same in both languages, and no text can bend it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gpubench.catalogue import Catalogue, load
from gpubench.claims import ClaimsFile
from gpubench.judging.contradictions import Contradiction
from gpubench.judging.judgement import Judgement
from gpubench.judging.verdict import judge, set_aside
from gpubench.model import KINDS, OUTCOMES, Article, OutOfScope
from gpubench.quantities import CONDITIONS
from gpubench.report import html, listed
from gpubench.report.findings import Findings, Made
from gpubench.report.html import language
from tests import reported
from tests.test_report import claim, findings, found

HOSTILE = (
    "</script></bdi><script>alert(1)</script> <img src=x onerror=alert(2)> "
    "{{ 1234*5 }} \u202e\u2066reversed \u200b\x1b[31m ‮ مرحبا " + "w" * 4000
)


@dataclass
class Read(HTMLParser):
    """What a reader of HTML finds: elements with attributes, and text without scripts."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    scripts: list[tuple[str, str]] = field(default_factory=list)
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif not self._inside:
            self.text.append(data)

    @property
    def reviews(self) -> list[dict[str, Any]]:
        return [json.loads(text) for kind, text in self.scripts if kind == "application/ld+json"]


def read(page: str) -> Read:
    reader = Read()
    reader.feed(page)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def shipped_findings() -> Findings:
    return reported.findings()


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: reported.page(name) for name in ("en", "zh")}


@pytest.fixture(scope="module")
def hostile() -> str:
    """A page on which everything that comes from outside is hostile."""
    nasty = replace(claim(HOSTILE), reading=HOSTILE)
    item = found(4.7e12, source=f"{HOSTILE}, https://a.example/x", assumptions=(HOSTILE,))
    judged = replace(judge(nasty, [item]), flags=(HOSTILE,))
    aside = OutOfScope("aside", HOSTILE, nasty.citations, HOSTILE, "market")
    file = ClaimsFile(Path("claims</title>.yaml"), "ab" * 32, (nasty,), (aside,))
    made = Made("2026-01-01T00:00:00Z", "<b>1</b>", HOSTILE)
    other = replace(nasty, id="a1-other")
    verdicts = Judgement(file, (judged, set_aside(aside)), (Contradiction(nasty, other, HOSTILE),))
    article = Article("000", HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    return html.render(Findings(made, verdicts, {"000": article}, load()))


# --------------------------------------------------------------------------- what it says


def test_every_verdict_stands_on_the_page_once_with_what_was_claimed_and_found(
    shipped_findings: Findings, pages: dict[str, str]
) -> None:
    told = cards(pages["en"])
    assert len(told) == sum(1 for _ in shipped_findings.judged)
    for verdict, one in shipped_findings.judged:
        text = told[one.id]
        assert text.startswith(verdict.outcome), one.id
        assert one.statement in text
        assert verdict.reason in text
        assert verdict.found in text


def test_the_counts_of_the_summary_are_those_of_the_verdicts(
    shipped_findings: Findings, pages: dict[str, str]
) -> None:
    outcomes = [verdict.outcome for verdict in shipped_findings.judgement.verdicts]
    bar = re.search(r'<ul class="bar">(.*?)</ul>', pages["en"], re.DOTALL)
    assert bar
    shown = dict(re.findall(r'<li class="([a-z-]+)".*?<b>(\d+)</b>', bar[1], re.DOTALL))
    expected = {n: str(outcomes.count(n)) for n in OUTCOMES if n in outcomes and n[:3] != "out"}
    assert shown == expected


def test_each_article_has_a_section_with_its_claims(
    shipped_findings: Findings, pages: dict[str, str]
) -> None:
    sections = re.findall(r'<section class="article".*?</section>', pages["en"], re.DOTALL)
    assert len(sections) == len(shipped_findings.cited)
    for name, section in zip(shipped_findings.cited, sections, strict=True):
        of = {c.id for _, c in shipped_findings.judged if name in {x.article for x in c.citations}}
        named = set(re.findall(r'<details class="claim[^>]* id="([^"]+)"', section))
        named |= set(re.findall(r'<li class="[a-z-]+">.*?href="#([^"]+)"', section))
        assert named == of


def test_the_most_striking_come_first(pages: dict[str, str], shipped_findings: Findings) -> None:
    listed_ = re.findall(r'<ol class="striking">(.*?)</ol>', pages["en"], re.DOTALL)
    by_id = {v.claim: v for v in shipped_findings.judgement.verdicts}
    for text, outcome in zip(listed_, ("refuted", "supported"), strict=True):
        named = re.findall(r'href="#([^"]+)"', text)
        assert len(named) == 5
        assert {by_id[name].outcome for name in named} == {outcome}
    assert "h200-memory-bandwidth" in listed_[1]  # two articles print it, and it was measured
    counted = [c for _, c in shipped_findings.judged if c.quantities == ("figures_reduced",)]
    assert not any(f'"#{claim.id}"' in listed_[1] for claim in counted)  # "at least 1, found 7"


def test_contradictions_and_statements_out_of_scope_are_told(
    pages: dict[str, str], shipped_findings: Findings
) -> None:
    text = " ".join(read(pages["en"]).text)
    assert all(entry.statement in text for entry in shipped_findings.set_aside)
    assert all(found.why in text for found in shipped_findings.judgement.contradictions)


def test_sources_are_linked_with_the_day_they_were_read(pages: dict[str, str]) -> None:
    assert re.search(r'href="https://www.nvidia.com/[^"]+" rel="noreferrer nofollow">NVIDIA</a>'
                     r' <small lang="en">\(read by 2026-08\)</small>', pages["en"])  # fmt: skip


def test_a_chart_has_words_for_those_who_cannot_see_it(pages: dict[str, str]) -> None:
    drawings = [attrs for tag, attrs in read(pages["en"]).elements if attrs.get("role") == "img"]
    assert len(drawings) > 150
    assert all(attrs.get("aria-label") for attrs in drawings)
    figures = re.findall(r"<figure.*?</figure>", pages["en"], re.DOTALL)
    assert len(figures) == 5
    for figure in figures:
        assert "<figcaption>" in figure
        assert "<table" in figure


def test_what_was_measured_is_drawn_over_time(pages: dict[str, str]) -> None:
    assert "SM clock, MHz" in pages["en"]
    assert "fp16 8192 × 8192 × 8192, torch, sustained" in pages["en"]
    assert "No run on a GPU" not in pages["en"]


def test_one_is_no_plural() -> None:
    text = html.render(findings((claim(), judge(claim(), [found(4.7e12)]))))
    assert "1 claim judged, 0 statements out of scope, 1 article<" in text.replace("</p>", "<")
    assert "Of 1 claim that can be computed, 1 is supported, 0 hold only" in text


def test_without_measurements_the_page_says_so() -> None:
    text = html.render(findings((claim(), judge(claim(), [found(4.7e12)]))))
    assert "Nothing was measured for this page." in text


def test_many_records_have_a_line_each(shipped: Catalogue, shipped_findings: Findings) -> None:
    lines = tuple(listed.line(reported.record(f"{n:08x}"), shipped) for n in range(1, 40))
    told = {best.figure: best for best in lines[0].best}
    assert told["memory_bandwidth"].share == pytest.approx(0.94, rel=0.01)
    assert told["peak_fp16"].share == pytest.approx(0.80, rel=0.01)
    text = html.render(replace(shipped_findings, listed=lines))
    assert all(line.id in text for line in lines)
    assert "39 records were read" in text
    many = html.render(replace(shipped_findings, listed=lines * 30))
    assert "1170 records were read" in many
    assert "The newest 1000 are listed." in many
    assert len(many.encode()) < html.SIZE


# --------------------------------------------------------------------------- languages


def cards(page: str, statements: bool = True) -> dict[str, str]:
    """The visible text of each claim, by id."""
    found = {}
    for body in re.findall(r'<details class="claim.*?</details>', page, re.DOTALL):
        name = re.search(r' id="([^"]+)"', body)
        assert name
        if not statements:
            body = re.sub(r'<span class="statement">.*?</span>', "", body, flags=re.DOTALL)
        found[name[1]] = " ".join("".join(read(body).text).split())
    return found


def outcomes(page: str) -> list[str]:
    return re.findall(r'data-outcome="([a-z-]+)"', page)


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", text))


def test_figures_and_verdicts_are_the_same_in_both_languages(pages: dict[str, str]) -> None:
    english, chinese = (cards(pages[name], statements=False) for name in ("en", "zh"))
    assert list(english) == list(chinese)
    assert outcomes(pages["en"]) == outcomes(pages["zh"])
    for name, text in english.items():
        assert numbers(text) == numbers(chinese[name]), name


def test_ratings_for_machines_are_the_same_in_both_languages(pages: dict[str, str]) -> None:
    told = [
        [(r["url"], r["reviewRating"].get("ratingValue")) for r in read(pages[name]).reviews]
        for name in ("en", "zh")
    ]
    assert told[0] == told[1]


def test_every_condition_has_a_chinese_name() -> None:
    chinese = language.Language("zh")
    said = {name: str(chinese.quantity(name)) for name in CONDITIONS}
    assert not [name for name, word in said.items() if word == name.replace("_", " ")]


def test_every_shipped_statement_is_told_in_chinese_with_its_figures(
    shipped_findings: Findings,
) -> None:
    entries = [*(told for _, told in shipped_findings.judged), *shipped_findings.set_aside]
    assert len(entries) == 254
    names = re.compile(r"\b(?:[AHBL]\d+0*|FP\d+|TFLOPS|TB/s|GB/s|NVLink|HBM3e?)\b")
    for told in entries:
        chinese = told.translations["zh"]
        assert chinese.endswith("。")
        assert not re.search(r"[\u4e00-\u9fff][,.;:?!(]|[,;:?!)][\u4e00-\u9fff]", chinese), told.id
        missing = [name for name in names.findall(told.statement) if name not in chinese]
        assert missing == [], told.id


def test_every_reason_is_said_in_chinese(pages: dict[str, str]) -> None:
    reasons = re.findall(r"<dt>理由</dt><dd>(.*?)</dd>", pages["zh"])
    assert len(reasons) == len(cards(pages["zh"]))
    left = [text for text in reasons if re.search(r"\b(?:found|conditions|undecided|is)\b", text)]
    assert left == []
    assert not any('lang="en"' in text for text in reasons)


def test_what_stays_english_on_a_chinese_page_is_marked_so() -> None:
    odd = replace(judge(claim(), [found(4.7e12)]), reason="A sentence that nobody foresaw.")
    text = html.render(findings((claim(), odd)), "zh")
    assert '<html lang="zh-Hans">' in text
    assert '<span lang="en">A sentence that nobody foresaw.</span>' in text
    assert '<bdi lang="en">It reaches 4.8 TB/s.</bdi>' in text


def test_a_statement_is_told_in_chinese_where_the_file_has_it_so() -> None:
    told = replace(claim(), translations={"zh": "带宽达到 4.8 <TB/s>。"})
    judged = findings((told, judge(told, [found(4.7e12)])))
    chinese, english = (html.render(judged, name) for name in ("zh", "en"))
    assert "<bdi>带宽达到 4.8 &lt;TB/s&gt;。</bdi>" in chinese
    assert "It reaches 4.8 TB/s." not in re.sub(r"<script.*?</script>", "", chinese, flags=re.S)
    assert "带宽" not in english


@pytest.mark.parametrize("name", ["en", "zh"])
def test_every_outcome_and_kind_has_a_word(name: str) -> None:
    from gpubench.report.html.language import language

    spoken = language(name)
    words = [spoken.word("outcomes", word) for word in OUTCOMES]
    words += [spoken.word("kinds", word) for word in KINDS]
    assert len(set(words)) == len(words)
    assert all(word.isascii() == (name == "en") for word in words)


def test_every_wording_has_the_same_blanks_in_both_languages() -> None:
    from gpubench.report.html.language import _catalogue

    blanks = re.compile(r"\{[a-z_0-9]+\}")
    for key, told in _catalogue()["page"].items():
        assert set(told) == {"en", "zh"}, key
        if told["en"]:
            assert sorted(blanks.findall(told["en"])) == sorted(blanks.findall(told["zh"])), key
    for pairs in _catalogue()["sentences"].values():
        for english, chinese in pairs:
            assert sorted(blanks.findall(english)) == sorted(blanks.findall(chinese)), english


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("4.75 to 4.85 TB/s", "4.75 至 4.85 TB/s"),
        ("41 % less", "少 41 %"),
        ("0 to 43.3 % more", "多 0 至 43.3 %"),
        ("at least 1.5 x", "至少 1.5 倍"),
        ("6.4 % less to 451 % more", "少 6.4 % 到多 451 %"),
        ("2023-11 or 2024-Q2", "2023-11 或 2024-Q2"),
        ("2023-11 or later", "2023-11 或更晚"),
        ("HBM3e", "HBM3e"),
    ],
)
def test_an_interval_reads_naturally_in_chinese(english: str, chinese: str) -> None:
    from gpubench.report.html.language import language

    assert str(language("zh").span(english)) == chinese


# --------------------------------------------------------------------------- nothing gets in or out


def test_no_text_from_outside_becomes_markup(hostile: str) -> None:
    reader = read(hostile)
    assert not {tag for tag, _ in reader.elements} & {"img", "iframe", "object", "embed"}
    assert [kind for kind, _ in reader.scripts] == ["application/ld+json", ""]
    assert not [name for _, attrs in reader.elements for name in attrs if name.startswith("on")]
    text = "".join(reader.text)
    assert text.count("</script></bdi><script>alert(1)</script>") > 8
    assert "<b>1</b>" in text
    assert "{{ 1234*5 }}" in text
    assert "6170" not in text


def test_what_cannot_be_seen_is_spelled_out(hostile: str) -> None:
    hidden = "\u202e\u2066\u200b\x1b"
    assert not any(mark in hostile for mark in hidden)
    assert "&lt;U+202E&gt;&lt;U+2066&gt;reversed &lt;U+200B&gt;&lt;U+001B&gt;[31m" in hostile


def test_json_ld_gives_the_text_back_and_cannot_end_its_element(hostile: str) -> None:
    (review,) = read(hostile).reviews
    assert "</script></bdi><script>alert(1)</script>" in review["claimReviewed"]
    raw = re.search(r'<script type="application/ld\+json">(.*?)</script>', hostile, re.DOTALL)
    assert raw
    assert "<" not in raw[1]


@pytest.mark.parametrize("name", ["en", "zh"])
def test_nothing_is_loaded_from_anywhere(pages: dict[str, str], name: str) -> None:
    reader = read(pages[name])
    assert not {tag for tag, _ in reader.elements} & {"img", "link", "iframe", "object", "embed"}
    loading = {"src", "srcset", "data", "action", "poster", "background"}
    assert not [attrs for _, attrs in reader.elements if loading & attrs.keys()]
    style = re.search(r"<style>(.*?)</style>", pages[name], re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    addresses = re.findall(r"url\((?!#)[^)]*\)", pages[name])
    assert addresses == []


def test_only_our_own_script_may_run(pages: dict[str, str]) -> None:
    import base64
    import hashlib

    (policy,) = [
        attrs["content"] or ""
        for tag, attrs in read(pages["en"]).elements
        if tag == "meta" and "http-equiv" in attrs
    ]
    (script,) = [text for kind, text in read(pages["en"]).scripts if not kind]
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{known}'" in policy
    assert policy.startswith("default-src 'none'")


def test_every_inner_link_leads_somewhere_and_ids_are_unique(pages: dict[str, str]) -> None:
    attributes = [attrs for _, attrs in read(pages["en"]).elements]
    ids = [attrs["id"] for attrs in attributes if attrs.get("id")]
    assert len(ids) == len(set(ids))
    inner = {(attrs["href"] or "")[1:] for attrs in attributes if "href" in attrs} & {
        (attrs["href"] or "")[1:]
        for attrs in attributes
        if (attrs.get("href") or "").startswith("#")
    }
    assert inner <= set(ids)


@pytest.mark.parametrize("name", ["en", "zh"])
def test_the_page_is_small(pages: dict[str, str], name: str) -> None:
    assert len(pages[name].encode()) < html.SIZE


def test_a_page_that_would_be_too_large_leaves_out_evidence_and_says_so() -> None:
    judged = []
    for number in range(120):
        one = replace(claim(), id=f"a{number}-bandwidth")
        items = [found(4e12 + i * 1e9, source="s" * 1500) for i in range(20)]
        judged.append((one, judge(one, items)))
    text = html.render(findings(*judged))
    assert len(text.encode()) < html.SIZE
    assert "To keep this page small" in text
    assert text.count('data-outcome="') == 120
