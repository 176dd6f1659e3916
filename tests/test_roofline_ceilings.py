"""What parts reach, against figures others measured (see docs/model.md for addresses)."""

from __future__ import annotations

from dataclasses import replace

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


def test_direct_links_serve_a_group_by_its_size() -> None:
    """stas00/ml-engineering, network/README.md: 47.671 GB/s for two MI300X, 312.912 for eight."""
    mi300x, gaudi = PARTS["amd-mi300x"], PARTS["intel-gaudi2"]
    rates = [ceilings.all_reduce_rate(mi300x, n, MID) * ceilings.ring_factor(n) for n in (2, 4, 8)]
    assert rates[0] == pytest.approx(47.671e9, rel=0.15)
    assert rates[2] == pytest.approx(312.912e9, rel=0.2)
    assert rates[1] == pytest.approx(3 * rates[0])
    # 21 of the 24 ports of a Gaudi lead to the other seven of its node.
    assert ceilings.group_share(gaudi, 8) == pytest.approx(21 / 24)
    assert ceilings.group_share(H100, 2) == 1


def test_too_few_direct_links_for_a_node_are_not_shared_out() -> None:
    mi300x = PARTS["amd-mi300x"]
    three = Figure(Quantity(3.0, ""), "s", "A")
    bridged = replace(mi300x, figures={**mi300x.figures, "interconnect_links": three})
    assert ceilings.group_share(bridged, 8) == 1


def test_weights_are_widened_to_bf16_where_nothing_else_is() -> None:
    gaudi = PARTS["intel-gaudi3"]
    assert ceilings.compute_precision(gaudi, "int4") == "bf16"
    with pytest.raises(MissingFigure, match="no published peak fp16; use bf16 or fp8"):
        ceilings.compute_precision(gaudi, "fp16")


def test_a_neighbour_is_as_near_as_the_slower_of_pair_and_group() -> None:
    mi300x, bridged = PARTS["amd-mi300x"], PARTS["nvidia-a100-80gb-pcie"]
    one_link = 896e9 / 2 / 7 * MID.link_efficiency
    assert ceilings.neighbour_rate(mi300x, 8, MID) == pytest.approx(one_link)
    over_bus = 32e9 * MID.pcie_efficiency
    assert ceilings.neighbour_rate(bridged, 4, MID) == pytest.approx(over_bus)


def test_memory_reaches_what_read_kernels_measure() -> None:
    assert 0.87 <= ceilings.memory_rate(H200, MID) / H200.value("memory_bandwidth") <= 0.97


def test_power_goes_as_the_cube_of_the_rate_where_the_clock_can_fall() -> None:
    watts = H100.figures["board_power"]
    eighth = replace(watts, value=Quantity(700 / 8, "J/s"))
    weak = replace(H100, figures={**H100.figures, "board_power": eighth})
    rates = [ceilings.matrix_rate(part, "fp16", MID) for part in (weak, H100)]
    assert rates[1] == pytest.approx(2 * rates[0])


def test_a_small_part_that_boosts_high_reaches_less_of_its_peak() -> None:
    # The same process as an H100's, at 2.5 GHz on 350 W.
    l40s = PARTS["nvidia-l40s"]
    share = ceilings.matrix_rate(l40s, "fp16", MID) / l40s.value("peak_fp16")
    assert 0.6 < share < 0.75


def test_fp8_on_an_h100_reaches_what_others_measured() -> None:
    assert 1.403e15 <= ceilings.matrix_rate(H100, "fp8", MID) <= 1.453e15


def test_a_switch_that_adds_up_beats_a_ring_over_eight_devices_and_not_over_two() -> None:
    assert ceilings.reduces_in_switch(H100)
    assert not ceilings.reduces_in_switch(A100)
    assert not ceilings.reduces_in_switch(PARTS["nvidia-h100-pcie"])
    ring = 450e9 * MID.link_efficiency
    switch = 450e9 * MID.switch_efficiency / (1 + 1 / 8)
    assert ceilings.all_reduce_rate(H100, 8, MID) == pytest.approx(switch)
    assert ceilings.all_reduce_rate(H100, 2, MID) == pytest.approx(ring)
    assert ceilings.all_reduce_rate(A100, 8, MID) == pytest.approx(ring * 300 / 450 * 8 / 14)


def test_a_format_without_hardware_is_refused_with_what_there_is() -> None:
    with pytest.raises(MissingFigure, match=r"no matrix hardware for bf16.*use fp16"):
        ceilings.compute_precision(PARTS["nvidia-v100-sxm2-32gb"], "bf16")


def test_hbm3e_gives_serving_a_little_less_of_its_rating() -> None:
    shares = [
        ceilings.serving_memory_rate(part, MID) / part.value("memory_bandwidth")
        for part in (H200, H100)
    ]
    # BabelStream triad: 87 % on H200, 89 % on H100.
    assert shares[0] / shares[1] == pytest.approx(87 / 89, abs=0.002)


def test_attention_reaches_more_of_a_part_with_fewer_matrix_units() -> None:
    """A kernel reaches some 60 % of an H100's matrix rate; an H20 has vector units to spare."""

    def share(part: Accelerator) -> float:
        products = 4 * 128 / ceilings.attention_rate(part, "fp16", MID)
        return products / (products + ceilings.softmax_seconds(part, MID))

    assert share(H100) == pytest.approx(0.68, abs=0.01)
    assert share(H20) == pytest.approx(0.88, abs=0.01)
    assert share(H100) == pytest.approx(MID.attention_efficiency, abs=0.01)


def test_a_part_whose_vector_rate_is_unknown_attends_as_an_h100_does() -> None:
    gaudi = PARTS["intel-gaudi2"]
    assert ceilings.softmax_seconds(gaudi, MID) == 0.0
    ratio = ceilings.attention_rate(gaudi, "bf16", MID) / ceilings.matrix_rate(gaudi, "bf16", MID)
    assert ratio == pytest.approx(MID.attention_efficiency)
