"""What parts reach, against figures others measured (see docs/model.md for addresses)."""

from __future__ import annotations

import pytest

from gpubench import catalogue
from gpubench.errors import MissingFigure
from gpubench.model import Accelerator, Figure
from gpubench.roofline import calibration, ceilings
from gpubench.units import Quantity

MID = calibration.load().mid
PARTS = catalogue.load().accelerators
H100, H200, H20, A100 = (
    PARTS[name]
    for name in ("nvidia-h100-sxm5", "nvidia-h200-sxm", "nvidia-h20-96gb", "nvidia-a100-80gb-sxm4")
)


def bare(**peaks: float) -> Accelerator:
    figures = {name: Figure(Quantity(value, "FLOP/s"), "s", "A") for name, value in peaks.items()}
    return Accelerator("x", "Part X", "v", "f", figures, unsupported=("fp8",))


def test_a_full_h100_reaches_three_quarters_of_its_fp16_peak() -> None:
    share = ceilings.matrix_rate(H100, "fp16", MID) / H100.value("peak_fp16")
    assert 0.73 <= share <= 0.81  # 74 % in a burn, 77-81 % in a burst


def test_a_cut_down_h20_reaches_nearly_all_of_its_peak() -> None:
    assert ceilings.matrix_rate(H20, "bf16", MID) == pytest.approx(142e12, rel=0.02)


def test_power_limits_the_full_part_and_not_the_cut_down_one() -> None:
    assert ceilings.power_limited(H100, "fp16", MID)
    assert not ceilings.power_limited(H20, "fp16", MID)


def test_h100_and_h200_compute_alike() -> None:
    assert ceilings.equal_compute(H200, H100, "fp8")
    assert not ceilings.equal_compute(H20, H100, "fp8")
    assert ceilings.matrix_rate(H200, "fp8", MID) == pytest.approx(
        ceilings.matrix_rate(H100, "fp8", MID), rel=0.01
    )


def test_a_part_without_fp8_computes_at_fp16() -> None:
    assert ceilings.compute_precision(A100, "fp8") == "fp16"
    assert ceilings.compute_precision(bare(peak_fp16=1e12), "fp8") == "fp16"


def test_int4_weights_are_widened_before_they_are_multiplied() -> None:
    assert ceilings.compute_precision(H100, "int4") == "fp16"


def test_a_peak_nobody_published_is_refused_and_not_guessed() -> None:
    with pytest.raises(MissingFigure, match="no published peak bf16"):
        ceilings.compute_precision(bare(peak_fp16=1e12), "bf16")


def test_links_count_one_direction() -> None:
    assert ceilings.link_peak(H100) == pytest.approx(450e9)


def test_bridged_boards_share_links_only_in_pairs() -> None:
    pcie = PARTS["nvidia-a100-80gb-pcie"]
    assert ceilings.joined_devices(pcie) == 2
    assert ceilings.wire_rate(pcie, 2, 0.5, MID) > 4 * ceilings.wire_rate(pcie, 4, 0.5, MID)
    assert ceilings.joined_devices(H100) == 8
    assert ceilings.joined_devices(PARTS["nvidia-l40s"]) == 1


def test_memory_reaches_what_read_kernels_measure() -> None:
    assert 0.87 <= ceilings.memory_rate(H200, MID) / H200.value("memory_bandwidth") <= 0.97
