"""One answer for every quantity that the catalogue settles, with the sources it came from.

Here the conditions of a claim meet the catalogue: sparse or dense, one direction or both, which
export rule. What is derived (a ratio, TPP, a ridge point) names the sources of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gpubench.catalogue import derived, export
from gpubench.errors import MissingFigure
from gpubench.model import Accelerator, Figure, LanguageModel
from gpubench.quantities import ACHIEVABLE, QUANTITIES
from gpubench.units import Quantity, show

if TYPE_CHECKING:
    from gpubench.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, who says it, and what else should be known about it.

    Where a peak stands for a sustained rate, that rate lies between `floor` times it and itself.
    `disputed` are the numbers of others whose word counts as much, by who says so.
    """

    value: Quantity | str
    source: str
    remarks: tuple[str, ...] = ()
    floor: float = 1.0
    disputed: Mapping[str, Quantity] = field(default_factory=dict)


def find(
    quantity: str,
    subject: str,
    baseline: str,
    conditions: Mapping[str, Any],
    catalogue: Catalogue,
) -> Fact:
    """What the catalogue says about a quantity of `subject`, over `baseline` if one is named.

    Raises:
        MissingFigure: nobody has published it, or not under these conditions.
    """
    kind = QUANTITIES[quantity]
    if odd := sorted(set(conditions) - set(kind.conditions)):
        # A claim on several quantities may state it of one: half of what has no direction is wrong.
        raise MissingFigure(f"{quantity} does not depend on {', '.join(odd)}")
    if kind.comparative:
        return _counted(quantity, subject, baseline, conditions, catalogue)
    found = _one(quantity, subject, conditions, catalogue)
    if not baseline:
        return found
    other = _one(quantity, baseline, conditions, catalogue)
    if isinstance(found.value, str) or isinstance(other.value, str):
        raise MissingFigure(f"{quantity} is no number and has no ratio")
    if found.floor != 1 or other.floor != 1:
        raise MissingFigure("the ratio of two sustained rates does not follow from data sheets")
    if other.value.value == 0:
        raise MissingFigure(f"{quantity} of {baseline} is zero, so there is no ratio to it")
    return Fact(
        Quantity(found.value.per(other.value), "1"),
        f"{show(found.value)} ({found.source}) over {show(other.value)} ({other.source})",
        (*found.remarks, *other.remarks),
    )


def _one(quantity: str, subject: str, conditions: Mapping[str, Any], catalogue: Catalogue) -> Fact:
    via = QUANTITIES[quantity].via
    if via == "model":
        return _of_model(quantity, catalogue.models[subject], conditions)
    if via == "rule":
        return _of_rule(quantity, subject, conditions, catalogue)
    part = catalogue.accelerators[subject]
    if via == "figure":
        return _figure(quantity, part, conditions, catalogue)
    if quantity == "export_status":
        return _export_status(part, conditions, catalogue)
    return _derived(quantity, part, conditions, catalogue)


def _figure(
    quantity: str, part: Accelerator, conditions: Mapping[str, Any], catalogue: Catalogue
) -> Fact:
    if quantity == "architecture":
        return Fact(part.family, f"family of {part.name}")
    sparse = "_sparse" if conditions.get("sparsity") == "sparse" else ""
    fact = stated(part.figure(quantity + sparse), catalogue)
    if conditions.get("direction") == "one-way" and isinstance(fact.value, Quantity):
        halves = {who: value * 0.5 for who, value in fact.disputed.items()}
        fact = replace(fact, value=fact.value * 0.5, disputed=halves)
    return _sustained(fact, quantity, part) if conditions.get("rate") == "sustained" else fact


def _sustained(peak: Fact, quantity: str, part: Accelerator) -> Fact:
    """A data sheet states peaks; of some it is known what share a good kernel sustains."""
    if quantity not in ACHIEVABLE:
        raise MissingFigure(f"{part.name}: a data sheet states peaks, not sustained rates")
    floor, because = ACHIEVABLE[quantity].floor, ACHIEVABLE[quantity].because
    remark = f"sustained: {floor:.0%} of the peak to all of it; {because}".replace("%", " %", 1)
    return replace(peak, remarks=(remark, *peak.remarks), floor=floor, disputed={})


def stated(figure: Figure, catalogue: Catalogue) -> Fact:
    """A figure as it stands in the catalogue, with its source and the values of others."""
    disputed = {
        catalogue.sources[other.source].publisher: other.value
        for other in figure.conflicts
        if other.grade <= figure.grade and isinstance(other.value, Quantity)
    }
    remarks = _remarks(figure, catalogue)
    return Fact(figure.value, cite(figure, catalogue), remarks, disputed=disputed)


def cite(figure: Figure, catalogue: Catalogue) -> str:
    """Who says a figure: "NVIDIA, https://… (grade A, read as quoted)"."""
    source = catalogue.sources[figure.source]
    how = "" if source.read == "direct" else f", {source.read}"
    return f"{source.publisher}, {source.url} (grade {figure.grade}{how})"


def _remarks(figure: Figure, catalogue: Catalogue) -> tuple[str, ...]:
    others = tuple(
        f"{catalogue.sources[conflict.source].publisher} says "
        f"{conflict.value if isinstance(conflict.value, str) else show(conflict.value)}"
        + (f" ({conflict.remark})" if conflict.remark else "")
        for conflict in figure.conflicts
    )
    return (*((figure.remark,) if figure.remark else ()), *others)


_DERIVED: dict[str, Callable[[Accelerator, Mapping[str, Any]], float]] = {
    "ridge_point": lambda part, c: derived.ridge_point(part, c.get("precision", "fp16")),
    "peak_per_watt": lambda part, c: derived.peak_per_watt(part, c.get("precision", "fp16")),
    "bandwidth_per_watt": lambda part, _: derived.bandwidth_per_watt(part),
    "tpp": lambda part, _: export.tpp(part),
    "performance_density": lambda part, _: export.performance_density(part),
    "tpp_over_threshold": lambda part, c: export.tpp(part) / _threshold(c),
}
_TPP_RATES = tuple(export.FORMATS)


def _parts(quantity: str, conditions: Mapping[str, Any]) -> tuple[str, ...]:
    """The figures behind a derived quantity, whose sources are named."""
    rate = f"peak_{conditions.get('precision', 'fp16')}"
    return {
        "ridge_point": (rate, "memory_bandwidth"),
        "peak_per_watt": (rate, "board_power"),
        "bandwidth_per_watt": ("memory_bandwidth", "board_power"),
        "tpp": _TPP_RATES,
        "performance_density": (*_TPP_RATES, "die_area"),
        "tpp_over_threshold": _TPP_RATES,
    }[quantity]


def _derived(
    quantity: str, part: Accelerator, conditions: Mapping[str, Any], catalogue: Catalogue
) -> Fact:
    value = _DERIVED[quantity](part, conditions)
    sources = dict.fromkeys(
        cite(part.figures[name], catalogue)
        for name in _parts(quantity, conditions)
        if name in part.figures
    )
    return Fact(Quantity(value, QUANTITIES[quantity].unit), "computed from " + "; ".join(sources))


def _threshold(conditions: Mapping[str, Any]) -> float:
    if "threshold" not in conditions:
        raise MissingFigure("no threshold is named: give one under conditions or sweep")
    return float(conditions["threshold"])


def _counted(
    quantity: str,
    subject: str,
    baseline: str,
    conditions: Mapping[str, Any],
    catalogue: Catalogue,
) -> Fact:
    count = {
        "figures_improved": derived.figures_improved,
        "figures_reduced": derived.figures_reduced,
    }[quantity]
    one, other = catalogue.accelerators[subject], catalogue.accelerators[baseline]
    names = count(one, other, conditions.get("group", "all"))
    said = ", ".join(name.replace("_", " ") for name in names) or "none"
    return Fact(
        Quantity(float(len(names)), "1"),
        f"catalogue entries {subject} and {baseline}",
        (f"counted: {said}",),
    )


def _export_status(part: Accelerator, conditions: Mapping[str, Any], catalogue: Catalogue) -> Fact:
    if "rule" not in conditions:
        raise MissingFigure("no export rule is named: give one under conditions or sweep")
    rule = catalogue.rule(conditions["rule"])
    found = export.export_status(part, rule, catalogue.rules)
    source = catalogue.sources[rule.sources[0]]
    return Fact(
        found.status, f"{rule.citation}; {source.url} (grade {rule.grade})", (found.reason,)
    )


# The bound of a rule that each quantity is about.
_THRESHOLDS = {"rule_tpp_threshold": "tpp_min", "rule_density_threshold": "density_min"}


def _of_rule(
    quantity: str, subject: str, conditions: Mapping[str, Any], catalogue: Catalogue
) -> Fact:
    rule = catalogue.rule(subject)
    source = catalogue.sources[rule.sources[0]]
    where = f"{rule.citation}; {source.url} (grade {rule.grade})"
    remarks = (rule.remark,) if rule.remark else ()
    if quantity == "rule_date":
        return Fact(rule.announced, where, remarks)
    if quantity == "rule_criteria":
        lists = (*rule.controlled_if, *rule.exception_if, *rule.case_by_case_if)
        kinds = {name.rpartition("_")[0] for alternative in lists for name in alternative}
        counted = kinds & {conditions["limit"]} if "limit" in conditions else kinds
        said = ", ".join(sorted(kinds)).replace("_", " ") or "nothing"
        return Fact(Quantity(float(len(counted)), "1"), where, (f"limits on {said}",))
    bound = _THRESHOLDS[quantity]
    limits = [bounds[bound] for bounds in rule.controlled_if if bound in bounds]
    if not limits:
        raise MissingFigure(f"rule {subject} sets no limit on {bound.removesuffix('_min')}")
    return Fact(Quantity(max(limits), QUANTITIES[quantity].unit), where, remarks)


def _of_model(quantity: str, model: LanguageModel, conditions: Mapping[str, Any]) -> Fact:
    """Facts of a language model. A forward pass takes two FLOP a weight used and token; training
    takes three times that (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).
    """
    remarks = (model.remark,) if model.remark else ()
    if quantity == "training_compute":
        tokens = conditions.get("tokens", model.training_tokens)
        if model.training_flops and "tokens" not in conditions:
            return Fact(Quantity(model.training_flops, "FLOP"), model.source, remarks)
        if not tokens:
            raise MissingFigure(f"{model.name}: no published number of training tokens")
        return Fact(Quantity(6 * model.active_parameters * tokens, "FLOP"), model.source, remarks)
    value = {
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "compute_per_token": 2 * model.active_parameters,
    }[quantity]
    if not value:
        raise MissingFigure(f"{model.name}: {quantity.replace('_', ' ')} is not published")
    return Fact(Quantity(value, QUANTITIES[quantity].unit), model.source, remarks)
