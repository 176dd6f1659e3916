"""Export rules applied to the figures of an accelerator. Thresholds only, and no legal advice.

Whether a part is designed or marketed for data centres changes the outcome and is not encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from gpubench import units
from gpubench.catalogue import derived
from gpubench.errors import CatalogueError, MissingFigure
from gpubench.model import Accelerator, ExportRule
from gpubench.units import Quantity

Status = Literal["controlled", "exception", "case-by-case", "free"]

FORMATS = {
    "peak_fp16": 16,
    "peak_bf16": 16,
    "peak_fp16_acc16": 16,
    "peak_fp8": 8,
    "peak_fp8_acc16": 8,
    "peak_int8": 8,
    "peak_fp4": 4,
}
"""Bit length of the operation. TF32 and FP32 are left out: the bit length of TF32 (19 in the
format, 32 in memory) is disputed, and no part listed reaches its largest product there."""
_TERA = 1e12


@dataclass(frozen=True)
class ExportFinding:
    """What a rule says of a part, and the comparisons that led there, in one sentence."""

    status: Status
    reason: str


def tpp(accelerator: Accelerator) -> float:
    """Total processing performance: the largest dense rate in tera-operations times bit length.

    Sparse rates do not count. Raises MissingFigure when no rate of 16 bits or fewer is published.
    """
    rates = [
        accelerator.value(name) / _TERA * bits
        for name, bits in FORMATS.items()
        if name in accelerator.figures
    ]
    if not rates:
        raise MissingFigure(
            f"{accelerator.name}: no dense rate of 16 bits or fewer is published, so no TPP follows"
        )
    return max(rates)


def performance_density(accelerator: Accelerator) -> float:
    """TPP over the die area of the compute silicon, TPP/m2."""
    return tpp(accelerator) / accelerator.value("die_area")


def export_status(
    accelerator: Accelerator, rule: ExportRule, rules: Mapping[str, ExportRule]
) -> ExportFinding:
    """What a rule makes of a part by its figures alone; `rules` holds what the rule may amend.

    Raises:
        MissingFigure: the outcome hangs on a figure nobody published, or the rule sets no limit.
    """
    lists: tuple[tuple[Status, tuple[Mapping[str, float], ...]], ...] = (
        ("controlled", rule.controlled_if),
        ("exception", rule.exception_if),
        ("case-by-case", rule.case_by_case_if),
    )
    if not any(alternatives for _, alternatives in lists):
        raise MissingFigure(f"{rule.id} sets no limit: {rule.effect}")
    before = ""
    if rule.amends:
        base = export_status(accelerator, rules[rule.amends], rules)
        if base.status == "free":
            return ExportFinding(
                "free", f"under {rule.amends}, which {rule.id} amends: {base.reason}"
            )
        before = f"{base.status} under {rule.amends}; "
    failed: list[str] = []
    for status, alternatives in lists:
        for alternative in alternatives:
            holds, reason = _applies(accelerator, alternative)
            if holds:
                return ExportFinding(status, before + reason)
            failed.append(reason)
    reason = "; ".join(dict.fromkeys(failed))
    if rule.amends:
        return ExportFinding(base.status, f"{before}{reason}")
    return ExportFinding("free", reason)


def _applies(accelerator: Accelerator, bounds: Mapping[str, float]) -> tuple[bool, str]:
    """Whether all bounds hold, and the comparison that says so or not.

    A bound that fails settles the matter even where another figure is missing.
    """
    met: list[str] = []
    missing: MissingFigure | None = None
    for bound, limit in bounds.items():
        measure, _, side = bound.rpartition("_")
        try:
            value = _MEASURES[measure][1](accelerator)
        except MissingFigure as error:
            missing = missing or error
            continue
        above = value >= limit
        text = _comparison(measure, value, limit, above)
        if above != (side == "min"):
            return False, text
        met.append(text)
    if missing:
        raise missing
    return True, " and ".join(met)


def _comparison(measure: str, value: float, limit: float, above: bool) -> str:
    label, _, unit = _MEASURES[measure]
    digits = 5 if measure == "tpp" else 4
    found, line = (units.show(Quantity(number, unit), digits=digits) for number in (value, limit))
    return f"{label} of {found} is {'at least' if above else 'below'} {line}"


def _io_bandwidth(accelerator: Accelerator) -> float:
    """All links in both directions, B/s; for a part without scale-up links, its host link."""
    links = accelerator.figures.get("interconnect")
    if links and str(links.value).startswith("none"):
        return derived.host_link(accelerator)
    return accelerator.value("interconnect_bandwidth")


def _dram_plus_io(accelerator: Accelerator) -> float:
    return accelerator.value("memory_bandwidth") + _io_bandwidth(accelerator)


_MEASURES: dict[str, tuple[str, Callable[[Accelerator], float], str]] = {
    "tpp": ("performance", tpp, "TPP"),
    "density": ("density", performance_density, "TPP/m2"),
    "dram_bandwidth": ("memory bandwidth", lambda a: a.value("memory_bandwidth"), "B/s"),
    "io_bandwidth": ("link bandwidth", _io_bandwidth, "B/s"),
    "dram_plus_io_bandwidth": ("memory and link bandwidth together", _dram_plus_io, "B/s"),
}


def check_bounds(rule: ExportRule) -> None:
    """Raises CatalogueError when a rule has a bound that no measure stands for."""
    for alternative in (*rule.controlled_if, *rule.exception_if, *rule.case_by_case_if):
        for bound in alternative:
            measure, _, side = bound.rpartition("_")
            if measure not in _MEASURES or side not in ("min", "below"):
                raise CatalogueError(f"no bound is called '{bound}'")
