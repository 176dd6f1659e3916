"""Collectives against the ring's closed form and published bus bandwidths."""

from __future__ import annotations

import csv
import statistics

import pytest

from gpubench import catalogue
from gpubench.catalogue.reading import DATA
from gpubench.errors import CannotEstimate
from gpubench.roofline import calibration, ceilings, collectives

CATALOGUE = catalogue.load()
MID = calibration.load().mid
H200, H800 = (CATALOGUE.accelerator(name) for name in ("nvidia-h200-sxm", "nvidia-h800-sxm5"))
TABLE = DATA / "collectives_published.csv"
SIXTEEN_GIB = 16 * 2.0**30


def bus_bandwidth(reduction: str, message: float = SIXTEEN_GIB) -> float:
    timed = collectives.all_reduce(H200, 8, message, reduction, 50e9, MID)
    return collectives.bus_bandwidth(message, 8, timed.seconds)


def test_a_ring_of_eight_sends_seven_quarters_of_the_message() -> None:
    assert ceilings.ring_factor(8) == 1.75
    assert ceilings.ring_factor(2) == 1.0


def test_eight_h200_reach_the_published_bus_bandwidths() -> None:
    # stas00/ml-engineering, network/README: 368 GB/s with rings, 482 GB/s reducing in the switch.
    assert bus_bandwidth("ring") == pytest.approx(368e9, rel=0.03)
    assert bus_bandwidth("in-switch") == pytest.approx(482e9, rel=0.03)


def test_small_messages_wait_for_latency() -> None:
    timed = collectives.all_reduce(H200, 8, 8192, "ring", 50e9, MID)
    assert timed.binding == "overhead"
    assert bus_bandwidth("ring", 8192) < 0.01 * bus_bandwidth("ring")


def test_beyond_a_node_the_slower_of_links_and_network_takes_its_time() -> None:
    within = collectives.all_reduce(H200, 8, SIXTEEN_GIB, "ring", 50e9, MID).seconds
    beyond = collectives.network_seconds(64, SIXTEEN_GIB, 50e9, MID)
    # A ring over eight nodes on an eighth of the message.
    assert beyond == pytest.approx(1.75 * SIXTEEN_GIB / 8 / (50e9 * MID.network_efficiency), 0.01)
    for network in (5e9, 50e9, 500e9):
        beyond = collectives.network_seconds(64, SIXTEEN_GIB, network, MID)
        whole = collectives.all_reduce(H200, 64, SIXTEEN_GIB, "ring", network, MID)
        assert whole.seconds == pytest.approx(max(within, beyond))


def published() -> list[tuple[str, int, int, str, float, float, float]]:
    """(GPU, devices, nodes, algorithm, network in B/s, message, busbw) from 1 GiB on."""
    found = []
    for row in csv.DictReader(TABLE.read_text("utf-8").splitlines()):
        if row["collective"] == "all_reduce" and float(row["message_bytes"]) >= 2**30:
            network = float(row["network_gbit_s_per_gpu"] or 400) / 8 * 1e9
            sizes = int(row["num_gpus"]), int(row["nodes"])
            figures = float(row["message_bytes"]), float(row["busbw_gb_s"]) * 1e9
            found.append((row["gpu"], *sizes, row["algorithm"], network, *figures))
    return found


def predicted(row: tuple[str, int, int, str, float, float, float]) -> float:
    gpu, devices, _, algorithm, network, message, _ = row
    part = CATALOGUE.accelerator(gpu)
    ways = {"ring": ["ring"], "nvls": ["in-switch"]}.get(algorithm, ["ring"])
    if algorithm == "unknown" and ceilings.reduces_in_switch(part):
        ways.append("in-switch")  # the library takes the faster one
    times = [
        collectives.all_reduce(part, devices, message, way, network, MID).seconds for way in ways
    ]
    return collectives.bus_bandwidth(message, devices, min(times))


@pytest.mark.parametrize("gpu", ["nvidia-h100-sxm5", "nvidia-h200-sxm", "nvidia-a100-80gb-sxm4"])
def test_published_all_reduces_of_eight_come_out_within_a_tenth(gpu: str) -> None:
    rows = [row for row in published() if row[:3] == (gpu, 8, 1)]
    assert len(rows) >= 5
    for row in rows:
        assert predicted(row) == pytest.approx(row[-1], rel=0.10), row


@pytest.mark.parametrize("devices", [2, 4, 5, 6, 7, 8])
def test_reduction_in_the_switch_follows_the_number_of_devices(devices: int) -> None:
    hopper = ("nvidia-h100-sxm5", "nvidia-h200-sxm")
    rows = [r for r in published() if r[0] in hopper and r[1:4] == (devices, 1, "nvls")]
    assert rows
    assert statistics.median(predicted(row) / row[-1] for row in rows) == pytest.approx(1, abs=0.03)


def test_published_all_reduces_over_nodes_come_out_within_a_quarter() -> None:
    rows = [r for r in published() if r[2] in (2, 4, 8) and r[0].startswith(("nvidia-h", "amd"))]
    ratios = [
        predicted(row) / row[-1] for row in rows if row[3] != "ring" or row[0] != "nvidia-h100-sxm5"
    ]
    assert len(ratios) > 40
    assert statistics.median(abs(ratio - 1) for ratio in ratios) < 0.15


def test_devices_must_fill_their_nodes() -> None:
    with pytest.raises(CannotEstimate, match="do not fill nodes"):
        collectives.network_seconds(12, 1e9, 50e9, MID)


@pytest.mark.parametrize("name", ["nvidia-l40s", "nvidia-a100-80gb-sxm4", "amd-mi300x"])
def test_a_part_without_a_switch_that_adds_cannot_reduce_in_it(name: str) -> None:
    with pytest.raises(CannotEstimate, match="no switch"):
        collectives.all_reduce(CATALOGUE.accelerator(name), 8, 1e9, "in-switch", 50e9, MID)


def test_a_phase_that_waits_a_fifth_for_links_takes_a_quarter_longer_on_an_h800() -> None:
    assert collectives.relative_phase_time(H800, H200, 0.2) == pytest.approx(0.8 + 0.2 * 450 / 200)
    assert collectives.relative_phase_time(H200, H200, 0.7) == pytest.approx(1.0)
    with pytest.raises(CannotEstimate, match="between 0 and 1"):
        collectives.relative_phase_time(H800, H200, 20)
