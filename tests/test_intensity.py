"""The measured roofline: its points, what they count, and the roof that is found over them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.benchmarks import intensity
from gpubench.benchmarks.intensity import Point, roof
from gpubench.model import Block, Case, Caution, Measurement, Work
from tests.test_gemm import H200, HOST

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


def under(bandwidth: float, compute: float, *intensities: float) -> list[Point]:
    """Points on a roof without a soft edge."""
    return [Point(i, min(i * bandwidth, compute)) for i in intensities]


@given(
    bandwidth=st.floats(1e9, 1e14),
    ridge=st.floats(1.0, 500.0),
    softness=st.floats(0.0, 0.3),
)
def test_the_ridge_of_a_known_roof_is_found(
    bandwidth: float, ridge: float, softness: float
) -> None:
    """Measured roofs are lowest at the ridge, where both limits bind; their ends count."""
    compute = bandwidth * ridge
    points = [
        Point(i, min(i * bandwidth, compute) * (1 - softness / (1 + abs(i - ridge) / ridge * 1e3)))
        for i in (ridge * 2.0**power for power in range(-6, 7))
    ]
    found = roof(points)
    assert found.bandwidth == pytest.approx(bandwidth, rel=0.01)
    assert found.compute == pytest.approx(compute, rel=0.01)
    assert found.ridge == pytest.approx(ridge, rel=0.02)


def test_a_limit_that_the_sweep_does_not_reach_is_not_told() -> None:
    low = roof(under(4.5e12, 6e13, 0.5, 1, 2, 4, 8))
    assert low == intensity.Roof(4.5e12, None)
    assert low.ridge is None
    high = roof(under(4.5e12, 6e13, 20, 40, 80))
    assert high == intensity.Roof(None, 6e13)
    assert roof([]) == intensity.Roof(None, None)


def test_the_sweeps_span_both_sides_of_the_ridge_of_an_h200() -> None:
    """4.8 TB/s, 67 TFLOPS of the vector units and 989 of the matrix units."""
    for suite in ("standard", "full"):
        found: dict[str, list[float]] = {"fused": [], "product": []}
        for planned in intensity.plan(H200, suite):
            work = intensity.work(planned.case.parameters)
            found[planned.case.parameters["sweep"]].append(work.flops / work.bytes)
        for sweep, ridge in (("fused", 67 / 4.8), ("product", 989 / 4.8)):
            assert found[sweep] == sorted(found[sweep])
            assert found[sweep][0] < ridge / 4
            assert found[sweep][-1] > ridge * 4
    assert intensity.plan(H200, "quick") == ()
    assert intensity.plan(HOST, "full") == ()


def test_a_step_is_two_operations_on_an_element_read_once() -> None:
    work = intensity.work({"sweep": "fused", "steps": 8, "n": 1000})
    assert (work.flops, work.bytes) == (16_000, 4_000)


def test_no_rate_is_held_against_the_memory_where_the_cache_may_keep_a_part() -> None:
    device = replace(H200, cache_bytes=60 * 2**20, memory_bus_bits=6144, max_memory_clock_hz=3.2e9)
    cases = {p.case.parameters["k"]: p.case for p in intensity.plan(device, "full")[9:]}
    assert intensity.ceilings(cases[16], device).bandwidth == device.peak_bandwidth
    cached = replace(device, cache_bytes=10**9)
    assert intensity.ceilings(cases[16], cached).bandwidth is None
    fused = intensity.plan(device, "full")[0].case
    # 132 units of 128 multiply-adds a clock at 1980 MHz.
    assert intensity.ceilings(fused, device).compute == pytest.approx(132 * 256 * 1.98e9)


def measured(sweep: str, flops: float, seconds: float, *codes: str) -> Measurement:
    case = Case("intensity", "triton", {"sweep": sweep, "steps": 1, "n": 1})
    cautions = tuple(Caution(code, "a fact") for code in codes)
    blocks = tuple(Block((seconds,)) for _ in range(8))
    return Measurement(case, 1, Work(flops, 1e9), blocks, 1, 0.2, cautions=cautions)


def test_points_come_from_measurements_and_implausible_ones_count_nothing() -> None:
    found = intensity.points(
        [
            measured("fused", 2e9, 1e-3),
            measured("fused", 2e9, 1e-9, "implausible"),
            measured("product", 5e9, 1e-3, "noisy"),
        ]
    )
    assert found == {
        "fused": [Point(2.0, pytest.approx(2e12))],
        "product": [Point(5.0, pytest.approx(5e12))],
    }


@needs_torch
@pytest.mark.slow
def test_products_of_every_depth_run_on_a_processor() -> None:
    cases = [p.case for p in intensity.plan(H200, "standard") if p.case.method == "torch"]
    for case in cases[:2]:
        small = {**case.parameters, "m": 64, "n": 48}
        prepared = intensity.prepare(replace(case, parameters=small), HOST, seed=1)
        prepared.call()
        assert "relative error" in prepared.verification
