"""The tuning script as far as it goes without a GPU: what it tries, how it minds its children."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import pytest

pytest.importorskip("triton")

from gpubench.kernels import gemm
from tests import tune_gemm

OPTIONS = argparse.Namespace(patience=1.0, minutes=1.0)

# A child: it hangs at place 1, dies at place 3, and does the others.
CHILD = """
import json, sys, time
for place in map(int, sys.argv[1:]):
    print(json.dumps({"trying": place}), flush=True)
    if place == 1:
        time.sleep(60)
    if place == 3:
        sys.exit(1)
    print("a remark of some library")
    found = {"place": place, "tflops": 700.0, "ratio": 0.9, "error": 1e-4}
    print(json.dumps(found), flush=True)
"""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(_options: Any, places: list[int]) -> list[str]:
        return [sys.executable, "-c", CHILD, *map(str, places)]

    monkeypatch.setattr(tune_gemm, "_again", again)


@pytest.mark.slow
@pytest.mark.usefixtures("child")
def test_a_trial_that_hangs_or_crashes_is_named_and_the_others_follow() -> None:
    found = list(tune_gemm.supervise(OPTIONS, 5, time.monotonic() + 60))
    assert {one["place"]: one.get("failed") for one in found} == {
        0: None,
        1: "hung or crashed",
        2: None,
        3: "hung or crashed",
        4: None,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("child")
def test_when_the_minutes_are_over_it_ends_with_what_it_has() -> None:
    found = list(tune_gemm.supervise(OPTIONS, 2, time.monotonic() + 0.5))
    assert [one["place"] for one in found] in ([0], [])


def test_what_the_search_knows_is_tried_first_for_every_precision() -> None:
    for capability in ("9.0", "10.0", "8.0", "gfx942"):
        every = tune_gemm.trials(capability, ["fp16", "fp8", "tf32"])
        assert len(set(every)) == len(every)
        known = [
            tune_gemm.Trial(precision, config)
            for precision, out in (("fp16", "float16"), ("fp8", "bfloat16"), ("tf32", "float32"))
            for config in gemm.configs(capability, out)
        ]
        assert every[: len(known)] == known
        assert {trial.precision for trial in every[len(known) :][:12]} == {"fp16", "fp8", "tf32"}
    assert len(tune_gemm.trials("9.0", ["fp16", "bf16", "fp8"])) < 140


def test_the_table_that_comes_last_is_short_and_ranked() -> None:
    found = [
        (tune_gemm.Trial("fp16", config), {"tflops": 700.0, "ratio": ratio, "error": 1e-4})
        for config, ratio in zip(gemm.CONFIGS["hopper"], (0.9, 0.97, 0.5), strict=False)
    ]
    found.append((tune_gemm.Trial("fp8", gemm.DEFAULT), {"failed": "RuntimeError: no"}))
    wrong = {"tflops": 999.0, "ratio": 1.4, "error": 0.5}
    found.append((tune_gemm.Trial("fp16", gemm.CONFIGS["hopper"][3]), wrong))
    lines = tune_gemm.summary(found, ["fp16", "fp8"], best=2).splitlines()
    assert lines[0] == "fp16: 3 ran, 0 failed, 1 wrong; ratio to torch in turn"
    assert [line.split()[2] for line in lines[1:3]] == ["0.970", "0.900"]
    assert lines[3:] == ["fp8: 0 ran, 1 failed; ratio to torch in turn"]
    assert json.dumps(lines)
