"""Collectives: bytes by the convention of nccl-tests, numbers whose sums are exact, ceilings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpubench import benchmarks
from gpubench.benchmarks import collectives
from gpubench.errors import CannotMeasure
from gpubench.measuring import Device
from gpubench.measuring.group import Place, Prospect
from gpubench.model import Case

GIB = 2**30


def device(ranks: int = 8, hosts: int = 1, accelerator: str | None = "nvidia-h200-sxm") -> Device:
    where = Place(0, ranks, 0, ranks // hosts, 0, hosts)
    group = Prospect(where, "nccl")
    return Device("cuda", "a card", accelerator=accelerator, memory_free=140 * GIB, group=group)


def case(collective: str, ranks: int = 8, size: int = GIB, **more: Any) -> Case:
    parameters = {"collective": collective, "bytes": size, "dtype": "bf16", "ranks": ranks}
    return Case("collectives", "nccl", {**parameters, "hosts": 1, **more})


@pytest.mark.parametrize(
    ("collective", "factor"),
    # doc/PERFORMANCE.md of nccl-tests, for eight ranks
    [
        ("all_reduce", 1.75),
        ("all_gather", 0.875),
        ("reduce_scatter", 0.875),
        ("all_to_all", 0.875),
        ("broadcast", 1.0),
    ],
)
def test_bytes_follow_the_bus_convention(collective: str, factor: float) -> None:
    assert collectives.work(case(collective).parameters).wire_bytes == factor * GIB


def test_482_gb_s_on_eight_h200_is_not_107_percent_of_physics() -> None:
    # 482 GB/s in the switch and 368 GB/s in a ring: ml-engineering, network/README, 8x H200.
    limit = collectives.ceilings(case("all_reduce"), device()).wire
    assert limit == pytest.approx(700e9)
    assert limit > 482e9
    two = collectives.ceilings(case("all_reduce", ranks=2), device(2)).wire
    assert two == pytest.approx(450e9)  # between two, the switch has nothing to save
    ring = collectives.ceilings(case("all_reduce", nvls="off"), device()).wire
    assert ring == pytest.approx(450e9)
    assert collectives.ceilings(case("all_gather"), device()).wire == pytest.approx(450e9)


def test_both_directions_between_two_cards_may_reach_what_the_data_sheet_adds_up() -> None:
    both = case(collectives.PAIR, source=0, target=1, directions=2, links="switch")
    assert collectives.ceilings(both, device()).wire == pytest.approx(900e9)
    assert benchmarks.quantity(both) == "interconnect_bandwidth"
    one = case(collectives.PAIR, source=0, target=1, directions=1, links="switch")
    assert collectives.ceilings(one, device()).wire == pytest.approx(450e9)
    assert benchmarks.quantity(one) == ""


def test_nothing_is_known_of_ceilings_across_hosts_or_of_unknown_cards() -> None:
    across = case("all_reduce", hosts=2)
    assert collectives.ceilings(across, device(16, 2)).wire is None
    assert collectives.ceilings(case("all_reduce"), device(accelerator=None)).wire is None


def test_a_device_alone_plans_nothing_and_says_what_it_needs() -> None:
    alone = Device("cuda", "a card")
    assert collectives.plan(alone, "full") == ()
    with pytest.raises(CannotMeasure, match="need two GPUs, and this host has one"):
        collectives.prepare(case("all_reduce"), alone, 0)


def test_the_full_sweep_runs_from_eight_bytes_to_the_memory_that_is_free() -> None:
    cases = [planned.case.parameters for planned in collectives.plan(device(), "full")]
    sweep = [p["bytes"] for p in cases if p["collective"] == "all_reduce" and p["dtype"] == "bf16"]
    assert min(sweep) == 8
    assert max(sweep) == 16 * GIB
    assert {p["dtype"] for p in cases} == {"fp16", "bf16", "fp32"}


@pytest.mark.parametrize("switch", [True, False])
@pytest.mark.parametrize("suite", ["quick", "standard", "full"])
def test_nothing_is_planned_whose_copies_the_free_memory_does_not_hold(
    suite: str, switch: bool
) -> None:
    small = replace(collectives.prospect(device(), 8, switch), memory_free=GIB)
    sizes = [p.case.parameters["bytes"] for p in collectives.plan(small, suite)]
    assert sizes
    assert all(4 * size <= GIB for size in sizes)
    told = dict(collectives.left_out(small, suite))
    assert bool(told) == (suite != "quick")
    for what, why in told.items():
        assert "all_reduce of 8.59 GB" in what.split(", ")
        assert why == "does not fit beside its checks into the 1.07 GB that are free"


@pytest.mark.parametrize(("suite", "joined"), [("quick", 0), ("standard", 7), ("full", 28)])
def test_each_link_is_measured_there_and_back_and_both_ways_at_once(
    suite: str, joined: int
) -> None:
    cases = [planned.case.parameters for planned in collectives.plan(device(), suite)]
    pairs = [
        (p["source"], p["target"], p["directions"])
        for p in cases
        if p["collective"] == collectives.PAIR
    ]
    assert len(set(pairs)) == len(pairs) == 3 * joined  # of eight ranks
    alone = {(source, target) for source, target, directions in pairs if directions == 1}
    assert {(target, source) for source, target in alone} == alone
    both = {(source, target) for source, target, directions in pairs if directions == 2}
    assert both == {(source, target) for source, target in alone if source < target}


def test_a_copy_says_where_it_comes_from_and_one_both_ways_does_not() -> None:
    back = {"source": 3, "target": 1, "directions": 1}
    assert collectives.ends(back) == "from rank 3 to rank 1"
    assert collectives.ends({**back, "directions": 2}) == "between ranks 3 and 1"


@pytest.mark.parametrize("ranks", [2, 3, 7, 16])
@pytest.mark.parametrize("collective", ["all_gather", "reduce_scatter", "all_to_all"])
def test_what_is_split_splits_into_whole_elements(collective: str, ranks: int) -> None:
    size = collectives._whole(collective, 10**6 + 1, "fp16", ranks)
    assert size % (2 * ranks) == 0
    assert 0 <= 10**6 + 1 - size < 2 * ranks


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("collective", ["all_reduce", "all_gather"])
@pytest.mark.parametrize("ranks", [2, 3, 5, 7, 8, 12, 13, 16, 64, 128])
def test_sums_are_exact_and_show_a_rank_left_out_or_counted_twice(
    collective: str, dtype: str, ranks: int
) -> None:
    torch = pytest.importorskip("torch")
    here = Case("collectives", "gloo", {"collective": collective, "dtype": dtype, "ranks": ranks})
    parts = [collectives._numbers(torch, 0, 500, rank, here, "cpu") for rank in range(ranks)]
    whole = torch.stack(parts).sum(0)
    kind = getattr(torch, collectives._TYPES[dtype][0])
    assert all(torch.equal(part.to(kind).double(), part) for part in parts)
    if collective == "all_reduce":
        total = torch.zeros(500, dtype=kind)
        for part in parts:
            total += part.to(kind)
        assert torch.equal(total.double(), whole)
    assert len({tuple(part.tolist()) for part in parts}) == ranks
    assert len({tuple(part[:250].tolist()) for part in parts}) == ranks
    assert whole.unique().numel() > 10  # a place of the sum tells which one it is
    assert not torch.equal(whole, whole.flip(0))


def test_the_parts_of_ranks_in_a_piece_of_the_output() -> None:
    assert collectives._by_rank(5, 25, 10) == [(0, 5, 10), (1, 0, 10), (2, 0, 5)]
    assert collectives._by_rank(10, 20, 10) == [(1, 0, 10)]


def test_ranks_that_may_not_reduce_in_the_switch_take_the_large_all_reduces_alone() -> None:
    alone = Device("cuda", "a card", accelerator="nvidia-h200-sxm", memory_free=140 * GIB)
    planned = collectives.plan(collectives.prospect(alone, 8, switch=False), "standard")
    found = [one.case.parameters for one in planned]
    assert found
    assert {p["collective"] for p in found} == {"all_reduce"}
    assert {p["nvls"] for p in found} == {"off"}
    assert min(p["bytes"] for p in found) >= 2**20
    a100 = Device("cuda", "a card", accelerator="nvidia-a100-80gb-sxm4", memory_free=70 * GIB)
    assert collectives.plan(collectives.prospect(a100, 8, switch=False), "full") == ()
