"""A verdict as schema.org's ClaimReview, in JSON-LD.

The properties are those of https://schema.org/ClaimReview and https://schema.org/Claim. Search
engines ask for `claimReviewed`, `url` and a `reviewRating` with its words, and recommend the rest
(developers.google.com, "Fact Check (ClaimReview) structured data", as tabulated by Full Fact in
fullfact.github.io/markup-investigation, read 2026-11).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpubench.invisible import shown
from gpubench.model import Article, Claim, Outcome, Verdict
from gpubench.report import wording
from gpubench.report.findings import Findings

CONTEXT = "https://schema.org"
BEST, WORST = 5, 1
RATINGS: Mapping[Outcome, int] = {"supported": 5, "conditional": 3, "refuted": 1}
"""Of what can be rated. A claim that is inconclusive or untested gets words and no number, which
would be read as half true."""

AUTHOR = {"@type": "Organization", "name": "gpubench"}

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_ISO = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_MONTH = re.compile(rf"\b({'|'.join(_MONTHS)}) (\d{{4}})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Words:
    """A verdict, what it is about and its reason, in one language, by its tag in HTML."""

    claimed: str
    rating: str
    reason: str
    language: str = "en"


def review(
    findings: Findings, verdict: Verdict, claim: Claim, words: Words, page: str = ""
) -> dict[str, Any]:
    """The ClaimReview of one claim.

    Args:
        page: address of the page with the review, whose own is the claim's place on it.
    """
    cited = dict.fromkeys(cite.article for cite in claim.citations)
    articles = [findings.articles[name] for name in cited if name in findings.articles]
    rated: dict[str, Any] = {
        "@type": "Rating",
        "alternateName": words.rating,
        "bestRating": BEST,
        "worstRating": WORST,
    }
    if verdict.outcome in RATINGS:
        rated["ratingValue"] = RATINGS[verdict.outcome]
    found: dict[str, Any] = _clean(
        {
            "@context": CONTEXT,
            "@type": "ClaimReview",
            "url": f"{page}#{claim.id}",
            "datePublished": findings.made.time[:10],
            "author": AUTHOR,
            "inLanguage": words.language,
            "claimReviewed": words.claimed,
            "itemReviewed": _claim(articles),
            "reviewRating": rated,
            "reviewBody": words.reason,
        }
    )
    return found


def render(findings: Findings, page: str = "") -> str:
    """The reviews of all claims as one JSON-LD document, for a page of that address."""
    reviews = [
        review(
            findings,
            verdict,
            claim,
            Words(claim.statement, wording.verdict(verdict), wording.why(verdict)),
            page,
        )
        for verdict, claim in findings.judged
    ]
    for one in reviews:
        del one["@context"]
    document = {"@context": CONTEXT, "@graph": reviews}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def script(content: Mapping[str, Any]) -> str:
    """JSON-LD as it may stand inside a script element of HTML: no text in it can end the element.

    Escapes are those of JSON, so that every reader gets the same text back.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def published(article: Article) -> str:
    """The article's date as ISO 8601, as far as it is known: "2025-12"; empty where it is not."""
    if whole := _ISO.match(article.date):
        return whole[0]
    month = _MONTH.search(article.date)
    return f"{month[2]}-{_MONTHS.index(month[1].lower()) + 1:02d}" if month else ""


def _claim(articles: list[Article]) -> dict[str, Any]:
    """The claim as it was printed: by whom, when and where first."""
    appearances = [_appearance(article) for article in articles]
    found: dict[str, Any] = {"@type": "Claim"}
    if not appearances:
        return found
    publishers = list(dict.fromkeys(article.publisher for article in articles))
    authors = [{"@type": "Organization", "name": name} for name in publishers]
    found["author"] = authors[0] if len(authors) == 1 else authors
    dates = [date for article in articles if (date := published(article))]
    if dates:
        found["datePublished"] = min(dates)
    found["appearance"] = appearances
    return found


def _appearance(article: Article) -> dict[str, Any]:
    """The article. How sure its date is stands beside it, in words."""
    date = published(article)
    return {
        "@type": "Article",
        "headline": article.title,
        "publisher": {"@type": "Organization", "name": article.publisher},
        **({"author": {"@type": "Person", "name": article.author}} if article.author else {}),
        **({"url": article.url} if article.url else {}),
        **({"datePublished": date} if date else {}),
        **({"disambiguatingDescription": article.date} if date != article.date else {}),
    }


def _clean(value: Any) -> Any:
    """All texts with what cannot be seen in them spelled out."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {name: _clean(item) for name, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
