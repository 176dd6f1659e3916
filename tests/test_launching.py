"""Ranks that `gpubench run` starts: what they measured is kept, whatever happens to one of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpubench.measuring import telemetry, timing
from gpubench.running import launching
from gpubench.running.launching import Gathered
from tests import faulty_rank

pytest.importorskip("torch")

SCRIPT = Path(__file__).with_name("faulty_rank.py")


def ranks(fault: str, count: int = 2, silence_s: float = 60.0) -> Gathered:
    found = launching.measured_by_ranks(
        count, "cpu", "quick", silence_s=silence_s, entry=(str(SCRIPT), fault)
    )
    assert not survivors()
    return found


def test_ranks_are_told_who_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    @contextlib.contextmanager
    def started(_count: int, _asked: list[str], variables: dict[str, str]) -> Iterator[Any]:
        told.append(variables[telemetry.LAUNCHER_VARIABLE])
        yield SimpleNamespace(returncode=1), None

    monkeypatch.setattr(launching, "_started", started)
    monkeypatch.setattr(launching, "_watched", lambda *_: "not today")
    assert launching.measured_by_ranks(2, "cpu", "quick").problem == "not today"
    assert told == [str(os.getpid())]


def survivors() -> list[str]:
    """Command lines of ranks that are still there, after a moment to go."""
    found = ["?"]
    for _ in range(150):
        found = [line for path in Path("/proc").glob("[0-9]*/cmdline") if (line := _rank(path))]
        if not found:
            break
        time.sleep(0.1)
    return found


def _rank(path: Path) -> str:
    try:
        text = path.read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
    return text if f"{SCRIPT.name} " in text and "--folder" in text else ""


@pytest.mark.slow
def test_four_ranks_measure_what_they_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # else it is where it was at first
    found = ranks("none", count=4)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind, by the launcher neither
    assert found.problem == ""
    assert found.record
    assert found.record.complete
    assert [m.case.parameters["bytes"] for m in found.record.measurements] == [1024, 4096, 65536]
    for measured in found.record.measurements:
        assert measured.verification.startswith("equal to the reference in all")
        by_rank = measured.choices["rank_seconds"]
        assert len(by_rank) == 4
        assert by_rank[measured.choices["slowest_rank"]] == max(by_rank)
        bus = timing.wire_rate(measured).mid
        assert bus == pytest.approx(
            measured.case.parameters["bytes"] * 1.5 / timing.of(measured).seconds.mid
        )


@pytest.mark.slow
def test_a_wrong_sum_is_a_failure_of_its_case_alone() -> None:
    found = ranks("wrong")
    assert found.problem == ""
    assert found.record
    assert [m.case.parameters["bytes"] for m in found.record.measurements] == [1024, 65536]
    ((case, why),) = found.record.failures.items()
    assert "bytes=4096" in case
    assert "gives a wrong answer" in why
    assert "rank 0 (and on 1 others)" in why


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["dies", "hangs"])
def test_what_was_measured_before_a_rank_is_gone_is_kept(fault: str) -> None:
    start = time.monotonic()
    found = ranks(fault)
    assert time.monotonic() - start < 60
    assert found.record
    assert [m.case.parameters["bytes"] for m in found.record.measurements] == [1024]
    assert "rank" in found.problem
    assert "Traceback" not in found.problem


@pytest.mark.slow
def test_ranks_of_different_versions_do_not_measure() -> None:
    found = ranks("version")
    assert found.record is None
    assert "rank 1: gpubench is 0.0.0 here and" in found.problem
    assert "install and ask for the same on every host" in found.problem


@pytest.mark.slow
def test_ranks_that_say_nothing_are_ended() -> None:
    start = time.monotonic()
    found = ranks("hangs", silence_s=1.0)
    assert time.monotonic() - start < 30
    assert "did nothing for 1 s" in found.problem


@pytest.mark.slow
def test_ranks_end_when_the_process_that_started_them_is_killed() -> None:
    code = (
        "from gpubench import launching; launching.measured_by_ranks(2, 'cpu', 'quick', "
        f"say=lambda line: print(line, flush=True), entry=({str(SCRIPT)!r}, 'hangs'))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()  # the ranks have met
        process.send_signal(signal.SIGKILL)
    assert faulty_rank.TIMEOUT_S < 10  # the one that hangs is given up by then
    assert not survivors()
