"""An uplift is split over what differs between two parts, and over nothing else."""

import math
from dataclasses import replace

import pytest

from gpubench.catalogue import Catalogue
from gpubench.roofline import estimate_ratio
from gpubench.roofline.uplift import effects

CONDITIONS = {
    "model": "llama-2-70b",
    "precision": "fp8",
    "input_tokens": 128,
    "output_tokens": 2048,
    "batch": "max",
    "gpus": 2,
    "phase": "serving",
}


@pytest.mark.parametrize(
    "names",
    [
        ("nvidia-h200-sxm", "nvidia-h100-sxm5"),
        ("nvidia-h20-96gb", "nvidia-h100-sxm5"),
        ("nvidia-h100-sxm5", "nvidia-h200-sxm"),
    ],
)
def test_effects_multiply_to_the_uplift(names: tuple[str, str], shipped: Catalogue) -> None:
    subject, baseline = (shipped.accelerator(name) for name in names)
    found = effects(subject, baseline, CONDITIONS, shipped)
    quantity = "inference_throughput"
    uplift = estimate_ratio(quantity, subject, baseline, CONDITIONS, shipped).mid
    assert math.prod(effect.factor for effect in found) == pytest.approx(uplift)
    assert sum(effect.share for effect in found) == pytest.approx(1)


def test_only_what_differs_has_an_effect(shipped: Catalogue) -> None:
    baseline = shipped.accelerator("nvidia-h100-sxm5")
    faster = shipped.accelerator("nvidia-h200-sxm").figures["memory_bandwidth"]
    subject = replace(baseline, figures={**baseline.figures, "memory_bandwidth": faster})
    first, *others = effects(subject, baseline, CONDITIONS, shipped)
    assert first.name == "memory bandwidth"
    assert first.factor > 1
    assert all(effect.factor == 1 for effect in others)


def test_equal_parts_share_nothing(shipped: Catalogue) -> None:
    part = shipped.accelerator("nvidia-h100-sxm5")
    assert {effect.share for effect in effects(part, part, CONDITIONS, shipped)} == {0.0}
