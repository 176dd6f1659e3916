"""Plan, measure, save, judge: one run from claims to a record.

This version judges from the articles' figures, published measurements, the catalogue and the
model. It measures nothing yet, and says so when a device is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpubench import claims, dates, evidence, records, verdict
from gpubench.catalogue import Catalogue
from gpubench.claims import ClaimsFile
from gpubench.errors import CannotMeasure, UnknownName
from gpubench.model import Claim, Verdict
from gpubench.quantities import DATE, QUANTITIES
from gpubench.reasons import describe_accepted
from gpubench.tolerances import accepts


@dataclass(frozen=True)
class Contradiction:
    """Two claims about the same thing that cannot both hold."""

    left: Claim
    right: Claim
    why: str


@dataclass(frozen=True)
class Judgement:
    """Every verdict on a claims file, in the file's order, and what contradicts what in it."""

    claims_file: ClaimsFile
    verdicts: tuple[Verdict, ...]
    contradictions: tuple[Contradiction, ...]


@dataclass(frozen=True)
class RunResult:
    """What a run left behind."""

    record: records.RunRecord
    record_path: Path
    judgement: Judgement


def judge_all(file: ClaimsFile, catalogue: Catalogue, only: Sequence[str] = ()) -> Judgement:
    """Judge the claims of a file, or those named in `only`.

    Raises:
        UnknownName: `only` names an entry the file does not have.
    """
    wanted = _selected(file, only)
    printed = file.printed()
    verdicts = [
        verdict.judge(claim, evidence.gather(claim, printed, catalogue))
        for claim in file.claims
        if claim.id in wanted
    ]
    set_aside = [verdict.set_aside(entry) for entry in file.out_of_scope if entry.id in wanted]
    return Judgement(
        file,
        (*verdicts, *set_aside),
        contradictions(claim for claim in file.claims if claim.id in wanted),
    )


def execute(
    claims_path: Path,
    catalogue: Catalogue,
    results: Path,
    device: str = "auto",
    only: Sequence[str] = (),
) -> RunResult:
    """Judge a claims file and save the record.

    Raises:
        CannotMeasure: a device is named; this version has no measurements.
        ClaimsError, UnknownName, RecordError: the file, a name or the results folder is bad.
    """
    check_device(device)
    file = claims.load(claims_path, catalogue)
    records.check_writable(results)
    judgement = judge_all(file, catalogue, only)
    record = records.RunRecord(
        id=records.new_id(),
        created=records.now(),
        accelerator=records.NO_ACCELERATOR,
        environment=records.environment(),
        claims_file=claims_path.name,
        claims_sha256=file.sha256,
        verdicts={
            v.claim: f"{v.outcome} ({v.basis})" if v.basis else v.outcome
            for v in judgement.verdicts
        },
    )
    return RunResult(record, records.write(record, results), judgement)


def check_device(device: str) -> None:
    """Refuse what cannot be measured yet. Raises CannotMeasure."""
    if device not in ("auto", "none"):
        raise CannotMeasure(
            f"--device {device}: this version measures nothing yet; "
            "use --device none to judge from catalogue, published figures and model"
        )


def contradictions(claims_: Iterable[Claim]) -> tuple[Contradiction, ...]:
    """Pairs of claims about the same quantity of the same parts whose accepted intervals differ."""
    groups: dict[tuple[object, ...], list[Claim]] = {}
    for claim in claims_:
        for key in itertools.product(
            claim.quantities, claim.subjects or ("",), claim.baselines or ("",)
        ):
            if QUANTITIES[key[0]].via != "article":
                groups.setdefault(key, []).append(claim)
    found: dict[tuple[str, str], Contradiction] = {}
    for group in groups.values():
        for left, right in itertools.combinations(_distinct(group), 2):
            why = _clash(left, right)
            if why:
                found.setdefault((left.id, right.id), Contradiction(left, right, why))
    return tuple(found.values())


# A thing claimed in more ways than this is told by its first ones; pairs would grow as the square.
_MOST_DISTINCT = 40


def _distinct(group: Sequence[Claim]) -> list[Claim]:
    """One claim for each different statement of a group, the first that made it."""
    first: dict[object, Claim] = {}
    for claim in group:
        key = (claim.claimed, tuple(sorted(claim.conditions.items())))
        first.setdefault(key, claim)
    return list(first.values())[:_MOST_DISTINCT]


def _clash(left: Claim, right: Claim) -> str:
    """Why two claims about the same thing cannot both hold, or nothing."""
    shared = set(left.conditions) & set(right.conditions)
    if any(left.conditions[name] != right.conditions[name] for name in shared):
        return ""
    if left.claimed.text or right.claimed.text:
        return _word_clash(left, right)
    one, other = accepts(left.claimed), accepts(right.claimed)
    if one is None or other is None or not one.disjoint(other):
        return ""
    return f"{describe_accepted(left, one)} and {describe_accepted(right, other)} do not overlap"


def _word_clash(left: Claim, right: Claim) -> str:
    a, b = left.claimed.text, right.claimed.text
    if QUANTITIES[left.quantities[0]].unit != DATE:
        return f"'{a}' is not '{b}'" if a.lower() != b.lower() else ""
    if {left.claimed.qualifier, right.claimed.qualifier} != {"exact"}:
        return ""
    one, other = dates.span(a), dates.span(b)
    return f"{a} and {b} do not overlap" if one[1] < other[0] or other[1] < one[0] else ""


def _selected(file: ClaimsFile, only: Sequence[str]) -> set[str]:
    known = {claim.id for claim in file.claims} | {entry.id for entry in file.out_of_scope}
    for name in only:
        if name not in known:
            raise UnknownName("claim", name, known, "see `gpubench list claims`")
    return set(only) or known
