"""Energy against watts over tokens a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench import catalogue, roofline
from gpubench.roofline import calibration, energy

KNOWN = catalogue.load()
H100 = KNOWN.accelerator("nvidia-h100-sxm5")
MID = replace(calibration.load().mid, serving_power_share=0.8)


def test_energy_is_power_over_rate() -> None:
    assert energy.energy_per_token(H100, 2, "serving", 1000, MID) == pytest.approx(1.12)


def test_a_board_that_waits_draws_what_it_does_without_work() -> None:
    idle = 700 * MID.static_power_share
    assert energy.serving_power(H100, 1, "serving", MID, busy=0.0) == pytest.approx(idle)
    half = energy.serving_power(H100, 1, "serving", MID, busy=0.5)
    assert half == pytest.approx((idle + 700 * 0.8) / 2)


def test_stages_that_wait_for_one_request_draw_less_than_busy_ones() -> None:
    asked = {"model": "llama-2-70b", "precision": "fp8", "gpus": 4, "input_tokens": 16}
    asked |= {"output_tokens": 512, "pipeline": 4}
    one, full = (
        {
            name: roofline.estimate(name, H100, {**asked, "batch": batch}, KNOWN).mid
            for name in ("energy_per_token", "inference_throughput")
        }
        for batch in (1, 4)
    )
    drawn = [found["energy_per_token"] * found["inference_throughput"] for found in (one, full)]
    # The last stage has the head as well, and the others wait for it.
    full_power = 4 * 700 * calibration.load().mid.serving_power_share
    assert 0.97 * full_power < drawn[1] < full_power
    # One of four works at a time, the others draw what idle boards do.
    share, idle = (
        getattr(calibration.load().mid, f"{n}_power_share") for n in ("serving", "static")
    )
    assert drawn[0] == pytest.approx(700 * (share + 3 * idle), rel=0.01)


@pytest.mark.parametrize("phase", ["prefill", "decode", "serving"])
def test_one_request_keeps_one_of_eight_stages_busy_in_any_phase(phase: str) -> None:
    asked = {"model": "llama-3-70b", "precision": "fp8", "gpus": 8, "pipeline": 8, "batch": 1}
    asked |= {"input_tokens": 128, "output_tokens": 2, "phase": phase}
    found = roofline.estimate("energy_per_token", H100, asked, KNOWN)
    assert found.details["busy"] == pytest.approx(1 / 8, rel=0.01)


def test_prefill_draws_more_but_never_above_the_rating() -> None:
    assert energy.serving_power(H100, 1, "prefill", MID) == pytest.approx(700 * 0.88)
    full = replace(MID, serving_power_share=1.0)
    assert energy.serving_power(H100, 1, "prefill", full) == 700
