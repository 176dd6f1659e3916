"""The shape of claims.yaml, and the JSON Schema that editors use.

Here only the shape: which keys there are and what kind of value each takes. What the values mean
is checked in `checks`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from gpubench import dates
from gpubench.errors import UnitError

Category = Literal[
    "datasheet-spec",
    "ratio-of-specs",
    "measured-throughput",
    "inference-uplift",
    "training",
    "interconnect",
    "energy",
    "capacity-fit",
    "regulation",
    "cost",
    "price-drop",
    "market",
    "not-performance",
]
Qualifier = Literal[
    "exact",
    "about",
    "nearly",
    "up-to",
    "at-least",
    "more-than",
    "at-most",
    "less-than",
    "range",
]
CATEGORIES: tuple[str, ...] = get_args(Category)
QUALIFIERS: tuple[str, ...] = get_args(Qualifier)

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=120)]
# Words joined by single hyphens: a heading of the report, and the anchor that Markdown makes of it.
Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=120)]
Sentence = Annotated[str, Field(min_length=1, max_length=2000)]
# Every scalar reaches us as text; to an editor, a number is as good.
_ANY_SCALAR: dict[str, Any] = {"type": ["string", "number"], "minLength": 1, "maxLength": 200}
Scalar = Annotated[str, Field(min_length=1, max_length=200), WithJsonSchema(_ANY_SCALAR)]
OneOrMore = Annotated[
    list[Scalar],
    Field(min_length=1, max_length=100),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(
        {"anyOf": [_ANY_SCALAR, {"type": "array", "items": _ANY_SCALAR, "minItems": 1}]}
    ),
]
Symbol = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


def _published(text: str) -> str:
    """The date of an article, which may have none: undated (late May 2025 inferred)."""
    if not re.fullmatch(r"undated( \(.+\))?", text):
        try:
            dates.span(text)
        except UnitError as error:
            raise ValueError(f"{error}, or undated") from None
    return text


_ADDRESS = r"^https?://[^\s<>\"'`|\\]+$"


def _address(text: str) -> str:
    if not re.fullmatch(_ADDRESS, text):
        said = f"not '{text[:80]}'"
        raise ValueError(f"write an address such as https://example.org/article, {said}")
    return text


Published = Annotated[Scalar, AfterValidator(_published)]
Address = Annotated[
    str,
    Field(max_length=2000),
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "pattern": _ADDRESS, "maxLength": 2000}),
]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CitationEntry(_Entry):
    """Where an article says it."""

    article: Scalar = Field(description="id of an article, shipped or declared under articles")
    place: Sentence = Field(description="section and paragraph, or sentence")
    digest: list[Name] = Field([], description="digest entries this covers, of a shipped article")


class ClaimedEntry(_Entry):
    """What was printed: a value, or a low and a high end, and how firmly it was said."""

    value: Scalar | None = Field(None, description="4.8 TB/s, 60 % more, 1/23 x, HBM3e, 2023-11")
    low: Scalar | None = Field(None, description="lower end of a printed range")
    high: Scalar | None = Field(None, description="upper end of a printed range")
    qualifier: Qualifier = Field(description="how firmly the article says it")


class ArithmeticEntry(_Entry):
    """A formula over figures that the articles print."""

    formula: Scalar = Field(description="+ - * / ( ) over the names of inputs")
    inputs: dict[Symbol, OneOrMore] = Field(
        description="id of an entry, a literal with its unit, or accelerator.quantity",
        min_length=1,
    )


class TranslationsEntry(_Entry):
    """A statement in the languages that a page can have beside English."""

    zh: Sentence | None = Field(None, description="Simplified Chinese")


class ClaimEntry(_Entry):
    """One checkable statement."""

    id: Id
    category: Category
    statement: Sentence = Field(description="one sentence in our own words")
    translations: TranslationsEntry | None = Field(None, description="the same in other languages")
    articles: list[CitationEntry] = Field(min_length=1)
    subject: OneOrMore | None = Field(None, description="accelerator, group, model or rule")
    baseline: OneOrMore | None = Field(None, description="what the subject is compared with")
    quantity: OneOrMore = Field(description="from `gpubench list quantities`")
    claimed: ClaimedEntry
    conditions: dict[Name, Scalar] = Field({}, description="what the article states")
    sweep: dict[Name, list[Scalar]] = Field({}, description="what it leaves open: values to try")
    arithmetic: ArithmeticEntry | None = None
    reading: Sentence | None = Field(None, description="how a word was read as a number")


class OutOfScopeEntry(_Entry):
    """A statement that no computation settles, or a figure that is only computed with."""

    id: Id
    category: Category
    statement: Sentence
    translations: TranslationsEntry | None = Field(None, description="the same in other languages")
    articles: list[CitationEntry] = Field(min_length=1)
    reason: Sentence
    printed: ClaimedEntry | None = None


class ArticleEntry(_Entry):
    """An article that does not ship with gpubench."""

    title: Sentence
    publisher: Sentence
    date: Published = Field(description="2025-11-13, 2025-11, 2025-Q4, 2025, or undated")
    author: Sentence | None = Field(None, description="who wrote it, where it says so")
    url: Address | None = Field(None, description="where it can be read")
    remark: Sentence | None = Field(None, description="what a reader should know about this copy")


class ClaimsDocument(_Entry):
    """The claims of press articles about GPU performance."""

    articles: dict[Name, ArticleEntry] = Field({}, description="articles of one's own, by id")
    claims: list[ClaimEntry]
    out_of_scope: list[OutOfScopeEntry] = []


def owner(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel]:
    """The class that has the last key of a path from `model` down."""
    nested: dict[str | int, type[BaseModel]] = {
        "articles": CitationEntry,
        "claimed": ClaimedEntry,
        "printed": ClaimedEntry,
        "arithmetic": ArithmeticEntry,
        "translations": TranslationsEntry,
    }
    for step in path[:-1]:
        model = nested.get(step, model)
    return model


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of claims.yaml."""
    schema = ClaimsDocument.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
