"""The links of a host: who is asked, how often, and what of the answers is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpubench import claims, measuring
from gpubench.benchmarks import collectives
from gpubench.catalogue import Catalogue
from gpubench.errors import CannotMeasure
from gpubench.measuring import Device, nccl_log
from gpubench.model import Block, Measurement
from gpubench.records import Asked, RunRecord, case_key
from gpubench.running import beginning, linking, run
from gpubench.running.beginning import Request
from gpubench.running.launching import Gathered
from tests.devices import H200

GIB = 2**30
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
    """Plays `measured_by_ranks`: notes what is asked, and answers with all that is missing of the
    plan, but for the cases in `without`.
    """

    def __init__(
        self, problem: str = "", log: str = "", without: tuple[int, ...] = (), on: Device = H200
    ) -> None:
        self.problem, self.log, self.without, self.on = problem, log, without, on
        self.asked: list[dict[str, Any]] = []

    def __call__(self, count: int, device: str, suite: str, *_: Any, **more: Any) -> Gathered:
        self.asked.append({"count": count, "device": device, **more})
        switch = "NCCL_NVLS_ENABLE" not in more["variables"]
        planned = collectives.plan(collectives.prospect(self.on, count, switch), suite)
        before = more["before"].measurements if more.get("before") else ()
        kept = {case_key(m.case, m.phase): m for m in before}
        for one in planned:
            work = collectives.work(one.case.parameters)
            found = Measurement(one.case, 1, work, (Block((4e-3,)),), 1, 0.0)
            if one.case.parameters["bytes"] not in self.without:
                kept.setdefault(case_key(one.case, found.phase), found)
        record = RunRecord("x", "2026", "", {}, measurements=tuple(kept.values()))
        if more.get("keep"):
            more["keep"](record)
        return Gathered(record, self.problem, self.log)


def test_each_gpu_of_the_host_is_a_rank_and_large_sums_are_taken_without_the_switch_too(
    gpus: Callable[[int], None],
) -> None:
    gpus(8)
    launch = Launch(
        log=f"AllReduce: {GIB} Bytes -> Algo NVLS proto SIMPLE channel{{Lo..Hi}}={{0..15}}"
    )
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch=launch)
    assert [asked["count"] for asked in launch.asked] == [8, 8, 8]
    assert launch.asked[1]["once"]
    assert launch.asked[1]["variables"] == nccl_log.VARIABLES
    off = {"NCCL_NVLS_ENABLE": "0", "GPUBENCH_WITHOUT_SWITCH": "1"}
    assert launch.asked[2]["variables"] == off
    told = [m for m in record.measurements if m.choices]
    assert {m.case.parameters["bytes"] for m in told} == {GIB}
    assert told[0].choices == {"algorithm": "NVLS", "protocol": "SIMPLE"}
    again = [m for m in record.measurements if m.case.parameters.get("nvls") == "off"]
    assert again
    assert not any(m.choices for m in again)
    assert record.failures == {}


def test_whoever_keeps_the_library_from_the_switch_is_not_asked_twice(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(8)
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    launch = Launch()
    linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch=launch)
    assert not any("GPUBENCH_WITHOUT_SWITCH" in asked["variables"] for asked in launch.asked)


@pytest.mark.parametrize("switched", [True, False])
def test_a_dry_run_counts_what_is_measured(
    gpus: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    shipped: Catalogue,
    switched: bool,
) -> None:
    gpus(8)
    if not switched:
        monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    monkeypatch.setattr(beginning, "begun", lambda *_: (RECORD, H200))
    steps, left_out = run.planned(request(device="cuda", benchmarks=("collectives",)), shipped)
    assert left_out == ""  # of what nobody asked for
    told = [case_key(step.planned.case, "burst") for step in steps]
    measured = linking.with_links(RECORD, H200, request(), lambda _: None, launch=Launch())
    assert told == [case_key(m.case, m.phase) for m in measured.measurements]


def test_what_the_ranks_found_is_saved_while_they_go_on(gpus: Callable[[int], None]) -> None:
    gpus(2)
    saved: list[RunRecord] = []
    record = linking.with_links(
        RECORD, H200, request(device="cuda"), lambda _: None, saved.append, Launch()
    )
    assert len(saved) == 4  # twice by the ranks, twice when they had ended
    assert saved[-1] == record
    assert 0 < len(saved[0].measurements) < len(record.measurements)


def test_a_record_is_continued_with_what_it_lacks(gpus: Callable[[int], None]) -> None:
    gpus(2)
    part = Launch(problem="rank 1: gone", without=(8,))
    given = (H200, request(device="cuda"), lambda _: None)
    record = linking.with_links(RECORD, *given, launch=part)
    assert record.failures == {"collectives": "rank 1: gone"}
    rest = Launch()
    whole = linking.with_links(replace(record, failures={}), *given, launch=rest)
    assert len(rest.asked[0]["before"].measurements) == len(record.measurements)
    assert 8 in {m.case.parameters["bytes"] for m in whole.measurements}
    keys = [case_key(m.case, m.phase) for m in whole.measurements]
    assert len(keys) == len(set(keys))


def test_without_a_switch_that_reduces_nothing_is_taken_twice(
    gpus: Callable[[int], None],
) -> None:
    gpus(8)
    a100 = Device("cuda", "A100", accelerator="nvidia-a100-80gb-sxm4", memory_free=70 * GIB)
    launch = Launch(on=a100)
    linking.with_links(RECORD, a100, request(device="cuda"), lambda _: None, launch=launch)
    assert [bool(asked["variables"]) for asked in launch.asked] == [False, True]
    assert launch.asked[1]["once"]


def test_one_gpu_is_an_answer_and_no_failure(gpus: Callable[[int], None]) -> None:
    gpus(1)
    launch = Launch()
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch=launch)
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
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch=launch)
    assert record.failures == {"collectives": "rank 1: out of memory"}
    assert record.measurements


def test_a_record_that_has_its_collectives_is_not_measured_again(
    gpus: Callable[[int], None],
) -> None:
    gpus(2)
    launch = Launch()
    record = linking.with_links(RECORD, H200, request(device="cuda"), lambda _: None, launch=launch)
    again = Launch()
    asked = request(device="cuda")
    assert linking.with_links(record, H200, asked, lambda _: None, launch=again) == record
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


@pytest.mark.parametrize(("share", "measured"), [(0.9, False), (1.1, True)])
def test_no_ranks_are_started_for_what_may_end_after_the_time_limit(
    gpus: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    shipped: Catalogue,
    share: float,
    measured: bool,
) -> None:
    gpus(8)
    launch, said, moment = Launch(), list[str](), 100.0
    monkeypatch.setattr(run, "HostClock", lambda: SimpleNamespace(now=lambda: moment))
    with_links = linking.with_links
    monkeypatch.setattr(
        linking, "with_links", lambda *arguments: with_links(*arguments, launch=launch)
    )
    record = replace(RECORD, asked=Asked(benchmarks=("collectives",)))
    monkeypatch.setattr(beginning, "begun", lambda *_: (record, H200))
    monkeypatch.setattr(beginning, "with_allocatable", lambda record, _: record)
    asked = Request(claims.default_path(), tmp_path, device="cuda", benchmarks=("collectives",))
    planned, _ = run.planned(asked, shipped)
    limit_s = share * sum(step.most_s for step in planned)
    found = run.execute(replace(asked, time_limit_s=limit_s), shipped, said.append)
    assert found
    assert found.record.complete == measured
    assert bool(found.record.measurements) == bool(launch.asked) == measured
    left = ["time is up, and the collectives are left"]
    left += ["what was measured is kept; continue with --resume id"]
    assert (said[-2:] == left) != measured


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
