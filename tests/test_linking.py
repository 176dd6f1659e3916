"""The links of a host: who is asked, how often, and what of the answers is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpubench import linking, measuring, run
from gpubench.beginning import Request
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure
from gpubench.launching import Gathered
from gpubench.measuring import Device, nccl_log
from gpubench.model import Block, Case, Measurement
from gpubench.records import RunRecord

GIB = 2**30
H200 = Device("cuda", "NVIDIA H200", accelerator="nvidia-h200-sxm", memory_free=140 * GIB)
RECORD = RunRecord("id", "2026", "nvidia-h200-sxm", {}, suite="standard")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def _gpus(count: int) -> None:
        cuda = SimpleNamespace(device_count=lambda: count)
        monkeypatch.setattr(measuring, "import_torch", lambda: SimpleNamespace(cuda=cuda))

    return _gpus


def request(**more: Any) -> Request:
    return Request(Path("claims.yaml"), Path("results"), **more)


class Launch:
    """Plays `measured_by_ranks`: notes what is asked, and answers with one all-reduce."""

    def __init__(self, problem: str = "", log: str = "") -> None:
        self.problem, self.log = problem, log
        self.asked: list[dict[str, Any]] = []

    def __call__(self, count: int, device: str, *_: Any, **more: Any) -> Gathered:
        self.asked.append({"count": count, "device": device, **more})
        off = {"nvls": "off"} if "variables" in more and not more.get("once") else {}
        parameters = {"collective": "all_reduce", "bytes": GIB, "dtype": "bf16", "hosts": 1}
        case = Case("collectives", "nccl", {**parameters, "ranks": count, **off})
        found = Measurement(case, 1, collectives.work(case.parameters), (Block((4e-3,)),), 1, 0.0)
        record = RunRecord("x", "2026", "", {}, measurements=(found,))
        return Gathered(record, self.problem, self.log)


def test_each_gpu_of_the_host_is_a_rank_and_large_sums_are_taken_without_the_switch_too(
    gpus: Callable[[int], None],
) -> None:
    gpus(8)
    launch = Launch(
        log=f"AllReduce: {GIB} Bytes -> Algo NVLS proto SIMPLE channel{{Lo..Hi}}={{0..15}}"
    )
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch)
    assert [asked["count"] for asked in launch.asked] == [8, 8, 8]
    assert launch.asked[1]["once"]
    assert launch.asked[1]["variables"] == nccl_log.VARIABLES
    assert launch.asked[2]["variables"] == {"NCCL_NVLS_ENABLE": "0"}
    first, second = record.measurements
    assert first.choices == {"algorithm": "NVLS", "protocol": "SIMPLE"}
    assert second.case.parameters["nvls"] == "off"
    assert second.choices == {}
    assert record.failures == {}


def test_without_a_switch_that_reduces_nothing_is_taken_twice(
    gpus: Callable[[int], None],
) -> None:
    gpus(8)
    a100 = Device("cuda", "A100", accelerator="nvidia-a100-80gb-sxm4", memory_free=70 * GIB)
    launch = Launch()
    linking.with_links(RECORD, a100, request(device="cuda"), lambda _: None, launch)
    assert ["variables" in asked for asked in launch.asked] == [False, True]
    assert launch.asked[1]["once"]


def test_one_gpu_is_an_answer_and_no_failure(gpus: Callable[[int], None]) -> None:
    gpus(1)
    launch = Launch()
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch)
    assert launch.asked == []
    assert record.failures == {}
    assert [caution.fact for caution in record.cautions] == [collectives.NEEDS_TWO]


def test_more_ranks_than_gpus_are_refused(gpus: Callable[[int], None]) -> None:
    gpus(2)
    with pytest.raises(CannotMeasure, match="3 ranks need as many GPUs, and this host has 2"):
        linking.ranks(request(device="cuda", ranks=3), H200)


def test_why_the_ranks_ended_is_a_failure_beside_what_they_left(
    gpus: Callable[[int], None],
) -> None:
    gpus(2)
    launch = Launch(problem="rank 1: out of memory")
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch)
    assert record.failures == {"collectives": "rank 1: out of memory"}
    assert len(record.measurements) == 1


def test_a_record_that_has_its_collectives_is_not_measured_again(
    gpus: Callable[[int], None],
) -> None:
    gpus(2)
    launch = Launch()
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch)
    again = Launch()
    assert linking.with_links(record, H200, request(device="cuda"), lambda _: None, again) == record
    assert again.asked == []


def test_a_quick_look_at_a_processor_leaves_links_out_unless_asked() -> None:
    cpu = Device("cpu", "a processor")
    assert not linking.wanted(request(suite="quick"), cpu)
    assert linking.wanted(request(suite="quick", ranks=2), cpu)
    assert linking.wanted(request(suite="standard"), cpu)
    assert linking.wanted(request(benchmarks=("collectives",), suite="quick"), cpu)
    assert not linking.wanted(request(benchmarks=("bandwidth",)), cpu)


def test_a_plan_names_the_collectives_of_the_ranks(shipped: Catalogue) -> None:
    asked = request(device="cpu", suite="standard", benchmarks=("collectives",), ranks=3)
    steps, left_out = run.planned(asked, shipped)
    assert {step.planned.case.parameters["ranks"] for step in steps} == {3}
    assert {step.planned.case.method for step in steps} == {"gloo"}
    assert left_out == ""


def test_what_nccl_says_is_read_in_words_and_numbers() -> None:
    log = (
        "host:1:2 [0] NCCL INFO AllReduce: 1024 Bytes -> Algo TREE proto LL channel\n"
        "host:1:2 [0] NCCL INFO AllGather: 512 Bytes -> Algo 1 proto 2 time 1.0\n"
        "host:1:2 [0] NCCL INFO SendRecv: 512 Bytes -> Algo 1 proto 2\n"
    )
    assert nccl_log.choices(log, 4) == {
        ("all_reduce", 1024): ("TREE", "LL"),
        ("all_gather", 2048): ("RING", "SIMPLE"),
    }
