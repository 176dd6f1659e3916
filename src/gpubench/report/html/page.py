"""What stands on the page: the summary, the articles with their claims, contradictions, charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from markupsafe import Markup

from gpubench.model import KINDS, OUTCOMES, Article, Claim
from gpubench.quantities import QUANTITIES
from gpubench.report import markdown, rates, record_tables, wording, workloads
from gpubench.report.charts.shares import Share
from gpubench.report.findings import Findings
from gpubench.report.html.claims import Card, Cards
from gpubench.report.html.figures import Figure, Figures, Roofline
from gpubench.report.html.language import Language, language, linked, safe
from gpubench.report.lines import MOST_ROWS
from gpubench.report.table import Table
from gpubench.units import Quantity, show

_STRIKING = 5
_DETAILED, MOST_RECORDS = 4, 1000
"""Records whose every measurement stands on the page, and of which each has a line."""

_NO_ARTICLE = Article("", "–", "–", "–")


@dataclass(frozen=True)
class Section:
    """An article, the claims told in full under it, and those that stand under another."""

    number: int
    article: Article
    told: Sequence[Card]
    also: Sequence[Card]
    counts: Mapping[str, int]

    @property
    def title(self) -> Markup:
        """The article's title, as a link where it has an address."""
        return linked(self.article.title, self.article.url)

    @property
    def publisher(self) -> str:
        """Who wrote and published the article."""
        return wording.publisher(self.article)


@dataclass(frozen=True)
class Clash:
    """Two claims that contradict each other."""

    left: Claim
    right: Claim
    left_said: Markup
    right_said: Markup
    where: tuple[str, str]
    why: Markup


@dataclass(frozen=True)
class Aside:
    """A statement out of scope."""

    id: str
    statement: Markup
    printed: Markup
    reason: str


@dataclass(frozen=True)
class Measured:
    """All that one record measured, as tables, with what weakens it."""

    title: str
    tables: Sequence[tuple[str, Table]]
    remarks: Sequence[str]


@dataclass(frozen=True)
class Claims:
    """The cards of all claims, by article, and the most striking of them."""

    sections: Sequence[Section]
    refuted: Sequence[Card]
    supported: Sequence[Card]
    left_out: int


@dataclass(frozen=True)
class Page:
    """The page's content; `claims` makes the part whose size can be chosen."""

    findings: Findings
    language: Language
    address: str
    figures: Sequence[Figure] = ()
    roofline: Roofline | None = None
    shares: Mapping[Markup, Sequence[tuple[Share, Markup]]] = field(default_factory=dict)

    @classmethod
    def of(cls, findings: Findings, name: str, address: str) -> Page:
        """The page in a language, its charts drawn."""
        spoken = language(name)
        made = Figures(findings, spoken)
        return cls(findings, spoken, address, made.all(), made.roofline(), made.shares())

    # ----------------------------------------------------------------------- head and summary

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many verdicts of each outcome, those that occur."""
        outcomes = [verdict.outcome for verdict in self.findings.judgement.verdicts]
        return {name: outcomes.count(name) for name in OUTCOMES if name in outcomes}

    @cached_property
    def judged(self) -> int:
        """How many claims were judged."""
        return sum(1 for _ in self.findings.judged)

    @property
    def open_count(self) -> int:
        """How many of them stay open."""
        return sum(self.counts.get(name, 0) for name in ("inconclusive", "untested"))

    @cached_property
    def basis_table(self) -> tuple[Sequence[Markup], Sequence[tuple[str, Sequence[Markup]]]]:
        """Head, and rows with their outcome, of the count of outcomes by basis."""
        columns, rows = markdown.count_rows(self.findings.judgement.verdicts)
        lang = self.language
        first, last = lang.page("outcome"), lang.page("total")
        head = [first, *(lang.word("kinds", kind) for kind in columns[1:-1]), last]
        told = []
        for name, *cells in rows:
            label = last if name == "total" else lang.word("outcomes", name)
            told.append((name, [label, *(safe(cell) for cell in cells)]))
        return head, told

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of evidence, strongest first."""
        return KINDS

    # ----------------------------------------------------------------------- claims

    def claims(self, most: int) -> Claims:
        """The claims by article, each with at most about so many lines of evidence."""
        made = Cards(self.findings, self.language, self.address)
        cards = [made.card(verdict, claim, most) for verdict, claim in self.findings.judged]
        left_out = sum(card.evidence.left_out for card in cards)
        return Claims(
            self._sections(cards),
            _most(cards, "refuted", _distance),
            _most(cards, "supported", _support),
            left_out if most < MOST_ROWS else 0,
        )

    def _sections(self, cards: Iterable[Card]) -> list[Section]:
        """Each claim in full under the first article that makes it, and named under the others."""
        by_article: dict[str, tuple[list[Card], list[Card]]] = {
            name: ([], []) for name in self.findings.cited
        }
        for card in cards:
            names = list(dict.fromkeys(cite.article for cite in card.claim.citations)) or [""]
            names.sort(key=lambda name: list(by_article).index(name) if name in by_article else -1)
            for place, name in enumerate(names):
                by_article.setdefault(name, ([], []))[min(place, 1)].append(card)
        return [
            Section(
                number,
                self.findings.articles.get(name, _NO_ARTICLE if not name else _unknown(name)),
                told,
                also,
                _outcomes([*told, *also]),
            )
            for number, (name, (told, also)) in enumerate(by_article.items(), 1)
            if told or also
        ]

    # ----------------------------------------------------------------------- other sections

    @cached_property
    def clashes(self) -> list[Clash]:
        """What contradicts what."""
        span = self.language.span
        return [
            Clash(
                found.left,
                found.right,
                span(wording.claimed(found.left.claimed)),
                span(wording.claimed(found.right.claimed)),
                (self._where(found.left), self._where(found.right)),
                self.language.clash(found.why),
            )
            for found in self.findings.judgement.contradictions
        ]

    def _where(self, claim: Claim) -> str:
        names = dict.fromkeys(cite.article for cite in claim.citations)
        known = self.findings.articles
        return ", ".join(known[name].title if name in known else name for name in names)

    @cached_property
    def asides(self) -> list[Aside]:
        """The statements out of scope."""
        return [
            Aside(
                entry.id,
                self.language.statement(entry),
                self.language.span(wording.entry_claimed(entry)),
                entry.reason,
            )
            for entry in self.findings.set_aside
        ]

    @cached_property
    def measured(self) -> list[Measured]:
        """What the deciding records measured, in full for the first few of them."""
        found, catalogue = [], self.findings.catalogue
        for record in self.findings.measured[:_DETAILED]:
            told = tuple(record_tables.tables(record, catalogue))
            remarks = record_tables.remarks(record, catalogue)
            found.append(Measured(rates.title(record), told, remarks))
        return found

    @cached_property
    def shared(self) -> Table | None:
        """What memory does to an uplift, where records show it."""
        told = workloads.share_table(self.findings.measured, self.findings.catalogue)
        return told if told.rows else None

    @cached_property
    def record_lines(self) -> list[list[Markup]]:
        """A line for each of the newest records that were read, newest first."""
        rows = []
        newest = sorted(self.findings.listed, key=lambda line: line.created, reverse=True)
        for one in newest[:MOST_RECORDS]:
            best = [
                f"{best.figure.replace('_', ' ')} {show(Quantity(best.rate, best.unit))}"
                + (f" ({100 * best.share:.1f} %)" if best.share is not None else "")
                for best in one.best
            ]
            cells = one.id, one.created, one.device, one.measurements, "; ".join(best)
            rows.append([safe(cell) for cell in (*cells, one.cautions)])
        return rows


# --------------------------------------------------------------------------- what is striking


def _most(cards: Iterable[Card], outcome: str, weight: object) -> list[Card]:
    assert callable(weight)
    some = [card for card in cards if card.verdict.outcome == outcome]
    return sorted(some, key=weight, reverse=True)[:_STRIKING]


def _distance(card: Card) -> tuple[float, int]:
    """How far from what is accepted the nearest finding lies, as a ratio; then how sure that is."""
    accepted, span = card.verdict.accepted, card.verdict.span
    sure = -KINDS.index(card.verdict.basis) if card.verdict.basis in KINDS else -len(KINDS)
    if accepted is None or span is None:
        return 0.0, sure
    if span.low <= accepted.high and span.high >= accepted.low:
        return 0.0, sure  # it lies on both sides, and nothing between
    near, edge = (
        (span.low, accepted.high) if span.low > accepted.high else (span.high, accepted.low)
    )
    if near <= 0 or edge <= 0 or not math.isfinite(edge):
        return 0.0, sure
    return abs(math.log(near / edge)), sure


def _support(card: Card) -> tuple[bool, int, int, int]:
    """Figures with a unit first, as bare counts say nothing in one line; then how many articles say
    so, how strong the evidence is, and how much of it there is.
    """
    verdict = card.verdict
    counts = all(QUANTITIES[name].unit == "1" for name in card.claim.quantities)
    figure = verdict.span is not None and not counts
    sure = -KINDS.index(verdict.basis) if verdict.basis in KINDS else -len(KINDS)
    articles = {cite.article for cite in card.claim.citations}
    return figure, len(articles), sure, verdict.relations.count("inside")


def _outcomes(cards: Sequence[Card]) -> Mapping[str, int]:
    found = [card.verdict.outcome for card in cards]
    return {name: found.count(name) for name in OUTCOMES if name in found}


def _unknown(name: str) -> Article:
    return Article(name, name, "–", "–")
