"""Everything at hand about a claim: printed figures, published results, data sheets, the model.

A claim's open ends are swept: every combination of its subjects, baselines, quantities and swept
conditions is one case, and each case is answered by whoever knows the quantity. An answer that
cannot be given is kept too, with its reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpubench import roofline
from gpubench.catalogue import Catalogue, PublishedFinding, facts
from gpubench.claims import catalogue_input, formula, input_range
from gpubench.errors import CannotEstimate, MissingFigure, UnitError
from gpubench.judging import measured
from gpubench.model import Claim, Claimed, Estimate, Evidence, Kind
from gpubench.quantities import QUANTITIES
from gpubench.records import RunRecord
from gpubench.units import Quantity, show


@dataclass(frozen=True, slots=True)
class Situation:
    """One case of a claim: which parts, which quantity, under which conditions.

    `varying` is what tells this case from the claim's others.
    """

    quantity: str
    subject: str
    baseline: str
    conditions: Mapping[str, Any]
    varying: Mapping[str, Any]


def gather(
    claim: Claim,
    printed: Mapping[str, Claimed],
    catalogue: Catalogue,
    records: Sequence[RunRecord] = (),
) -> tuple[Evidence, ...]:
    """All evidence about a claim.

    Args:
        printed: the figures of the claims file by entry id, for arithmetic.
        records: what was measured, and where.
    """
    cases = tuple(situations(claim))
    return (
        *measured.from_records(claim, records, catalogue),
        *_arithmetic(claim, printed, catalogue),
        *_published(claim, catalogue),
        *(_as_makers_count(item, claim) for case in cases for item in _answer(case, catalogue)),
    )


def situations(claim: Claim) -> Iterator[Situation]:
    """Every combination of what the claim leaves open."""
    names = tuple(claim.sweep)
    for subject, baseline, quantity in itertools.product(
        claim.subjects or ("",), claim.baselines or ("",), claim.quantities
    ):
        several = _which(claim, quantity, subject, baseline)
        for values in itertools.product(*claim.sweep.values()):
            swept = dict(zip(names, values, strict=True))
            yield Situation(
                quantity, subject, baseline, {**claim.conditions, **swept}, {**several, **swept}
            )


# --------------------------------------------------------------------------- the article's figures


def _arithmetic(
    claim: Claim, printed: Mapping[str, Claimed], catalogue: Catalogue
) -> Iterator[Evidence]:
    if claim.arithmetic is None:
        return
    names = tuple(claim.arithmetic.inputs)
    alternatives = claim.arithmetic.inputs
    for texts in itertools.product(*alternatives.values()):
        inputs = dict(zip(names, texts, strict=True))
        varying = {name: text for name, text in inputs.items() if len(alternatives[name]) > 1}
        try:
            ranges = {name: input_range(text, printed, catalogue) for name, text in inputs.items()}
            known = _known(texts, printed, catalogue)
            found = formula.evaluate(claim.arithmetic.formula, ranges)
        except (MissingFigure, UnitError) as error:
            yield Evidence("arithmetic", varying, claim.arithmetic.formula, missing=str(error))
            continue
        worked = ", ".join(
            f"{name} = {_shown(ranges[name])}" + ("" if text[:1].isdigit() else f" ({text})")
            for name, text in inputs.items()
        )
        yield Evidence(
            kind="catalogue" if known else "arithmetic",
            conditions=varying,
            source=f"{claim.arithmetic.formula} with {worked}{_from_whom(known)}",
            low=found.low.value,
            mid=found.mid.value,
            high=found.high.value,
            unit=found.mid.unit,
            assumptions=tuple(
                f"{text}: {remark}" for text, fact in known.items() for remark in fact.remarks
            ),
        )


def _known(
    texts: Iterable[str], printed: Mapping[str, Claimed], catalogue: Catalogue
) -> dict[str, facts.Fact]:
    """What the catalogue says of the inputs that no entry of the claims file stands for."""
    figures = {text: catalogue_input(text, catalogue) for text in texts if text not in printed}
    return {text: facts.stated(figure, catalogue) for text, figure in figures.items() if figure}


def _from_whom(known: Mapping[str, facts.Fact]) -> str:
    sources = dict.fromkeys(fact.source for fact in known.values())
    return f"; from {'; '.join(sources)}" if sources else ""


def _shown(value: formula.Range) -> str:
    low, high = show(value.low), show(value.high)
    return low if low == high else f"{low} to {high}"


# --------------------------------------------------------------------------- third parties


def _which(claim: Claim, quantity: str, subject: str, baseline: str | None) -> dict[str, Any]:
    """Which part and quantity evidence is about, where a claim names several."""
    told = {"subject": subject, "baseline": baseline, "quantity": quantity}
    of = {"subject": claim.subjects, "baseline": claim.baselines, "quantity": claim.quantities}
    return {name: one for name, one in told.items() if len(of[name]) > 1}


def _published(claim: Claim, catalogue: Catalogue) -> Iterator[Evidence]:
    """Measurements by others, under the conditions that the article states."""
    for quantity, subject, baseline in itertools.product(
        claim.quantities, claim.subjects, claim.baselines or (None,)
    ):
        parts = _which(claim, quantity, subject, baseline)
        for finding in _findings(claim, quantity, subject, baseline, catalogue):
            if not _comparable(finding, claim):
                continue
            yield Evidence(
                kind="published",
                conditions={**parts, **finding.conditions},
                source=finding.source,
                low=finding.low,
                mid=finding.mid,
                high=finding.high,
                unit=finding.unit,
                assumptions=tuple(text for text in (finding.how, finding.remark) if text),
            )


def _findings(
    claim: Claim, quantity: str, subject: str, baseline: str | None, catalogue: Catalogue
) -> Iterator[PublishedFinding]:
    """Single findings, and what the table of inference results says, of the models meant."""
    models = claim.sweep.get("model") or (claim.conditions.get("model"),)
    found = list(catalogue.published(quantity, subject, baseline))
    if QUANTITIES[quantity].via == "estimate":
        found += catalogue.served(subject, baseline)
        found += catalogue.trained(subject, baseline) if baseline else ()
    for finding in found:
        if None not in models and finding.conditions.get("model", models[0]) not in models:
            continue
        if finding.quantity == quantity:
            yield finding
        elif saved := _energy_of(finding, quantity, catalogue):
            yield saved
        else:
            yield from _costs_of(finding, quantity, claim)


def _energy_of(
    pair: PublishedFinding, quantity: str, catalogue: Catalogue
) -> PublishedFinding | None:
    """Joules a token by throughputs that were published, of two parts of equal rated power."""
    if (quantity, pair.quantity) != ("energy_per_token", "inference_throughput"):
        return None
    parts = [catalogue.accelerators.get(name) for name in (pair.subject, pair.baseline)]
    rated = [part and part.figures.get("board_power") for part in parts]
    if None in rated or len({figure.value for figure in rated if figure}) > 1:
        return None
    return replace(
        pair,
        quantity=quantity,
        low=1 / pair.high,
        mid=1 / pair.mid,
        high=1 / pair.low,
        how=f"inverse of the throughput at equal rated power: {pair.how}",
        remark="rated, not measured power",
    )


def _costs_of(found: PublishedFinding, quantity: str, claim: Claim) -> Iterator[PublishedFinding]:
    """Rent a token by a throughput that was published, at each rent that is stated."""
    if (quantity, found.quantity) != ("cost_per_token", "inference_throughput") or found.baseline:
        return
    gpus = found.conditions.get("gpus")
    stated = claim.conditions.get("hourly_rent")
    rents = claim.sweep.get("hourly_rent", (stated,) if stated else ())
    for rent in rents if gpus else ():
        paid = rent * gpus
        yield replace(
            found,
            quantity=quantity,
            low=paid / found.high,
            mid=paid / found.mid,
            high=paid / found.low,
            unit="USD/token",
            conditions={**found.conditions, "hourly_rent": rent},
            how=f"the stated rent over the throughput: {found.how}",
        )


# What a figure means where nothing is said, as in `catalogue.facts`.
_UNSAID = {"direction": "both", "sparsity": "dense"}


def _comparable(finding: PublishedFinding, claim: Claim) -> bool:
    """Whether a finding was made under the conditions that the article states.

    A figure of a part holds whatever a finding leaves unsaid. A workload does not: a rate at a
    batch that nobody names says nothing about batch 1. And what two parts sustain is not the ratio
    of their peaks.
    """
    rates = claim.sweep.get("rate") or (claim.conditions.get("rate", "peak"),)
    if claim.baselines and finding.conditions.get("rate", rates[0]) not in rates:
        return False
    unsaid = {name: value for name, value in _UNSAID.items() if name not in claim.sweep}
    workload = QUANTITIES[finding.quantity].via == "estimate"
    stated = {name: value for name, value in claim.conditions.items() if name != "rate"}
    return all(
        finding.conditions.get(name, None if workload and name in stated else value) == value
        for name, value in {**unsaid, **stated}.items()
    )


# --------------------------------------------------------------------------- catalogue and model


def _answer(case: Situation, catalogue: Catalogue) -> Iterator[Evidence]:
    via = QUANTITIES[case.quantity].via
    if via == "article":
        return
    try:
        yield _estimated(case, catalogue) if via == "estimate" else _looked_up(case, catalogue)
    except (MissingFigure, CannotEstimate, UnitError) as error:
        kind: Kind = "estimated" if via == "estimate" else "catalogue"
        yield Evidence(kind, case.varying, "", missing=str(error))


def _estimated(case: Situation, catalogue: Catalogue) -> Evidence:
    subject = catalogue.accelerators[case.subject] if case.subject else None
    found: Estimate
    if case.baseline and subject:
        baseline = catalogue.accelerators[case.baseline]
        found = roofline.estimate_ratio(
            case.quantity, subject, baseline, case.conditions, catalogue
        )
    else:
        found = roofline.estimate(case.quantity, subject, case.conditions, catalogue)
    return Evidence(
        kind="estimated",
        conditions=case.varying,
        source="performance model",
        low=found.low,
        mid=found.mid,
        high=found.high,
        unit=found.unit,
        binding_limit=found.binding_limit,
        assumptions=found.assumptions,
        error=found.error,
    )


def _as_makers_count(item: Evidence, claim: Claim) -> Evidence:
    """A capacity, for a claim in units of 2^10: a data sheet's "80 GB" may be as many GiB."""
    printed = claim.claimed.low
    binary = printed is not None and "iB" in printed.unit
    sizes = claim.quantities == ("memory_capacity",) and not claim.baselines
    if not (binary and sizes and item.high):
        return item
    said = "GB on a data sheet may be of 10^9 bytes or of 2^30: drivers tell 81,559 MiB of 80 GB"
    return replace(item, high=item.high * 2**30 / 1e9, assumptions=(*item.assumptions, said))


def _taken_as_dense(case: Situation, catalogue: Catalogue) -> Iterator[str]:
    """What is said where a claim leaves sparsity open, and a data sheet has both rates."""
    if case.baseline or "sparsity" in case.conditions or case.subject not in catalogue.accelerators:
        return
    sparse = catalogue.accelerators[case.subject].figures.get(f"{case.quantity}_sparse")
    if sparse and isinstance(sparse.value, Quantity):
        yield f"the dense rate, as sparsity is not stated; with 2:4 sparsity {show(sparse.value)}"


def _looked_up(case: Situation, catalogue: Catalogue) -> Evidence:
    """A figure of the catalogue, or one derived from its figures."""
    found = facts.find(case.quantity, case.subject, case.baseline, case.conditions, catalogue)
    found = replace(found, remarks=(*found.remarks, *_taken_as_dense(case, catalogue)))
    if isinstance(found.value, str):
        return Evidence(
            "catalogue", case.varying, found.source, text=found.value, assumptions=found.remarks
        )
    return Evidence(
        kind="catalogue",
        conditions=case.varying,
        source=found.source,
        low=found.value.value * found.floor,
        mid=found.value.value * (1 + found.floor) / 2,
        high=found.value.value,
        unit=found.value.unit,
        assumptions=found.remarks,
        disputed={who: value.value for who, value in found.disputed.items()},
    )
