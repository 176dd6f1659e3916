"""What every benchmark in the folder keeps to, whoever adds one."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import pytest

from gpubench import benchmarks
from gpubench.benchmarks import collectives
from gpubench.errors import CannotMeasure, UnknownName
from gpubench.measuring import Device
from gpubench.model import Work
from gpubench.quantities import QUANTITIES
from tests.devices import CPU, H200

SUITES = ("quick", "standard", "full")
ELSEWHERE = {
    "collectives": ("test_launching", "test_four_ranks_measure_what_they_checked"),
    "hpc": ("test_hpc", "test_all_of_it_runs"),
    "inference": ("test_inference", "test_the_suite_is_rehearsed_on_a_second_gpu"),
    "training_step": ("test_training_step", "test_a_step_on_a_card_leaves_nothing_on_the_host"),
}
"""Benchmarks that tests of their own play: links by ranks on processors, the others on a pretended
GPU.
"""


def test_every_benchmark_is_played() -> None:
    pytest.importorskip("torch")
    from tests.test_rehearsal import REHEARSED

    for file, test in ELSEWHERE.values():
        assert hasattr(importlib.import_module(f"tests.{file}"), test)
    assert {*REHEARSED, *ELSEWHERE} == set(benchmarks.names()), (
        "name a new benchmark in REHEARSED of tests/test_rehearsal.py, or play it in a test of its "
        "own and name that here"
    )


NODE = collectives.prospect(H200, 8)


@pytest.mark.parametrize("device", [H200, NODE, CPU], ids=["H200", "eight of them", "CPU"])
@pytest.mark.parametrize("name", benchmarks.names())
def test_what_is_planned_can_be_counted(name: str, device: Device) -> None:
    benchmark = benchmarks.get(name)
    assert (benchmark.__doc__ or "").splitlines()[0].endswith(".")
    assert benchmark.QUANTITY in ("", *QUANTITIES)
    seen = set()
    for suite in SUITES:
        for planned in benchmark.plan(device, suite):
            case = planned.case
            assert case.benchmark == name
            assert set(planned.phases) <= {"burst", "sustained"}
            work = benchmark.work(case.parameters)
            assert isinstance(work, Work)
            assert benchmarks.quantity(case) in ("", *QUANTITIES)
            benchmark.ceilings(case, device)
            key = suite, case.method, str(sorted(case.parameters.items(), key=str))
            assert key not in seen, f"planned twice: {case}"
            seen.add(key)
        # On a whole node every benchmark has something to measure.
        assert seen or suite != "full" or device is not NODE
        for what, why in getattr(benchmark, "left_out", lambda *_: ())(device, suite):
            assert what
            assert why


def test_a_benchmark_that_lacks_something_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    half: Any = types.ModuleType("gpubench.benchmarks.half")
    half.QUANTITY, half.VERSION = "", 1
    monkeypatch.setitem(sys.modules, "gpubench.benchmarks.half", half)
    monkeypatch.setattr(benchmarks, "names", lambda: ("half",))
    with pytest.raises(CannotMeasure, match=r"'half' has no plan, work, prepare, ceilings, rel"):
        benchmarks.get("half")
    with pytest.raises(UnknownName):
        benchmarks.get("whole")
