"""What follows from the published figures of one accelerator, or of two: pure arithmetic.

Every function raises MissingFigure when a figure it needs is not published.
"""

from __future__ import annotations

import math

from gpubench.errors import GpubenchError, MissingFigure
from gpubench.model import Accelerator, LanguageModel
from gpubench.quantities import PRECISIONS

IMPROVEMENT = 0.05
"""Two figures less than this apart count as equal: roundings of one peak differ by up to 3 %."""

GROUPS: dict[str, tuple[str, ...]] = {
    "memory": ("memory_capacity", "memory_bandwidth", "l2_cache"),
    "compute": tuple(f"peak_{precision}" for precision in PRECISIONS),
    "links": ("interconnect_bandwidth", "pcie_generation"),
}
"""The figures a comparison counts: those of which more is better, so neither power nor clocks."""


def peak(accelerator: Accelerator, precision: str) -> float:
    """The dense peak rate in FLOP/s (int8: OP/s)."""
    if precision in accelerator.unsupported:
        raise MissingFigure(f"{accelerator.name} has no matrix hardware for {precision}")
    return accelerator.value(f"peak_{precision}")


def ridge_point(accelerator: Accelerator, precision: str = "fp16") -> float:
    """FLOP a kernel must do for every byte before compute binds: dense peak over bandwidth."""
    return peak(accelerator, precision) / accelerator.value("memory_bandwidth")


def peak_per_watt(accelerator: Accelerator, precision: str = "fp16") -> float:
    """Dense peak over rated power, FLOP/J."""
    return peak(accelerator, precision) / accelerator.value("board_power")


def bandwidth_per_watt(accelerator: Accelerator) -> float:
    """Memory bandwidth over rated power, B/J."""
    return accelerator.value("memory_bandwidth") / accelerator.value("board_power")


def host_link(accelerator: Accelerator) -> float:
    """B/s of sixteen PCI Express lanes in both directions together, before encoding."""
    generation = int(accelerator.value("pcie_generation"))
    if generation not in _HOST_LINK:
        raise MissingFigure(f"{accelerator.name}: no rate known for PCIe {generation}")
    return _HOST_LINK[generation]


_HOST_LINK = {3: 32e9, 4: 64e9, 5: 128e9, 6: 256e9}
# By generation, each twice the one before: 8 GT/s x 16 lanes / 8 is 16 GB/s one way for the third.


def figures_improved(
    subject: Accelerator, baseline: Accelerator, group: str = "all"
) -> tuple[str, ...]:
    """The figures of a group in which `subject` beats `baseline` by 5 % or more."""
    pairs = _shared(subject, baseline, group)
    return tuple(name for name, ours, theirs in pairs if ours >= theirs * (1 + IMPROVEMENT))


def figures_reduced(
    subject: Accelerator, baseline: Accelerator, group: str = "all"
) -> tuple[str, ...]:
    """The figures of a group in which `subject` falls short of `baseline` by 5 % or more."""
    pairs = _shared(subject, baseline, group)
    return tuple(name for name, ours, theirs in pairs if ours <= theirs * (1 - IMPROVEMENT))


def flop_per_clock(accelerator: Accelerator, precision: str) -> float:
    """Dense FLOP a clock and unit at a precision, by how its peak compares with that of FP16.

    `precision` may end in _sparse. Units do a power of two of operations a clock; the quotient of
    two peaks is off where they are stated at different clocks, as those of Hopper's vector units
    are, and is rounded to one.

    Raises MissingFigure when a figure is not published.
    """
    of_fp16 = accelerator.value(f"peak_{precision}") / accelerator.value("peak_fp16")
    return accelerator.value("flop_per_clock_per_unit") * 2.0 ** round(math.log2(of_fp16))


def parameters_from_architecture(model: LanguageModel) -> float:
    """Weights of a model, from its matrices and embeddings; norms and biases left out.

    Raises GpubenchError when the architecture is not published.
    """
    if not model.architecture_known:
        raise GpubenchError(f"{model.name}: no architecture is published")
    matrices = 3 if model.gated_ffn else 2
    attention = model.attention_parameters or (
        2 * model.hidden * model.head_dim * (model.heads + model.kv_heads)
    )
    dense = matrices * model.hidden * model.ffn_hidden
    expert = matrices * model.hidden * model.expert_hidden
    sparse = model.experts + model.shared_experts
    dense_layers = model.dense_layers if model.experts else model.layers
    feed_forward = dense_layers * dense + (model.layers - dense_layers) * sparse * expert
    router = (model.layers - dense_layers) * model.experts * model.hidden
    embeddings = model.vocabulary * model.hidden * (1 if model.tied_embeddings else 2)
    return embeddings + model.layers * attention + feed_forward + router


def _shared(
    subject: Accelerator, baseline: Accelerator, group: str
) -> list[tuple[str, float, float]]:
    """(name, subject's, baseline's) for the figures of a group that both have."""
    names = GROUPS[group] if group != "all" else sum(GROUPS.values(), ())
    found = [
        (name, subject.value(name), baseline.value(name))
        for name in names
        if name in subject.figures and name in baseline.figures
    ]
    if not found:
        raise MissingFigure(f"{subject.name} and {baseline.name} share no published {group} figure")
    return found
