"""Energy against watts over tokens a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench import catalogue
from gpubench.roofline import calibration, energy

H100 = catalogue.load().accelerator("nvidia-h100-sxm5")
MID = replace(calibration.load().mid, serving_power_share=0.8)


def test_energy_is_power_over_rate() -> None:
    assert energy.energy_per_token(H100, 2, "serving", 1000, MID) == pytest.approx(1.12)


def test_prefill_draws_more_but_never_above_the_rating() -> None:
    assert energy.serving_power(H100, 1, "prefill", MID) == pytest.approx(700 * 0.88)
    full = replace(MID, serving_power_share=1.0)
    assert energy.serving_power(H100, 1, "prefill", full) == 700
