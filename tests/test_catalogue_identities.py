"""What the figures of one part must satisfy among themselves, for every part of the catalogue.

A part that fails an identity is listed with the reason, and a listed part must still fail.
"""

import pytest

from gpubench import catalogue
from gpubench.catalogue import export
from gpubench.errors import MissingFigure
from gpubench.model import Accelerator

TOLERANCE = 0.02

_BOOST = "the boost clock listed is above the one behind the published tensor peak"
_ROUNDED = "the pin rate is rounded up against the stated bandwidth"
_UNNAMED = "the reported figure does not name the variant"
KNOWN_FAILURES = {
    ("bus", "nvidia-h200-sxm"): _ROUNDED,
    ("bus", "amd-mi325x"): _ROUNDED,
    ("bus", "amd-mi355x"): _ROUNDED,
    ("clock", "nvidia-h100-pcie"): _BOOST,
    ("clock", "nvidia-h100-nvl"): _BOOST,
    ("clock", "nvidia-h200-nvl"): _BOOST,
    ("clock", "nvidia-h800-sxm5"): "TechPowerUp lists a clock below the one of the same peak",
    ("clock", "nvidia-h800-pcie"): _BOOST,
    ("clock", "nvidia-l4"): _BOOST,
    ("clock", "nvidia-rtx-pro-6000-bw-server"): "the peaks are quoted at 2430 MHz, below the boost",
    ("clock", "nvidia-b300"): "only the largest clock is known, which is not the tensor clock",
    ("clock", "intel-gaudi3"): "ships at 1600 MHz; the white paper's peak assumes 1750 MHz",
    ("clock", "huawei-ascend-910b4"): "the FP16 rating assumes another clock than the one listed",
    ("clock", "huawei-ascend-910c"): "the FP16 rating assumes another clock than the one listed",
    ("tpp", "huawei-ascend-910b3"): _UNNAMED,
    ("tpp", "cambricon-mlu590"): "press and a competitor's table give different FP16 peaks",
}


def _bus(part: Accelerator) -> float:
    """Bus width times rate of a pin; both figures are in bytes, the bus counts bits."""
    rate = 8 * part.value("memory_bus_width") * part.value("memory_pin_rate")
    return rate / part.value("memory_bandwidth")


def _clock(part: Accelerator) -> float:
    name = "peak_fp16" if "peak_fp16" in part.figures else "peak_bf16"
    """Units times FLOP a clock times the clock behind the peaks."""
    clock = part.value("boost_clock" if "boost_clock" in part.figures else "max_clock")
    rate = part.value("compute_units") * part.value("flop_per_clock_per_unit") * clock
    return rate / part.value(name)


def _tpp(part: Accelerator) -> float:
    return export.tpp(part) / part.value("tpp_reported")


def _density(part: Accelerator) -> float:
    return export.performance_density(part) / part.value("density_reported")


IDENTITIES = {"bus": _bus, "clock": _clock, "tpp": _tpp, "density": _density}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_an_identity_holds_except_where_a_reason_is_listed(identity):
    checked, failed = 0, set()
    for part in catalogue.load().accelerators.values():
        try:
            ratio = IDENTITIES[identity](part)
        except MissingFigure:
            continue
        checked += 1
        if abs(ratio - 1) > TOLERANCE:
            failed.add(part.id)
    listed = {part for name, part in KNOWN_FAILURES if name == identity}
    assert failed == listed
    assert checked > len(listed)


def test_total_processing_performance_of_the_parts_in_the_news():
    known = catalogue.load()
    for name, expected in {
        "nvidia-h200-sxm": 15832,
        "nvidia-h100-sxm5": 15831,
        "nvidia-h20-96gb": 2368,
        "nvidia-a100-80gb-sxm4": 4992,
        "nvidia-rtx-4090": 5285,
        "huawei-ascend-910c": 12032,
    }.items():
        assert export.tpp(known.accelerator(name)) == pytest.approx(expected, rel=1e-3)


def test_sparse_rates_do_not_count_in_total_processing_performance():
    h100 = catalogue.load().accelerator("nvidia-h100-sxm5")
    assert export.tpp(h100) < 8 * h100.value("peak_fp8_sparse") / 1e12 * 0.51


def test_a_part_without_a_matrix_rate_has_no_total_processing_performance():
    with pytest.raises(MissingFigure, match="no dense rate of 16 bits"):
        export.tpp(catalogue.load().accelerator("jingjia-jm9"))


def test_the_h20_has_59_percent_of_the_units_and_15_of_the_peak_of_the_h100():
    known = catalogue.load()
    h20, h100 = known.accelerator("nvidia-h20-96gb"), known.accelerator("nvidia-h100-sxm5")
    assert h20.value("compute_units") / h100.value("compute_units") == pytest.approx(78 / 132)
    assert h20.value("peak_fp16") / h100.value("peak_fp16") == pytest.approx(0.150, abs=1e-3)
    assert h20.value("memory_bandwidth") / h100.value("memory_bandwidth") == pytest.approx(
        1.19, abs=5e-3
    )


def test_sparse_headlines_are_twice_the_dense_peaks():
    exceptions = {("nvidia-b300", "fp4"): "dense FP4 was raised alone, to 14 of 18 sparse"}
    for part in catalogue.load().accelerators.values():
        for name, figure in part.figures.items():
            dense = name.removesuffix("_sparse")
            if dense == name or dense not in part.figures:
                continue
            known = (part.id, dense.removeprefix("peak_")) in exceptions
            ratio = part.value(name) / part.value(dense)
            assert (abs(ratio / 2 - 1) > 0.075) == known, (part.id, name, figure)
