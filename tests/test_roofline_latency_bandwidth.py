"""Latency and rate behind a sweep: found again where they are known, and on published sweeps."""

from __future__ import annotations

import csv
import random
from collections import defaultdict

import pytest

from gpubench.catalogue.reading import DATA
from gpubench.errors import CannotEstimate
from gpubench.roofline.latency_bandwidth import LatencyBandwidth, fit

TABLE = DATA / "collectives_published.csv"
SIZES = [2.0**power for power in range(3, 35)]
GB = 2.0**30


@pytest.mark.parametrize("transition", [0.5, 2.0])
def test_what_made_a_sweep_is_found_again(transition: float) -> None:
    known = LatencyBandwidth(15e-6, 280e9, transition)
    found = fit([(size, known.seconds(size)) for size in SIZES])
    assert found.latency_s == pytest.approx(known.latency_s, rel=0.01)
    assert found.rate == pytest.approx(known.rate, rel=0.01)
    assert found.transition == pytest.approx(known.transition, rel=0.02)


def test_one_odd_size_moves_little() -> None:
    known, chance = LatencyBandwidth(15e-6, 280e9, 1.0), random.Random(1)
    points = [(size, known.seconds(size) * chance.uniform(0.98, 1.02)) for size in SIZES]
    points[20] = (points[20][0], 5 * points[20][1])
    found = fit(points)
    assert found.latency_s == pytest.approx(known.latency_s, rel=0.05)
    assert found.rate == pytest.approx(known.rate, rel=0.05)


def test_two_sizes_give_a_line() -> None:
    found = fit([(1e3, 10e-6 + 1e3 / 1e9), (1e6, 10e-6 + 1e6 / 1e9)])
    assert found.transition == 0
    assert found.seconds(1e9) == pytest.approx(10e-6 + 1, rel=1e-3)


@pytest.mark.parametrize("points", [[], [(8.0, 1e-5)], [(8.0, 0.0), (16.0, 1e-5)]])
def test_too_little_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(CannotEstimate, match=r"two sizes|above zero"):
        fit(points)


def sweeps() -> dict[tuple[str, str, int, int, str], list[tuple[float, float]]]:
    """Published all-reduces run by run: (message, seconds), from busbw where no time is printed."""
    found = defaultdict(list)
    for row in csv.DictReader(TABLE.read_text("utf-8").splitlines()):
        size, gpus = float(row["message_bytes"]), int(row["num_gpus"])
        bus = float(row["busbw_gb_s"] or 0)
        # Small messages print as 0.00 or 0.01 GB/s, which says nothing of their time.
        seconds = float(row["time_s"] or 0) or (bus >= 0.5 and size * factor(gpus) / bus * 1e-9)
        if row["collective"] == "all_reduce" and seconds and size:
            key = (row["source_id"], row["gpu"], gpus, int(row["nodes"]), row["algorithm"])
            found[key].append((size, float(seconds)))
    return {key: points for key, points in found.items() if len(dict(points)) >= 12}


def factor(gpus: int) -> float:
    return 2 * (gpus - 1) / gpus


@pytest.mark.parametrize("gpu", ["nvidia-h100-sxm5", "nvidia-h200-sxm", "nvidia-a100-80gb-sxm4"])
def test_published_sweeps_of_eight_are_met_within_a_tenth_from_a_gigabyte_on(gpu: str) -> None:
    chosen = {key: points for key, points in sweeps().items() if key[1:4] == (gpu, 8, 1)}
    assert chosen
    for key, points in chosen.items():
        found = fit(points)
        large = [(size, seconds) for size, seconds in points if size >= GB]
        for size, seconds in large:
            assert found.seconds(size) == pytest.approx(seconds, rel=0.10), key


def test_over_all_sizes_and_all_published_sweeps_the_mean_error_is_a_tenth() -> None:
    errors = [
        abs(found.seconds(size) / seconds - 1)
        for points in sweeps().values()
        for found in (fit(points),)
        for size, seconds in points
    ]
    assert len(errors) > 900
    assert sum(errors) / len(errors) < 0.10
