"""What tests of reports share: a pretended run, its rates made up, and pages that tell of it."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

from gpubench import catalogue, claims
from gpubench.judging import judgement
from gpubench.model import Block, Case, Measurement, Work
from gpubench.records import RunRecord
from gpubench.report import html
from gpubench.report.findings import Findings, Made

ROOT = Path(__file__).parents[1]

_PEAK_BANDWIDTH, _PEAK_FP16 = 4.8e12, 990e12


def record(name: str = "00000001", blocks: int = 24, cases: int = 1) -> RunRecord:
    """A run on a pretended H200: streams, products and a sweep, with clocks that fall by heat."""
    found: list[Measurement] = []
    for repeat in range(cases):
        n = 2**30 + repeat
        for pattern, share in (("read", 0.94), ("copy", 0.85), ("triad", 0.88)):
            case = Case("bandwidth", "triton", {"pattern": pattern, "n": n})
            found.append(_measured(case, Work(2.0 * n, 12.0 * n), share * _PEAK_BANDWIDTH, blocks))
        for phase, share in (("burst", 0.8), ("sustained", 0.74)):
            shape = {"m": 8192, "n": 8192, "k": 8192 + repeat, "precision": "fp16"}
            case = Case("gemm", "torch", {**shape, "data": "normal"})
            work = Work(2.0 * 8192**3, 3 * 2.0 * 8192**2)
            found.append(_measured(case, work, share * _PEAK_FP16, blocks, phase))
    for depth in (32, 128, 512, 2048):
        work = Work(2.0 * 16384**2 * depth, 2.0 * (16384**2 + 2 * 16384 * depth))
        intensity = work.flops / work.bytes
        rate = min(0.85 * _PEAK_BANDWIDTH * intensity, 0.75 * _PEAK_FP16)
        shape = {"m": 16384, "n": 16384, "k": depth, "precision": "fp16", "data": "normal"}
        case = Case("intensity", "torch", {"sweep": "product", **shape})
        found.append(_measured(case, work, rate, blocks))
    return RunRecord(
        name,
        f"2026-01-31T09:{int(name, 16) % 60:02d}:00Z",
        "nvidia-h200-sxm",
        {"gpubench": "0", "python": "3.11"},
        device="Pretended H200",
        suite="full",
        device_figures={"memory_bandwidth": 4.917e12, "max_clock": 1.98e9, "compute_units": 132.0},
        measurements=tuple(found),
    )


def _measured(
    case: Case, work: Work, rate: float, blocks: int, phase: str = "burst"
) -> Measurement:
    """`rate` is in B/s for streams and in FLOP/s for all else."""
    amount = work.bytes if case.benchmark == "bandwidth" else work.flops
    seconds = amount / rate
    return Measurement(
        case,
        1,
        work,
        tuple(
            Block(
                tuple(seconds * (1 + 0.004 * math.sin(9 * i + j)) for j in range(10)),
                {
                    "read_at_s": 100.0 + 1.25 * i,
                    "sm_clock_hz": (1.98e9 if phase == "burst" else 1.7e9) - 4e6 * min(i, 20),
                    "memory_clock_hz": 3.2e9,
                    "power_w": 690.0 - 120 * math.exp(-i / 3),
                    "temperature_c": 62.0 - 20 * math.exp(-i / 6),
                },
            )
            for i in range(blocks)
        ),
        1,
        0.5,
        phase=phase,
        heat_s=30.0 if phase == "sustained" else 0.0,
    )


@lru_cache(maxsize=1)
def findings() -> Findings:
    """The claims that came along, judged with the pretended run."""
    known = catalogue.load()
    file = claims.load(ROOT / "claims.yaml", known)
    run = (record(),)
    judged = judgement.judge_all(file, known, (), run)
    made = Made("2026-01-31T09:30:00Z", "1.0", "none")
    return Findings(made, judged, known.articles, known, run)


@lru_cache(maxsize=2)
def page(language: str) -> str:
    """Their page."""
    return html.render(findings(), language)
