"""Ranks find their place, agree on what they run, and share one clock."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest

from gpubench.errors import CannotMeasure, DeviceLost, WrongResult
from gpubench.measuring import group
from gpubench.measuring.group import Group, GroupClock, Place, place
from tests.fake_clock import FakeClock

MEET = {"MASTER_ADDR": "first", "MASTER_PORT": "29500"}


def test_torchrun_tells_rank_host_and_sizes() -> None:
    told = {
        **MEET,
        "RANK": "13",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "5",
        "LOCAL_WORLD_SIZE": "8",
        "GROUP_RANK": "1",
        "GROUP_WORLD_SIZE": "2",
    }
    assert place(told) == Place(13, 16, 5, 8, 1, 2)


def test_slurm_writes_tasks_per_node_in_its_own_way() -> None:
    told = {
        **MEET,
        "SLURM_PROCID": "9",
        "SLURM_STEP_NUM_TASKS": "16",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "8(x2)",
        "SLURM_NODEID": "1",
        "SLURM_STEP_NUM_NODES": "2",
    }
    assert place(told) == Place(9, 16, 1, 8, 1, 2)


def test_open_mpi_leaves_hosts_to_be_counted() -> None:
    told = {
        **MEET,
        "OMPI_COMM_WORLD_RANK": "5",
        "OMPI_COMM_WORLD_SIZE": "8",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    }
    assert place(told) == Place(5, 8, 1, 4, 1, 2)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"WORLD_SIZE": "8"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"},  # a batch script, not a step
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", **MEET},
    ],
)
def test_who_was_not_started_as_one_of_several_is_alone(told: dict[str, str]) -> None:
    assert place(told) is None


def test_ranks_without_a_meeting_place_are_told_so() -> None:
    told = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "1"}
    with pytest.raises(CannotMeasure, match="Slurm started 2 ranks, but no MASTER_ADDR"):
        place(told)


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", port)
        with pytest.raises(CannotMeasure, match=f"port {port} is in use on this host"):
            group.join(Place(0, 2, 0, 2, 0, 1), None, torch, timeout_s=2)


def test_ranks_that_never_come_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", port)
    with pytest.raises(CannotMeasure, match="rank 0 of 2 did not meet the others within 1 s"):
        group.join(Place(0, 2, 0, 2, 0, 1), None, torch, timeout_s=1)


SAME = {"gpubench": "1", "torch": "2", "device": "GPU-1"}


def test_two_ranks_on_one_gpu_are_refused() -> None:
    told = [SAME, {**SAME, "device": "GPU-2"}, SAME]
    found = group._differing(Place(2, 3, 2, 3, 0, 1), told)
    assert "ranks 0 and 2 have the same GPU" in str(found)
    assert group._differing(Place(1, 3, 1, 3, 0, 1), told) is None


def test_what_differs_is_named_on_the_rank_that_differs() -> None:
    told = [SAME, {**SAME, "device": "GPU-2", "torch": "3"}]
    assert "torch is 3 here and 2 on rank 0" in str(group._differing(Place(1, 2, 1, 2, 0, 1), told))
    assert group._differing(Place(0, 2, 0, 2, 0, 1), told) is None


# --------------------------------------------------------------------------- the clock


class Others(Group):
    """A group of three whose other ranks take twice and half as long as this one."""

    def __init__(self, problems: Sequence[Any] = ()) -> None:
        self.place = Place(0, 3, 0, 3, 0, 1)
        self.problems, self.waited = problems, 0

    def gather(self, mine: Any) -> list[Any]:
        return [mine, *self.problems]

    def times(self, mine: Sequence[float]) -> list[list[float]]:
        return [list(mine), [2 * each for each in mine], [each / 2 for each in mine]]

    def of_first(self, mine: float) -> float:
        return mine

    def barrier(self) -> None:
        self.waited += 1


def test_a_sample_of_a_group_is_that_of_its_slowest_rank() -> None:
    each = FakeClock(lambda _time, _calls: 1e-3)
    shared = GroupClock(others := Others(), each)
    found = shared.samples(lambda: None, 4, 5)
    assert found == pytest.approx([2e-3] * 5)
    assert others.waited == 1
    told = shared.findings()
    assert told["slowest_rank"] == 1
    assert told["rank_seconds"] == pytest.approx([1e-3, 2e-3, 0.5e-3])


def test_a_problem_of_any_rank_is_raised_in_all_with_its_class() -> None:
    Others([None, None]).together(None)
    with pytest.raises(WrongResult, match=r"rank 1 \(and on 1 others\): a sum is wrong"):
        Others([(WrongResult, "a sum is wrong"), (CannotMeasure, "too")]).together(None)


def test_what_torch_says_of_ranks_that_are_gone_becomes_a_sentence() -> None:
    with (
        pytest.raises(DeviceLost, match=r"broke while adding: a rank ended or hung \(reset\)"),
        group.broken_group_told("adding"),
    ):
        raise RuntimeError("reset\nby peer")
