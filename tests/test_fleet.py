"""Many GPUs: one record a host, and a rule that names the slow ones and nobody else."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from gpubench.benchmarks import collectives
from gpubench.comparing import fleet
from gpubench.model import Block, Case, Caution, Measurement, Work
from gpubench.records import RunRecord


def measurement(rate: float, benchmark: str = "bandwidth", **parameters: Any) -> Measurement:
    """Of a call that moves a gigabyte."""
    seconds = 1e9 / rate
    pair = parameters.get("collective") == collectives.PAIR
    work = Work(wire_bytes=1e9) if pair else Work(bytes=1e9)
    case = Case(benchmark, "triton", parameters)
    return Measurement(case, 1, work, (Block((seconds,) * 3),) * 6, 1, 0.0)


def record(name: str, *measurements: Measurement) -> RunRecord:
    return RunRecord(f"id-{name}", "2026", "a", {"hostname": name}, measurements=measurements)


def host(name: str, rates: list[float]) -> RunRecord:
    of_gpus = [(0, gpu, record(name, measurement(rate))) for gpu, rate in enumerate(rates)]
    return fleet.merged(of_gpus)[0]


def test_the_ranks_of_a_host_become_one_record() -> None:
    broken = replace(record("b"), failures={"gemm": "no"}, cautions=(Caution("mig-slice", "half"),))
    ranks = [
        (1, 0, record("b", measurement(1e12))),
        (0, 1, record("a", measurement(2e12))),
        (0, 0, record("a", measurement(1e12))),
        (1, 1, broken),
    ]
    a, b = fleet.merged(ranks)
    assert [found.case.parameters for found in a.measurements] == [{"gpu": 0}, {"gpu": 1}]
    assert [found.case.parameters for found in b.measurements] == [{"gpu": 0}]
    assert b.failures == {"gemm gpu=1": "no"}
    assert b.cautions == broken.cautions
    assert (a.id, b.id) == ("id-a", "id-b")


def test_a_host_with_one_rank_keeps_its_record() -> None:
    alone = record("a", measurement(1e12))
    (found,) = fleet.merged([(0, 0, alone)])
    assert (found.id, found.measurements) == (alone.id, alone.measurements)
    assert (found.environment["ranks"], found.environment["host"]) == ("1", "1 of 1")


def test_one_slow_gpu_is_named_with_its_host_and_share() -> None:
    hosts = [host("a", [4.1e12, 4.12e12]), host("b", [4.11e12, 3.2e12])]
    (found,) = fleet.slow(hosts)
    assert (found.record, found.what) == ("id-b", "GPU 1")
    assert found.of_median == pytest.approx(3.2 / 4.105, rel=1e-3)
    assert "GPU 1 of b is slow: 3.2 TB/s" in found.fact
    marked = fleet.marked(hosts)
    assert [caution.code for caution in marked[1].cautions] == ["slow"]
    assert marked[0].cautions == ()


def test_a_fleet_that_is_all_but_equal_has_nobody_slow() -> None:
    # The last is far from the median in units of a tiny spread, but within a tenth of the best.
    assert fleet.slow([host("a", [4.100e12, 4.101e12, 4.102e12, 3.9e12])]) == ()


def test_a_fleet_that_varies_anyway_has_nobody_slow() -> None:
    # More than a tenth below the best, but no further from the median than others.
    assert fleet.slow([host("a", [1.0e12, 1.2e12, 1.4e12, 1.6e12, 1.8e12])]) == ()


def test_two_devices_cannot_tell_which_is_slow() -> None:
    assert fleet.slow([host("a", [4e12, 2e12])]) == ()


def test_of_a_thousand_normal_gpus_hardly_any_is_called_slow() -> None:
    chance = random.Random(1)
    rates = [chance.gauss(4e12, 0.02e12) for _ in range(1000)]
    assert len(fleet.slow([host("a", rates)])) == 0
    rates[17] = 3.4e12
    assert [one.what for one in fleet.slow([host("a", rates)])] == ["GPU 17"]


def test_cases_are_compared_with_their_like_alone() -> None:
    each = [measurement(4e12, pattern="read"), measurement(3e12, pattern="copy")]
    ranks = [(0, gpu, record("a", *each)) for gpu in range(4)]
    assert fleet.slow(fleet.merged(ranks)) == ()


@pytest.mark.parametrize(
    ("slow", "named", "ways"),
    [
        ((1, 3, 1), "the link from rank 1 to rank 3 of a is slow", "in one direction"),
        ((3, 1, 1), "the link from rank 3 to rank 1 of a is slow", "in one direction"),
        ((1, 3, 2), "the link between ranks 1 and 3 of a is slow", "in both directions"),
    ],
)
def test_a_slow_link_is_named_by_its_way(slow: tuple[int, ...], named: str, ways: str) -> None:
    def copy(source: int, target: int, directions: int) -> Measurement:
        rate = 0.2e12 if (source, target, directions) == slow else 0.4e12
        ends = {"source": source, "target": target, "directions": directions, "bytes": 2**30}
        return measurement(rate, "collectives", collective=collectives.PAIR, dtype="bf16", **ends)

    (found,) = fleet.slow([record("a", *(copy(*way) for way in collectives._pairs(4, "full")))])
    assert named in found.fact
    assert ways in found.fact
    assert "of the median of " + ("12" if slow[2] == 1 else "6") in found.fact


def test_links_inside_a_host_and_between_hosts_are_no_peers() -> None:
    def pair(source: int, rate: float) -> Measurement:
        ends = {"source": source, "target": source + 1, "directions": 1, "bytes": 2**30}
        more = {"collective": collectives.PAIR, "dtype": "bf16", "ranks": 16, "hosts": 2}
        return measurement(rate, "collectives", **more, **ends)

    pairs = [pair(source, 0.04e12 if source == 7 else 0.4e12) for source in range(15)]
    assert fleet.slow([record("a", *pairs)]) == ()
    pairs[11] = pair(11, 0.2e12)
    (found,) = fleet.slow([record("a", *pairs)])
    assert "from rank 11 to rank 12 (host 2)" in found.fact


def test_a_slow_way_between_hosts_names_both() -> None:
    def back(source: int, rate: float) -> Measurement:
        ends = {"source": source, "target": source - 8, "directions": 1, "bytes": 2**30}
        more = {"collective": collectives.PAIR, "dtype": "bf16", "ranks": 16, "hosts": 2}
        return measurement(rate, "collectives", **more, **ends)

    copies = [back(source, 0.02e12 if source == 9 else 0.04e12) for source in range(8, 16)]
    (found,) = fleet.slow([record("a", *copies)])
    assert "from rank 9 to rank 1 (hosts 2 to 1)" in found.fact
