"""`gpu_benchmark` as its users meet it: in a pytest run of its own, on this machine's processor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

HEAD = """\
import time
import pytest
import torch
from dataclasses import replace
from gpubench.measuring import PLANS

PLAN = replace(PLANS["quick"], limit_s=0.3, block_s=0.01, warmup_s=0.02, warmup_limit_s=0.1)
"""

Ran = tuple[subprocess.CompletedProcess[str], dict[str, Any]]


def run(tmp_path: Path, story: str, *options: str) -> Ran:
    path = tmp_path / "test_theirs.py"
    path.write_text(HEAD + story)
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    command += [f"--rootdir={tmp_path}", f"--benchmark-json={out}", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = json.loads(out.read_text()) if out.exists() and out.stat().st_size else {}
    return done, told


@pytest.mark.slow
def test_times_join_those_of_pytest_benchmark(tmp_path: Path) -> None:
    story = """
def test_copy(gpu_benchmark):
    x, y = torch.ones(2**18), torch.zeros(2**18)
    gpu_benchmark(y.copy_, x, bytes=2 * x.nbytes, check=lambda: torch.equal(x, y), plan=PLAN)

def test_sleep(gpu_benchmark):
    assert gpu_benchmark(lambda: time.sleep(0.002), flush=False, plan=PLAN) is None
    assert gpu_benchmark.measurement.blocks
"""
    done, told = run(tmp_path, story)
    assert done.returncode == 0, done.stdout + done.stderr
    copy, sleep = told["benchmarks"]
    assert copy["extra_info"]["bytes_per_second"] == pytest.approx(
        2 * 4 * 2**18 / copy["stats"]["median"], rel=0.5
    )
    assert 0.002 <= sleep["stats"]["median"] < 0.02
    assert sleep["stats"]["rounds"] >= 6
    assert "test_copy" in done.stdout


@pytest.mark.slow
def test_a_wrong_answer_is_not_timed(tmp_path: Path) -> None:
    story = """
def test_wrong(gpu_benchmark):
    gpu_benchmark(lambda: None, check=lambda: False, plan=PLAN)
"""
    done, told = run(tmp_path, story)
    assert done.returncode == 1
    assert "test_wrong: the answer is wrong, so it is not timed" in done.stdout
    assert not told.get("benchmarks")


@pytest.mark.slow
def test_with_benchmarks_disabled_the_function_is_called_once(tmp_path: Path) -> None:
    story = """
calls = []

def test_once(gpu_benchmark):
    gpu_benchmark(lambda: calls.append(1), plan=PLAN)
    assert calls == [1]
"""
    done, _ = run(tmp_path, story, "--benchmark-disable")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_faster_than_the_memory_fails(tmp_path: Path) -> None:
    story = """
from gpubench.measuring import device

def test_impossible(gpu_benchmark, monkeypatch):
    monkeypatch.setattr(device.Device, "peak_bandwidth", property(lambda self: 1e6))
    x, y = torch.ones(2**18), torch.zeros(2**18)
    gpu_benchmark(y.copy_, x, bytes=2 * x.nbytes, plan=PLAN)
"""
    done, _ = run(tmp_path, story)
    assert done.returncode == 1
    assert "of the memory bandwidth that the hardware can have" in done.stdout


def test_a_stream_of_ours_by_our_own_fixture(gpu_benchmark: Any) -> None:
    from dataclasses import replace

    from gpubench.measuring import PLANS, timing

    x, y = torch.ones(2**20), torch.zeros(2**20)
    plan = replace(PLANS["quick"], limit_s=0.3, block_s=0.01, warmup_s=0.02, warmup_limit_s=0.1)
    gpu_benchmark(
        torch.mul, x, 2.0, out=y, bytes=8 * 2**20, check=lambda: bool((y == 2).all()), plan=plan
    )
    found = gpu_benchmark.measurement
    assert timing.bandwidth(found).mid > 1e7
    assert found.case.parameters["flush"]
