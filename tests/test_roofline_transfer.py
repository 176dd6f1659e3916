"""What was measured on one part tells of another of its family, and says what it assumes."""

import pytest

from gpubench.catalogue import Catalogue
from gpubench.errors import CannotEstimate
from gpubench.roofline import calibration
from gpubench.roofline.transfer import Rates, transferred

WITH = calibration.load().mid


def test_memory_reaches_the_same_share(shipped: Catalogue) -> None:
    h200, h100 = (shipped.accelerators[f"nvidia-{n}"] for n in ("h200-sxm", "h100-sxm5"))
    found = transferred(h200, Rates(memory=0.93 * 4.8e12), h100, WITH)
    assert found.rates.memory == pytest.approx(0.93 * 3.35e12)
    assert found.rates.matrix == {}
    assert "93.0% of its peak" in found.assumptions[0]


def test_a_full_part_that_runs_out_of_power_says_that_a_cut_down_one_does_not(
    shipped: Catalogue,
) -> None:
    """730 of 989 TFLOPS on an H200 at 700 W; others measured 142 of 148 on an H20."""
    h200, h20 = (shipped.accelerators[f"nvidia-{n}"] for n in ("h200-sxm", "h20-96gb"))
    found = transferred(h200, Rates(matrix={"bf16": 730e12}), h20, WITH)
    assert found.rates.matrix["bf16"] == pytest.approx(142e12, rel=0.02)
    assert "its units then bind at 96.0% of the peak" in found.assumptions[0]


def test_half_the_power_gives_less_where_power_is_the_limit(shipped: Catalogue) -> None:
    """Half the rate at the same clock, and more than that since a slower clock takes less."""
    sxm, pcie = (shipped.accelerators[f"nvidia-{n}"] for n in ("h100-sxm5", "h100-pcie"))
    found = transferred(sxm, Rates(matrix={"fp16": 700e12}), pcie, WITH)
    assert 350e12 * 0.99 < found.rates.matrix["fp16"] < 700e12 * 0.8
    assert "its power then bind at" in found.assumptions[0]


@pytest.mark.parametrize("share", [0.4, 0.6, 0.75, 0.9])
def test_the_model_fitted_to_a_rate_gives_that_rate(shipped: Catalogue, share: float) -> None:
    h100 = shipped.accelerators["nvidia-h100-sxm5"]
    measured = {p: share * h100.value(f"peak_{p}") for p in ("fp16", "bf16", "fp8")}
    found = transferred(h100, Rates(matrix=measured), h100, WITH)
    for precision, rate in measured.items():
        assert found.rates.matrix[precision] == pytest.approx(rate, rel=1e-6)


def test_a_part_measured_again_is_what_it_was(shipped: Catalogue) -> None:
    h20 = shipped.accelerators["nvidia-h20-96gb"]
    measured = Rates(memory=3.6e12, matrix={"fp16": 143e12, "bf16": 120e12})
    found = transferred(h20, measured, h20, WITH)
    assert found.rates.memory == pytest.approx(measured.memory)
    assert found.rates.matrix["fp16"] == pytest.approx(143e12)
    assert found.rates.matrix["bf16"] == pytest.approx(120e12)


def test_other_families_and_precisions_without_a_peak_say_nothing(shipped: Catalogue) -> None:
    h200, a100 = (shipped.accelerators[n] for n in ("nvidia-h200-sxm", "nvidia-a100-80gb-sxm4"))
    with pytest.raises(CannotEstimate, match=r"is of the Ampere family and .* of Hopper"):
        transferred(h200, Rates(memory=4.5e12), a100, WITH)
    h100 = shipped.accelerators["nvidia-h100-sxm5"]
    assert transferred(h200, Rates(matrix={"fp4": 1e15}), h100, WITH).rates.matrix == {}
