"""claims.yaml -> Claims, or every error of the file with its line and column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gpubench import units
from gpubench.claims import source
from gpubench.claims.formula import Range
from gpubench.errors import ClaimsError, MissingFigure, UnitError, offer
from gpubench.model import Article, Citation, Claim, Claimed, Figure, OutOfScope
from gpubench.units import Quantity

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue


@dataclass(frozen=True)
class ClaimsFile:
    """The content of a claims file; `sha256` identifies its exact bytes.

    `articles` holds those that it declares, by id; it may cite those of the catalogue as well.
    """

    path: Path
    sha256: str
    claims: tuple[Claim, ...]
    out_of_scope: tuple[OutOfScope, ...]
    articles: Mapping[str, Article] = field(default_factory=dict)

    def citable(self, catalogue: Catalogue) -> Mapping[str, Article]:
        """Every article that the file may cite: those of the catalogue and its own, by id."""
        return {**catalogue.articles, **self.articles}

    def printed(self) -> Mapping[str, Claimed]:
        """Every entry that has a figure, by id: what arithmetic may refer to."""
        figures = {claim.id: claim.claimed for claim in self.claims if claim.claimed.low}
        figures.update({e.id: e.printed for e in self.out_of_scope if e.printed and e.printed.low})
        return figures


@dataclass(frozen=True)
class Coverage:
    """The account of the digest of the shipped articles that a file cites.

    Which of its `total` entries are claims, out of scope, or missing; `unknown` holds what the
    file names and the digest of these articles lacks.
    """

    total: int
    as_claims: tuple[str, ...]
    as_out_of_scope: tuple[str, ...]
    in_both: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every entry of the digest is accounted for once, and no other is named."""
        return not (self.missing or self.unknown or self.in_both)


def default_path() -> Path:
    """claims.yaml in the current folder, else of this checkout, else the one that was installed."""
    here = Path("claims.yaml")
    if here.exists():
        return here
    checkout = Path(__file__).parents[3] / "claims.yaml"
    return checkout if checkout.exists() else _data("claims.yaml")


def load(path: Path, catalogue: Catalogue) -> ClaimsFile:
    """Read and check a claims file.

    Raises:
        ClaimsError: anything is wrong; it holds one line for every problem of the file.
    """
    # pydantic takes a tenth of a second to import; only those who read claims pay for it.
    from gpubench.claims import checks, shape

    data, tree, problems = source.read(path)
    claim_entries, other_entries = shape.entries(tree, problems)
    article_entries = shape.articles(tree, problems)
    checker = checks.Checker(tree, catalogue, problems, article_entries)
    articles = [checker.article(name, entry) for name, entry in article_entries.items()]
    found = ClaimsFile(
        path,
        hashlib.sha256(data).hexdigest(),
        tuple(checker.claim(entry) for entry in claim_entries),
        tuple(checker.out_of_scope(entry) for entry in other_entries),
        {article.id: article for article in articles if article},
    )
    checker.references(partial(input_range, printed=checker.figures, catalogue=catalogue))
    if problems:
        raise ClaimsError(problems.lines())
    return found


def input_range(text: str, printed: Mapping[str, Claimed], catalogue: Catalogue) -> Range:
    """What an input of a formula stands for: an entry's figure, a catalogue figure, or a literal.

    Raises:
        UnitError: it is none of these.
        MissingFigure: the catalogue knows the part but not the figure, or it is no number.
    """
    if text in printed:
        return printed_range(printed[text])
    if figure := catalogue_input(text, catalogue):
        if not isinstance(figure.value, Quantity):
            raise MissingFigure(f"{text} is no number")
        return Range.of(figure.value)
    if text[:1].isdigit():
        return _literal_range(text)
    tip = offer(text, (*printed, *catalogue.reported), "name an entry that has a figure")
    raise UnitError(
        f"'{text}' is no entry with a figure, no literal such as '8 cards' and no catalogue figure "
        f"such as 'nvidia-h20-96gb.peak_fp16': {tip}"
    )


def catalogue_input(text: str, catalogue: Catalogue) -> Figure | None:
    """The catalogue figure that an input names, if any: a reported figure by its id, or that of an
    accelerator as `nvidia-h20-96gb.peak_fp16`.

    Raises:
        MissingFigure: the catalogue knows the part but not the figure.
    """
    if text in catalogue.reported:
        return catalogue.reported[text]
    part, _, quantity = text.rpartition(".")
    return catalogue.accelerators[part].figure(quantity) if part in catalogue.accelerators else None


def _literal_range(text: str) -> Range:
    """ "8 cards", or "0 % to 100 %". Raises UnitError for a range that runs backwards, too."""
    ends = [units.parse(end) for end in text.split(" to ")]
    low, high = ends[0], ends[-1]
    if len(ends) > 2 or low.unit != high.unit or low.value > high.value:
        raise UnitError(
            f"cannot read '{text}': write a range from low to high, as in '10 % to 20 %'"
        )
    return Range(low, Quantity((low.value + high.value) / 2, low.unit), high)


def printed_range(claimed: Claimed) -> Range:
    """A printed figure as an interval: a range by its ends, a point by itself."""
    if claimed.low is None or claimed.high is None:
        raise UnitError("a word or date is no figure to compute with")
    ends = sorted(
        claimed_end.as_found(claimed_end.value.value) for claimed_end in (claimed.low, claimed.high)
    )
    unit = claimed.low.value.unit
    return Range(Quantity(ends[0], unit), Quantity(sum(ends) / 2, unit), Quantity(ends[1], unit))


def digest_ids(articles: Iterable[str]) -> frozenset[str]:
    """The digest of some shipped articles: an id for each figure or statement in them.

    Those of the article 003_… begin with `a3-`.
    """
    prefixes = {f"a{int(article.partition('_')[0])}" for article in articles}
    listed = _data("digest.txt").read_text("utf-8").split()
    return frozenset(entry for entry in listed if entry.partition("-")[0] in prefixes)


def coverage(claims: ClaimsFile) -> Coverage:
    """Which entries of the digest the file accounts for, and how; articles of its own have none."""
    cites = [_shipped_cites(claims, entries) for entries in (claims.claims, claims.out_of_scope)]
    listed = digest_ids(cite.article for part in cites for cite in part)
    as_claims, as_others = ({name for cite in part for name in cite.digest} for part in cites)
    return Coverage(
        total=len(listed),
        as_claims=tuple(sorted(as_claims & listed)),
        as_out_of_scope=tuple(sorted(as_others & listed)),
        in_both=tuple(sorted(as_claims & as_others & listed)),
        missing=tuple(sorted(listed - as_claims - as_others)),
        unknown=tuple(sorted((as_claims | as_others) - listed)),
    )


def _shipped_cites(claims: ClaimsFile, entries: Iterable[Claim | OutOfScope]) -> list[Citation]:
    """Where some entries of the file cite articles that it does not declare itself."""
    cites = (cite for entry in entries for cite in entry.citations)
    return [cite for cite in cites if cite.article not in claims.articles]


def _data(name: str) -> Path:
    return Path(__file__).parents[1] / "data" / name
