"""What a report is made from: a judgement, how it was made, and the articles it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gpubench.model import Article, Claim, OutOfScope, Verdict

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue
    from gpubench.judging.judgement import Judgement
    from gpubench.records import RunRecord
    from gpubench.report.listed import RecordLine


@dataclass(frozen=True)
class Made:
    """When (ISO 8601, UTC), by which version and on which device the verdicts were made."""

    time: str
    version: str
    device: str


@dataclass(frozen=True)
class Findings:
    """Everything a report shows. Articles are looked up by id; `measured` holds the records that
    evidence was taken from, and the catalogue the peaks that their rates are shares of. `listed`
    has a line for each record that was read, where there are more of them.
    """

    made: Made
    judgement: Judgement
    articles: Mapping[str, Article]
    catalogue: Catalogue
    measured: tuple[RunRecord, ...] = ()
    listed: tuple[RecordLine, ...] = ()

    @cached_property
    def claims(self) -> Mapping[str, Claim]:
        """The claims of the file, by id."""
        return {claim.id: claim for claim in self.judgement.claims_file.claims}

    @cached_property
    def _others(self) -> Mapping[str, OutOfScope]:
        return {entry.id: entry for entry in self.judgement.claims_file.out_of_scope}

    @property
    def judged(self) -> Iterator[tuple[Verdict, Claim]]:
        """Each verdict on a claim, with the claim, in the file's order."""
        for verdict in self.judgement.verdicts:
            if verdict.claim in self.claims:
                yield verdict, self.claims[verdict.claim]

    @property
    def set_aside(self) -> Iterator[OutOfScope]:
        """The statements out of scope, in the file's order."""
        for verdict in self.judgement.verdicts:
            if verdict.claim in self._others:
                yield self._others[verdict.claim]

    @property
    def cited(self) -> list[str]:
        """The ids of the articles that any entry shown cites."""
        citations = [claim.citations for _, claim in self.judged]
        citations += [entry.citations for entry in self.set_aside]
        return sorted({cite.article for cites in citations for cite in cites})
