"""The doctor says which GPU a run would take and for how long, or why there is none."""

from __future__ import annotations

import re
import sys

import pytest
from click.testing import CliRunner

from gpubench import cli
from gpubench.measuring import device as devices
from tests.fake_torch import fake_torch


def told(command: str = "doctor") -> str:
    result = CliRunner().invoke(cli.main, (command,))
    return next(line for line in result.output.splitlines() if " GPU: " in line)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(devices, "driver_seems_present", lambda: True)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    return monkeypatch


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "driver_seems_present", lambda: False)
    assert told() == "– GPU: this machine has no GPU driver; claims are judged all the same"


def test_a_gpu_is_told_with_what_a_run_would_do(driver: pytest.MonkeyPatch) -> None:
    driver.setitem(sys.modules, "torch", fake_torch())
    line = told()
    assert line.startswith("✓ GPU: NVIDIA H200 (nvidia-h200-sxm), CUDA 13.0, 150 GB free")
    assert re.search(r"`gpubench run` would measure \d+ cases in \d+ to \d+ minutes", line)
    assert "nvidia-ml-py is not installed" in line


def test_an_unknown_gpu_is_told_with_what_that_means(driver: pytest.MonkeyPatch) -> None:
    driver.setitem(sys.modules, "torch", fake_torch(name="NVIDIA X900"))
    assert "NVIDIA X900 (not in the catalogue)" in told()
    assert "add it with its source" in told()


def test_a_driver_that_torch_cannot_use_is_told_with_the_reason(
    driver: pytest.MonkeyPatch,
) -> None:
    driver.setitem(sys.modules, "torch", fake_torch(cuda=None))
    assert "this torch (2.13.0+cpu) is built for the CPU alone" in told()


def test_a_run_says_why_it_measures_nothing_where_a_driver_is(
    driver: pytest.MonkeyPatch, tmp_path: object
) -> None:
    driver.chdir(str(tmp_path))
    driver.setitem(sys.modules, "torch", fake_torch(cuda=None))
    result = CliRunner().invoke(cli.main, ("run", "--only", "h200-memory-bandwidth"))
    assert result.exit_code == 0, result.output
    assert "Nothing is measured: cuda:0: this torch (2.13.0+cpu)" in result.stderr
