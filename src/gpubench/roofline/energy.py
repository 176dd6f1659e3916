"""Energy of the boards: rated power times the share drawn, over the rate of tokens.

Only the accelerator boards count: no host, network or cooling. The share of rated power is a
parameter; prefill and training run near the limit, decode below it. Boards that wait for others,
as the stages of a pipeline do, draw what a board draws without work.
"""

from __future__ import annotations

from gpubench.model import Accelerator
from gpubench.roofline.calibration import Parameters

_PREFILL_ABOVE_SERVING = 1.1
# Matrix products draw the most; a serving mix sits below, and no share passes the rated power.


def serving_power(
    part: Accelerator, gpus: int, phase: str, with_: Parameters, busy: float = 1.0
) -> float:
    """Watts of `gpus` boards while serving, which work for the share `busy` of the time.

    Raises:
        MissingFigure: the board power is unknown.
    """
    share = with_.serving_power_share
    if phase == "prefill":
        share = min(1.0, share * _PREFILL_ABOVE_SERVING)
    idle = min(share, with_.static_power_share)
    return part.value("board_power") * (idle + busy * (share - idle)) * gpus


def energy_per_token(
    part: Accelerator,
    gpus: int,
    phase: str,
    tokens_per_s: float,
    with_: Parameters,
    busy: float = 1.0,
) -> float:
    """J a token at `tokens_per_s` of the whole copy; the rest as in `serving_power`."""
    return serving_power(part, gpus, phase, with_, busy) / tokens_per_s
