"""A claims file, all evidence about it, and the verdict on every claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from gpubench.catalogue import Catalogue
from gpubench.claims import ClaimsFile
from gpubench.errors import UnknownName
from gpubench.judging import evidence, verdict
from gpubench.judging.contradictions import Contradiction, contradictions
from gpubench.model import Claim, Verdict
from gpubench.records import RunRecord


@dataclass(frozen=True)
class Judgement:
    """Every verdict on a claims file, in the file's order, and what contradicts what in it."""

    claims_file: ClaimsFile
    verdicts: tuple[Verdict, ...]
    contradictions: tuple[Contradiction, ...]


def judge_all(
    file: ClaimsFile,
    catalogue: Catalogue,
    only: Sequence[str] = (),
    measured: Sequence[RunRecord] = (),
) -> Judgement:
    """Judge the claims of a file, or those named in `only`, by what `measured` holds too.

    Raises:
        UnknownName: `only` names an entry the file does not have.
    """
    wanted = check_names(file, only)
    printed = file.printed()
    claims = {claim.id: claim for claim in file.claims}

    @cache
    def judged(name: str) -> Verdict:
        found = evidence.gather(claims[name], printed, catalogue, measured)
        return verdict.judge(claims[name], found)

    verdicts = []
    for claim in file.claims:
        if claim.id in wanted:
            doubtful = (
                name for name in _inputs(claim, claims) if judged(name).outcome == "refuted"
            )
            flags = (f"{name}, which it is computed from, is itself refuted" for name in doubtful)
            found = judged(claim.id)
            verdicts.append(replace(found, flags=(*found.flags, *flags)))
    set_aside = [verdict.set_aside(entry) for entry in file.out_of_scope if entry.id in wanted]
    return Judgement(
        file,
        (*verdicts, *set_aside),
        contradictions(claim for claim in file.claims if claim.id in wanted),
    )


def _inputs(claim: Claim, claims: Mapping[str, Claim]) -> list[str]:
    """The claims whose printed figures a claim is computed from."""
    if claim.arithmetic is None:
        return []
    texts = (text for alternatives in claim.arithmetic.inputs.values() for text in alternatives)
    return [text for text in dict.fromkeys(texts) if text in claims]


def check_names(file: ClaimsFile, only: Sequence[str]) -> set[str]:
    """The ids to judge: those in `only`, or all. Raises UnknownName for one that is not there."""
    known = {claim.id for claim in file.claims} | {entry.id for entry in file.out_of_scope}
    for name in only:
        if name not in known:
            raise UnknownName("claim", name, known, "see `gpubench list claims`")
    return set(only) or known
