"""A campaign saves after every case, names what failed, and goes on where it was cut short."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gpubench.benchmarks import Planned
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.measuring import PLANS, Ceilings, Device, Prepared, Shunned, Trials, timing
from gpubench.model import Case, Work
from gpubench.records import RunRecord, case_key
from gpubench.running import campaign, mishaps
from tests.fake_clock import FakeClock

DEVICE = Device("cpu", "a processor", accelerator=None)
RECORD = RunRecord("0123abcd", "2026-01-31T09:30:00Z", "cpu", {}, suite="quick", complete=False)
SECONDS = {"fast": 1e-3, "slow": 2e-3}


def case(method: str, size: int) -> Case:
    return Case("copying", method, {"n": size})


class Stage:
    """A benchmark of two methods and two sizes on a clock that owns its time."""

    QUANTITY, VERSION = "", 1

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prepared: list[Case] = []
        self.faults: dict[str, Callable[[], None]] = {}
        self.released = 0
        found = SimpleNamespace(names=lambda: ("copying",), get=lambda _: self)
        monkeypatch.setattr(campaign, "benchmarks", found)
        self.called = case("fast", 1)
        clock = FakeClock(lambda _time, _made: SECONDS[self.called.method])
        monkeypatch.setattr(campaign, "clock_for", lambda _: clock)

    def plan(self, device: Device, suite: str) -> tuple[Planned, ...]:
        assert (device, suite) == (DEVICE, "quick")
        return tuple(Planned(case(m, n)) for n in (1, 2) for m in ("fast", "slow"))

    def work(self, parameters: Mapping[str, Any]) -> Work:
        return Work(bytes=1e6 * parameters["n"])

    def ceilings(self, case: Case, device: Device) -> Ceilings:
        assert (case.benchmark, device) == ("copying", DEVICE)
        return Ceilings(bandwidth=1.5e9)

    def prepare(self, case: Case, device: Device, seed: int) -> Prepared:
        assert (device, seed) == (DEVICE, 0)
        self.prepared.append(case)
        self.faults.get(case_key(case, "burst"), lambda: None)()
        return Prepared(case, 1, self.work(case.parameters), lambda: self._call(case))

    def _call(self, case: Case) -> None:
        self.called = case
        self.faults.get(case_key(case, "during"), lambda: None)()

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def raising(error: BaseException) -> Callable[[], None]:
    def _raise() -> None:
        raise error

    return _raise


def test_every_case_is_saved_as_soon_as_it_is_measured(stage: Stage) -> None:
    saved: list[RunRecord] = []
    done = campaign.measure_all(RECORD, DEVICE, saved.append)
    assert [len(record.measurements) for record in saved] == [2, 4, 4]
    assert [record.complete for record in saved] == [False, False, True]
    assert done == saved[-1]
    assert stage.released == 1


def test_a_slower_method_and_an_impossible_rate_are_flagged(stage: Stage) -> None:
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    codes = {
        (m.case.method, m.case.parameters["n"]): {caution.code for caution in m.cautions}
        for m in done.measurements
    }
    assert "disagreement" in codes["slow", 1]
    assert "disagreement" not in codes["fast", 1]
    assert "implausible" in codes["fast", 2]  # 2 MB a millisecond where 1.5 GB/s is the ceiling
    assert "implausible" not in codes["slow", 2]
    assert stage.prepared


def test_a_case_that_cannot_be_measured_is_named_and_the_next_one_follows(stage: Stage) -> None:
    stage.faults["copying fast burst n=1"] = raising(CannotMeasure("out of memory: choose less"))
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    assert done.failures == {"copying fast burst n=1": "out of memory: choose less"}
    assert len(done.measurements) == 3
    assert done.complete


def failing_late(error: BaseException) -> Callable[[], None]:
    """A call that fails when some blocks have been taken, for good."""
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls > 250:
            raise error

    return call


FULL = RuntimeError("CUDA error: out of memory")


def test_a_case_that_fails_after_some_blocks_is_named_and_the_next_one_follows(
    stage: Stage,
) -> None:
    pair = stage.plan
    stage.plan = lambda d, s: [one for one in pair(d, s) if one.case.method == "slow"]  # type: ignore[assignment,method-assign]
    stage.faults["copying slow during n=1"] = failing_late(FULL)
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    assert done.complete
    assert [(m.case.parameters["n"], m.complete) for m in done.measurements] == [
        (1, False),  # what it had is kept
        (2, True),
    ]
    ((key, why),) = done.failures.items()
    assert key == "copying slow burst n=1"
    assert why.startswith("out of memory while measuring copying (slow)")


def test_of_two_methods_that_one_ends_half_way_the_other_is_measured_alone(stage: Stage) -> None:
    stage.faults["copying slow during n=1"] = failing_late(FULL)
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    assert list(done.failures) == ["copying slow burst n=1"]
    assert [m.case.method for m in done.measurements if m.complete] == ["fast", "fast", "slow"]
    assert done.measurements[0].in_turn_with == ()


@pytest.mark.usefixtures("stage")
def test_two_methods_for_one_work_are_measured_in_turn() -> None:
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    assert [m.in_turn_with for m in done.measurements] == [("slow",), ("fast",)] * 2
    for ours, theirs in (done.measurements[:2], done.measurements[2:]):
        assert timing.paired_ratio(ours, theirs).mid == pytest.approx(2.0)


def test_of_two_methods_the_one_that_fails_is_named_and_the_other_is_measured(
    stage: Stage,
) -> None:
    stage.faults["copying slow during n=1"] = raising(CannotMeasure("no kernel for this device"))
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    assert done.failures == {"copying slow burst n=1": "no kernel for this device"}
    assert [m.case.method for m in done.measurements] == ["fast", "fast", "slow"]
    assert done.measurements[0].in_turn_with == ()


def test_what_the_part_lacks_is_told_and_asked_for_alone_it_is_a_sentence(stage: Stage) -> None:
    stage.left_out = lambda _device, _suite: [("FP8", "a processor has none")]  # type: ignore[attr-defined]
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    (told,) = done.cautions
    assert (told.code, told.fact) == ("left-out", "copying FP8: a processor has none")
    again = campaign.measure_all(replace(done, complete=False), DEVICE, lambda _: None)
    assert again.cautions == done.cautions
    stage.left_out = lambda _device, _suite: [("FP8", "not here"), ("16384", "does not fit")]  # type: ignore[attr-defined]
    more = campaign.measure_all(replace(done, complete=False), DEVICE, lambda _: None)
    assert [c.fact for c in more.cautions] == ["copying FP8: not here; copying 16384: does not fit"]
    stage.left_out = lambda _device, _suite: ()  # type: ignore[attr-defined]
    now = campaign.measure_all(replace(done, complete=False), DEVICE, lambda _: None)
    assert now.cautions == ()  # what there was no room for before, there is room for now
    stage.left_out = lambda _device, _suite: [("FP8", "a processor has none")]  # type: ignore[attr-defined]
    stage.plan = lambda _device, _suite: ()  # type: ignore[method-assign]
    with pytest.raises(CannotMeasure, match="copying on a processor: copying FP8: a processor"):
        campaign.steps(DEVICE, "quick", ["copying"])
    del stage.left_out  # type: ignore[attr-defined]
    with pytest.raises(CannotMeasure, match="nothing of it in the quick suite"):
        campaign.steps(DEVICE, "quick", ["copying"])


def test_twins_are_heated_together_and_the_plan_knows(stage: Stage) -> None:
    both = ("burst", "sustained")
    stage.plan = lambda _device, _suite: tuple(Planned(case(m, 1), both) for m in SECONDS)  # type: ignore[method-assign]
    heat_s = PLANS["standard"].heat_s
    steps = campaign.steps(DEVICE, "standard")
    stage.plan = lambda _device, _suite: (Planned(case("fast", 1), both),)  # type: ignore[method-assign]
    (alone,) = campaign.steps(DEVICE, "standard")
    assert sum(step.least_s for step in steps) == pytest.approx(2 * alone.least_s - heat_s)


def test_a_kernel_that_hangs_the_device_ends_the_run_and_is_not_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that measures hangs for good; that of the watchdog saves and ends the process."""
    monkeypatch.setattr(campaign, "_may_hang", lambda _: True)
    monkeypatch.setattr(mishaps, "LEAST_PATIENCE_S", 0.05)
    monkeypatch.setattr(mishaps, "PATIENCE", 0.0)
    ended, forever, saved = threading.Event(), threading.Event(), list[RunRecord]()
    said: list[str] = []

    def end(why: str) -> None:
        said.append(why)
        ended.set()

    stage.faults["copying slow during n=2"] = forever.wait
    measuring = threading.Thread(
        target=campaign.measure_all, args=(RECORD, DEVICE, saved.append), kwargs={"end": end}
    )
    measuring.start()
    try:
        assert ended.wait(30)
        record = saved[-1]
        (key, why), *others = record.failures.items()
        assert (key, others) == ("copying slow burst n=2", [])
        assert why.startswith(mishaps.FATAL)
        assert said == [f"copying slow n=2: {why}"]
        assert len(record.measurements) == 2
        assert not record.complete
    finally:
        stage.faults.clear()
        forever.set()
        measuring.join()
    stage.prepared.clear()
    done = campaign.measure_all(record, DEVICE, lambda _: None)
    assert [(c.method, c.parameters["n"]) for c in stage.prepared] == [("fast", 2)]
    assert done.failures == record.failures


@pytest.mark.parametrize("moment", ["burst", "during"])
def test_a_lost_device_ends_the_run_with_what_it_had_and_the_case_has_a_second_chance(
    stage: Stage, moment: str
) -> None:
    fault = f"copying slow {moment} n=2"
    stage.faults[fault] = raising(DeviceLost("the device failed: Xid 31"))
    saved: list[RunRecord] = []
    with pytest.raises(DeviceLost):
        campaign.measure_all(RECORD, DEVICE, saved.append)
    record = saved[-1]
    assert len(record.measurements) == 2
    assert not record.complete
    assert stage.released == 1
    assert (record.suspects, record.failures) == (("copying slow  n=2",), {})
    with pytest.raises(DeviceLost):
        campaign.measure_all(record, DEVICE, saved.append)
    why = saved[-1].failures["copying slow burst n=2"]
    assert why == "the device failed twice: the device failed: Xid 31"
    done = campaign.measure_all(saved[-1], DEVICE, lambda _: None)
    assert done.complete
    assert [m.case.parameters["n"] for m in done.measurements] == [1, 1, 2]


def test_a_configuration_that_kills_the_device_is_tried_no_more_and_the_case_is_measured(
    stage: Stage,
) -> None:
    device = replace(DEVICE, trials=Trials())  # as a process of its own has
    tried: list[str] = []

    def search() -> None:
        for config in ("good", "deadly"):
            with contextlib.suppress(Shunned), device.trials.trying(f"copy {config}"):
                tried.append(config)
                if config == "deadly":
                    raise DeviceLost("the device failed: illegal memory access")

    stage.faults["copying slow burst n=1"] = search
    saved: list[RunRecord] = []
    with pytest.raises(DeviceLost):
        campaign.measure_all(RECORD, device, saved.append)
    assert saved[-1].suspects == ("copy deadly",)
    device = replace(DEVICE, trials=Trials())
    done = campaign.measure_all(saved[-1], device, lambda _: None)
    assert tried == ["good", "deadly", "good"]
    assert done.complete
    assert done.failures == {}
    assert len(done.measurements) == 4


def test_a_configuration_that_hangs_has_less_time_than_the_case_and_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "_may_hang", lambda _: True)
    monkeypatch.setattr(mishaps, "TRIAL_S", 0.05)
    ended, forever, saved = threading.Event(), threading.Event(), list[RunRecord]()

    def search() -> None:
        with DEVICE.trials.trying("copy endless"):
            forever.wait()

    stage.faults["copying slow burst n=2"] = search
    measuring = threading.Thread(
        target=campaign.measure_all,
        args=(RECORD, DEVICE, saved.append),
        kwargs={"end": lambda _: ended.set()},
    )
    measuring.start()
    try:
        assert ended.wait(30)
        assert (saved[-1].suspects, saved[-1].failures) == (("copy endless",), {})
        assert len(saved[-1].measurements) == 2
    finally:
        forever.set()
        measuring.join()


def test_a_trial_that_merely_fails_is_forgotten() -> None:
    trials = Trials()
    with pytest.raises(ValueError, match="odd"), trials.trying("a"):
        raise ValueError("odd")
    assert trials.now == ""
    with pytest.raises(RuntimeError), trials.trying("b"):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    assert trials.now == "b"


def test_a_trial_is_blamed_for_what_it_broke_though_its_error_looked_harmless() -> None:
    trials = Trials()

    def dead() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    trials.answers = dead
    with pytest.raises(RuntimeError, match="illegal memory"), trials.trying("guilty"):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling cublasGemmEx")
    assert trials.now == "guilty"


def test_an_interrupted_run_goes_on_with_what_is_missing(stage: Stage) -> None:
    stage.faults["copying slow during n=1"] = failing_late(KeyboardInterrupt())
    saved: list[RunRecord] = []
    with pytest.raises(KeyboardInterrupt):
        campaign.measure_all(RECORD, DEVICE, saved.append)
    partial = saved[-1]
    assert [m.complete for m in partial.measurements] == [False, False]
    stage.faults.clear()
    stage.prepared.clear()
    done = campaign.measure_all(partial, DEVICE, saved.append)
    assert [case.method for case in stage.prepared] == ["fast", "slow", "fast", "slow"]
    assert len(done.measurements) == 4
    assert all(m.complete for m in done.measurements)


def test_a_part_that_time_left_behind_is_kept_and_goes_once_it_is_measured_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.faults["copying slow during n=1"] = failing_late(KeyboardInterrupt())
    saved: list[RunRecord] = []
    with pytest.raises(KeyboardInterrupt):
        campaign.measure_all(RECORD, DEVICE, saved.append)
    stage.faults.clear()
    moment = [0.0]
    monkeypatch.setattr(campaign, "HostClock", lambda: SimpleNamespace(now=lambda: moment[0]))
    at_once = campaign.measure_all(saved[-1], DEVICE, saved.append, time_limit_s=0.1)
    assert [m.complete for m in at_once.measurements] == [False, False]
    pair_s = sum(step.most_s for step in campaign.steps(DEVICE, "quick")[:2])
    prepare = stage.prepare

    def slowly(*arguments: Any) -> Prepared:
        moment[0] += 1.0
        return prepare(*arguments)

    stage.prepare = slowly  # type: ignore[method-assign]
    cut = campaign.measure_all(at_once, DEVICE, saved.append, time_limit_s=pair_s + 1.0)
    assert cut == saved[-1]
    assert not cut.complete
    assert [(m.case.method, m.complete) for m in cut.measurements] == [
        ("fast", True),
        ("slow", True),
    ]
    assert "disagreement" in {caution.code for caution in cut.measurements[1].cautions}


@pytest.mark.parametrize(("preparing_s", "pairs"), [(0.0, 2), (3.0, 2), (4.5, 1)])
def test_no_case_is_begun_that_may_end_after_the_time_limit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, preparing_s: float, pairs: int
) -> None:
    moment, said = [0.0], list[str]()
    monkeypatch.setattr(campaign, "HostClock", lambda: SimpleNamespace(now=lambda: moment[0]))
    prepare = stage.prepare

    def slowly(*arguments: Any) -> Prepared:
        moment[0] += preparing_s
        return prepare(*arguments)

    stage.prepare = slowly  # type: ignore[method-assign]
    pair_s = sum(step.most_s for step in campaign.steps(DEVICE, "quick")[:2])
    limit = pair_s + 4 * 3.5  # enough for the second pair after two preparations, and its own two
    cut = campaign.measure_all(RECORD, DEVICE, lambda _: None, said.append, time_limit_s=limit)
    assert (cut.complete, len(cut.measurements)) == (pairs == 2, 2 * pairs)
    if pairs == 1:
        assert said[-1] == "time is up, and 2 of 4 cases are left"
        done = campaign.measure_all(cut, DEVICE, lambda _: None, time_limit_s=limit)
        assert done.complete  # what is done already takes no time
        assert len(done.measurements) == 4
    assert len(stage.prepared) == 4


def test_a_case_may_take_as_much_longer_than_planned_as_the_one_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment, most_s = [0.0], PLANS["quick"].most_s
    monkeypatch.setattr(campaign, "HostClock", lambda: SimpleNamespace(now=lambda: moment[0]))

    def slowly() -> None:
        moment[0] += 2 * (most_s + 4.0)
        stage.faults.clear()

    stage.faults["copying slow during n=1"] = slowly  # the first pair takes 4 s longer, each
    limit = 2 * (most_s + 4.0) + 2 * most_s + 2 * 4.0
    cut = campaign.measure_all(RECORD, DEVICE, lambda _: None, time_limit_s=limit)
    assert (cut.complete, len(cut.measurements)) == (False, 2)


def test_the_plan_tells_bytes_and_time_before_anything_runs(stage: Stage) -> None:
    steps = campaign.steps(DEVICE, "quick")
    assert [step.work.bytes for step in steps] == [1e6, 1e6, 2e6, 2e6]
    assert all(0 < step.least_s < step.most_s for step in steps)
    assert stage.prepared == []


def test_a_finished_record_is_not_measured_again(stage: Stage) -> None:
    done = campaign.measure_all(RECORD, DEVICE, lambda _: None)
    stage.prepared.clear()
    again = campaign.measure_all(replace(done, complete=False), DEVICE, lambda _: None)
    assert stage.prepared == []
    assert again == done
