"""Collectives against the ring's closed form and published bus bandwidths."""

from __future__ import annotations

import pytest

from gpubench import catalogue
from gpubench.errors import CannotEstimate
from gpubench.roofline import calibration, collectives

CATALOGUE = catalogue.load()
MID = calibration.load().mid
H200, H800 = (CATALOGUE.accelerator(name) for name in ("nvidia-h200-sxm", "nvidia-h800-sxm5"))
SIXTEEN_GIB = 16 * 2.0**30


def bus_bandwidth(reduction: str, message: float = SIXTEEN_GIB) -> float:
    timed = collectives.all_reduce(H200, 8, message, reduction, 50e9, MID)
    return collectives.bus_bandwidth(message, 8, timed.seconds)


def test_a_ring_of_eight_sends_seven_quarters_of_the_message() -> None:
    assert collectives.ring_factor(8) == 1.75
    assert collectives.ring_factor(2) == 1.0


def test_eight_h200_reach_the_published_bus_bandwidths() -> None:
    # stas00/ml-engineering, network/README: 368 GB/s with rings, 482 GB/s reducing in the switch.
    assert bus_bandwidth("ring") == pytest.approx(368e9, rel=0.03)
    assert bus_bandwidth("in-switch") == pytest.approx(482e9, rel=0.03)


def test_small_messages_wait_for_latency() -> None:
    timed = collectives.all_reduce(H200, 8, 8192, "ring", 50e9, MID)
    assert timed.binding == "overhead"
    assert bus_bandwidth("ring", 8192) < 0.01 * bus_bandwidth("ring")


def test_beyond_a_node_the_network_takes_most_of_the_time() -> None:
    within = collectives.all_reduce(H200, 8, SIXTEEN_GIB, "ring", 50e9, MID).seconds
    beyond = collectives.network_seconds(64, SIXTEEN_GIB, 50e9, MID)
    whole = collectives.all_reduce(H200, 64, SIXTEEN_GIB, "ring", 50e9, MID).seconds
    assert whole == pytest.approx(within + beyond)
    # Two thirds of a ring over eight nodes on an eighth of the message.
    assert beyond == pytest.approx(1.75 * SIXTEEN_GIB / 8 / (50e9 * MID.network_efficiency), 0.01)


def test_devices_must_fill_their_nodes() -> None:
    with pytest.raises(CannotEstimate, match="do not fill nodes"):
        collectives.network_seconds(12, 1e9, 50e9, MID)


def test_a_part_without_a_switch_cannot_reduce_in_it() -> None:
    with pytest.raises(CannotEstimate, match="no switch"):
        collectives.all_reduce(CATALOGUE.accelerator("nvidia-l40s"), 8, 1e9, "in-switch", 50e9, MID)


def test_a_phase_that_waits_a_fifth_for_links_takes_a_quarter_longer_on_an_h800() -> None:
    assert collectives.relative_phase_time(H800, 0.2) == pytest.approx(0.8 + 0.2 * 450 / 200)
    assert collectives.relative_phase_time(H200, 0.7) == pytest.approx(1.0)
    with pytest.raises(CannotEstimate, match="between 0 and 1"):
        collectives.relative_phase_time(H800, 20)
