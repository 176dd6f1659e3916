"""One claim as the page shows it: words in the page's language, a drawing, lines of evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from gpubench.judging.reasons import condition
from gpubench.model import Article, Citation, Claim, Evidence, Verdict
from gpubench.report import claimreview, wording
from gpubench.report.charts import interval
from gpubench.report.findings import Findings
from gpubench.report.html.language import Language, linked, safe
from gpubench.report.lines import MOST_REASONS, Told, chosen, numbered, pieces, unfound

_READ_BY = "by "


@dataclass(frozen=True)
class Line:
    """One line of the table of evidence."""

    number: int
    kind: Markup
    found: Markup
    inside: Markup
    conditions: Markup
    limit: Markup
    source: Markup


@dataclass(frozen=True)
class Evidences:
    """The evidence of one claim: lines, and what is said below them."""

    count: int
    lines: Sequence[Line]
    common: Markup
    left_out: int
    inside: int
    missing: Sequence[tuple[Markup, int]] = ()
    more_missing: int = 0
    notes: Sequence[tuple[Markup, str]] = ()
    errors: Sequence[tuple[Markup, str]] = ()

    @property
    def has_limit(self) -> bool:
        """Whether any line names what binds."""
        return any(line.limit for line in self.lines)


@dataclass(frozen=True)
class Card:
    """A claim with its verdict, everything ready to be laid out."""

    claim: Claim
    verdict: Verdict
    outcome: Markup
    basis: Markup
    claimed: Markup
    found: Markup
    plot: Markup
    facts: Sequence[tuple[Markup, Markup]]
    flags: Sequence[Markup]
    evidence: Evidences
    json_ld: Markup

    @property
    def id(self) -> str:
        """The claim's id, by which the page links to it."""
        return self.claim.id


class Cards:
    """Makes the cards of a page's claims."""

    def __init__(self, findings: Findings, language: Language, page: str) -> None:
        self.findings, self.language, self.page = findings, language, page
        sources = findings.catalogue.sources.values()
        self._read = {source.url: source.read_on for source in sources if source.read_on}

    def card(self, verdict: Verdict, claim: Claim, most: int) -> Card:
        """The card of one claim with at most about so many lines of evidence."""
        lang = self.language
        flags = [lang.flag(flag) for flag in verdict.flags]
        outcome, basis = lang.word("outcomes", verdict.outcome), lang.word("kinds", verdict.basis)
        rating = f"{outcome} ({basis})" if verdict.basis else str(outcome)
        words = claimreview.Words(
            claim.translations.get(lang.name, claim.statement),
            _plain(rating),
            " ".join(_plain(one) for one in (lang.reason(verdict.reason), *flags)),
            lang.tag,
        )
        review = claimreview.review(self.findings, verdict, claim, words, self.page)
        return Card(
            claim=claim,
            verdict=verdict,
            outcome=outcome,
            basis=basis,
            claimed=lang.span(wording.claimed(claim.claimed)),
            found=lang.span(verdict.found) if verdict.found else lang.page("nothing-found"),
            plot=self._plot(verdict, claim),
            facts=tuple(self._facts(verdict, claim)),
            flags=flags,
            evidence=self._evidence(verdict, claim, most),
            json_ld=Markup(claimreview.script(review)),
        )

    def printed_in(self, cite: Citation) -> Markup:
        """The article and the place in it."""
        article = self.findings.articles.get(cite.article)
        if article is None:
            return safe(f"{cite.article}, {cite.place}")
        return Markup('{}, <span lang="en">{}</span>').format(
            self.article_line(article), safe(cite.place)
        )

    def article_line(self, article: Article) -> Markup:
        """Title, with its address where there is one, publisher and date."""
        by = wording.publisher(article)
        told = self.language.page("published-by", publisher=by, date=article.date)
        title = linked(article.title, article.url)
        return Markup("“<bdi>{}</bdi>” ({})").format(title, told)

    # ----------------------------------------------------------------------- the claim

    def _plot(self, verdict: Verdict, claim: Claim) -> Markup:
        drawn = interval.shown(verdict, claim)
        printed = claim.claimed.low
        if drawn is None or printed is None:
            return Markup("")
        page = self.language.page
        rows = _plain(page("claimed")), _plain(page("accepted")), _plain(page("found"))
        said = (
            f"{rows[0]} {wording.claimed(claim.claimed)}; "
            f"{rows[1]} {wording.accepted(verdict, claim)}; {rows[2]} {verdict.found}"
        )
        svg = interval.draw(drawn, printed.show, rows, _shown(said), verdict.outcome, printed.one)
        return Markup(svg)

    def _facts(self, verdict: Verdict, claim: Claim) -> Iterator[tuple[Markup, Markup]]:
        lang, page = self.language, self.language.page
        yield page("why"), lang.reason(verdict.reason)
        if verdict.accepted or claim.claimed.qualifier != "exact":
            yield page("accepted"), lang.span(wording.accepted(verdict, claim))
        if claim.reading:
            yield page("reading"), _english(claim.reading)
        if claim.subjects:
            words = {
                "what": Markup(", ").join(lang.quantity(name) for name in claim.quantities),
                "subjects": ", ".join(claim.subjects),
                "baselines": ", ".join(claim.baselines),
            }
            yield page("about"), page("about-over" if claim.baselines else "about-of", **words)
        if claim.conditions:
            yield page("stated"), self._conditions(claim.conditions)
        if claim.sweep:
            yield page("left-open"), self._conditions(claim.sweep)
        for cite in claim.citations:
            yield page("printed-in"), self.printed_in(cite)

    def _conditions(self, chosen_: Mapping[str, Any], without: Iterable[str] = ()) -> Markup:
        left_out = set(without)
        return self.language.conditions(
            (name.replace("_", " "), condition(name, value))
            for name, value in chosen_.items()
            if name not in left_out
        )

    # ----------------------------------------------------------------------- its evidence

    def _evidence(self, verdict: Verdict, claim: Claim, most: int) -> Evidences:
        lang = self.language
        rows = list(zip(verdict.evidence, verdict.relations, strict=True))
        told = [row for row in rows if row[1] != "missing"]
        shown = chosen(told, most) if most else []
        items = [item for item, _ in shown]
        common = wording.shared(items)
        missing = unfound([item for item, relation in rows if relation == "missing"])
        every = len(items)
        return Evidences(
            count=len(rows),
            lines=[self._line(n, row, claim, common) for n, row in enumerate(shown, 1)],
            common=self._conditions(common),
            left_out=len(told) - every,
            inside=sum(relation == "inside" for _, relation in told),
            missing=[(_english(why), n) for why, n in [*missing.items()][:MOST_REASONS]],
            more_missing=max(0, len(missing) - MOST_REASONS),
            notes=[
                (lang.note(note) or self._sourced(note), _lines(numbers, every))
                for note, numbers in numbered([item.assumptions for item in items]).items()
            ],
            errors=[
                (lang.error(error), _lines(numbers, every))
                for error, numbers in numbered(
                    [(item.error,) if item.error else () for item in items]
                ).items()
            ],
        )

    def _line(self, number: int, row: Told, claim: Claim, common: Mapping[str, Any]) -> Line:
        (item, relation), lang = row, self.language
        return Line(
            number,
            lang.word("kinds", item.kind),
            lang.span(wording.finding(item, claim)),
            lang.word("relations", "other" if _word_missed(item, relation) else relation),
            self._conditions(item.conditions, without=common),
            lang.limit(item.binding_limit),
            self._sourced(item.source),
        )

    def _sourced(self, text: str) -> Markup:
        """A source with its links, and when it was read where the catalogue knows."""
        parts = []
        for piece in pieces(text):
            if not piece.address:
                parts.append(safe(piece.text))
                continue
            name = piece.text or piece.address
            parts.append(
                Markup("{}{}").format(linked(name, piece.address), self._when(piece.address))
            )
        joined = Markup("").join(parts)
        return Markup('<span lang="en">{}</span>').format(joined) if joined else joined

    def _when(self, address: str) -> Markup:
        date = self._read.get(address, "")
        if not date:
            return Markup("")
        key = "read-by" if date.startswith(_READ_BY) else "read-on"
        told = self.language.page(key, date=date.removeprefix(_READ_BY))
        return Markup(' <small lang="{}">({})</small>').format(self.language.tag, told)


def _word_missed(item: Evidence, relation: str) -> bool:
    """A word lies neither below nor above."""
    return bool(item.text) and relation in ("above", "below")


def _lines(numbers: Sequence[int], every: int) -> str:
    return "" if len(numbers) == every else ", ".join(map(str, numbers))


def _english(text: str) -> Markup:
    """Text that somebody wrote in English."""
    return Markup('<span lang="en">{}</span>').format(safe(text))


def _shown(text: str) -> str:
    return str(safe(text).unescape())


def _plain(text: str) -> str:
    return Markup(text).striptags()
