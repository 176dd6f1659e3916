"""Energy of the boards: rated power times the share drawn, over the rate of tokens.

Only the accelerator boards count: no host, network or cooling. The share of rated power is a
parameter; prefill and training run near the limit, decode below it.
"""

from __future__ import annotations

from gpubench.model import Accelerator
from gpubench.roofline.calibration import Parameters

_PREFILL_ABOVE_SERVING = 1.1
# Matrix products draw the most; a serving mix sits below, and no share passes the rated power.


def serving_power(part: Accelerator, gpus: int, phase: str, with_: Parameters) -> float:
    """Watts of `gpus` boards while serving. Raises MissingFigure when board power is unknown."""
    share = with_.serving_power_share
    if phase == "prefill":
        share = min(1.0, share * _PREFILL_ABOVE_SERVING)
    return part.value("board_power") * share * gpus


def energy_per_token(
    part: Accelerator, gpus: int, phase: str, tokens_per_s: float, with_: Parameters
) -> float:
    """J a token at `tokens_per_s` of the whole copy."""
    return serving_power(part, gpus, phase, with_) / tokens_per_s
