"""Every verdict can be read by machines, as schema.org's ClaimReview."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from gpubench.judging.verdict import judge
from gpubench.model import Article
from gpubench.report import claimreview
from tests import reported
from tests.test_report import claim, findings, found
from tests.test_report_html import cards, read

# After https://schema.org/ClaimReview, /Claim, /Rating and /Article; required are the properties
# that search engines ask for and those that the page promises.
_NAMED = {
    "type": "object",
    "required": ["@type", "name"],
    "properties": {"@type": {"const": "Organization"}, "name": {"type": "string", "minLength": 1}},
    "additionalProperties": False,
}
_PERSON = {**_NAMED, "properties": {**_NAMED["properties"], "@type": {"const": "Person"}}}
_DATE = {"type": "string", "pattern": r"^\d{4}(-\d{2}(-\d{2})?)?$"}
REVIEW = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("@context", "@type", "url", "claimReviewed", "reviewRating", "inLanguage"),
        *("author", "itemReviewed", "datePublished"),
    ],
    "properties": {
        "@context": {"const": "https://schema.org"},
        "@type": {"const": "ClaimReview"},
        "url": {"type": "string", "pattern": "#."},
        "claimReviewed": {"type": "string", "minLength": 1},
        "inLanguage": {"enum": ["en", "zh-Hans"]},
        "reviewBody": {"type": "string", "minLength": 1},
        "datePublished": _DATE,
        "author": _NAMED,
        "reviewRating": {
            "type": "object",
            "additionalProperties": False,
            "required": ["@type", "alternateName", "bestRating", "worstRating"],
            "properties": {
                "@type": {"const": "Rating"},
                "alternateName": {"type": "string", "minLength": 1},
                "bestRating": {"const": 5},
                "worstRating": {"const": 1},
                "ratingValue": {"type": "number", "minimum": 1, "maximum": 5},
            },
        },
        "itemReviewed": {
            "type": "object",
            "additionalProperties": False,
            "required": ["@type", "author", "appearance"],
            "properties": {
                "@type": {"const": "Claim"},
                "author": {"oneOf": [_NAMED, {"type": "array", "items": _NAMED, "minItems": 2}]},
                "datePublished": _DATE,
                "appearance": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["@type", "headline", "publisher"],
                        "properties": {
                            "@type": {"const": "Article"},
                            "headline": {"type": "string", "minLength": 1},
                            "publisher": _NAMED,
                            "author": _PERSON,
                            "url": {"type": "string", "pattern": "^https?://"},
                            "datePublished": _DATE,
                            "disambiguatingDescription": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
}

WORDS = claimreview.Words("It reaches 4.8 TB/s.", "supported", "It does.")


@pytest.mark.parametrize("name", ["en", "zh"])
def test_every_claim_embeds_a_valid_claim_review(name: str) -> None:
    reviews = read(reported.page(name)).reviews
    chinese = re.compile("[\u4e00-\u9fff]")
    for review in reviews:
        jsonschema.validate(review, REVIEW)
        rating = review["reviewRating"]["alternateName"]
        for text in (review["claimReviewed"], review["reviewBody"], rating):
            assert bool(chinese.search(text)) == (name == "zh"), text
            assert "<" not in text.replace("<0", "")
    assert [review["url"][1:] for review in reviews] == list(cards(reported.page(name)))


def test_a_review_without_a_rating_in_words_would_be_refused() -> None:
    one = claim()
    judged = judge(one, [found(4.7e12)])
    review = claimreview.review(findings((one, judged)), judged, one, WORDS)
    jsonschema.validate(review, REVIEW)
    del review["reviewRating"]["alternateName"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(review, REVIEW)


@pytest.mark.parametrize(("value", "rating"), [(4.7e12, 5), (1e12, 1), (None, None)])
def test_only_what_was_decided_is_rated(value: float | None, rating: int | None) -> None:
    one = claim()
    judged = judge(one, [] if value is None else [found(value)])
    review = claimreview.review(findings((one, judged)), judged, one, WORDS)
    assert review["reviewRating"].get("ratingValue") == rating


@pytest.mark.parametrize(
    ("date", "known"),
    [
        ("2025-07-15", "2025-07-15"),
        ("2025", "2025"),
        ("undated (late May 2025 inferred)", "2025-05"),
        ("undated (2024 or later)", ""),
    ],
)
def test_an_articles_date_is_told_as_far_as_it_is_known(date: str, known: str) -> None:
    assert claimreview.published(Article("a", "t", "p", date)) == known


def test_all_reviews_can_be_had_as_one_document() -> None:
    document = json.loads(claimreview.render(reported.findings(), "https://a.example/page"))
    assert document["@context"] == "https://schema.org"
    assert len(document["@graph"]) == sum(1 for _ in reported.findings().judged)
    assert document["@graph"][0]["url"].startswith("https://a.example/page#")
