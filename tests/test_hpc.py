"""Kernels in double precision: counts and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from gpubench import benchmarks  # noqa: E402
from gpubench.benchmarks import _kernels, hpc  # noqa: E402
from gpubench.errors import CannotMeasure, WrongResult  # noqa: E402
from gpubench.measuring import sampling  # noqa: E402
from gpubench.model import Case  # noqa: E402
from gpubench.records import RunRecord  # noqa: E402
from gpubench.roofline.hpc import KERNELS  # noqa: E402
from gpubench.running import campaign  # noqa: E402
from tests.devices import CPU, H200  # noqa: E402
from tests.test_rehearsal import DEVICE, PlayedCuda  # noqa: E402
from tests.test_rehearsal import cuda as cuda  # noqa: E402  the fixture


def test_every_kernel_that_the_model_estimates_is_measured() -> None:
    cases = [one.case for one in hpc.plan(H200, "full")]
    assert {case.parameters["pattern"] for case in cases} == set(KERNELS)
    assert hpc.plan(H200, "quick") == ()
    fewer = {one.case.parameters["pattern"] for one in hpc.plan(H200, "standard")}
    assert fewer == {"triad", "stencil", "spmv"}
    for case in cases:
        assert benchmarks.quantity(case) == "hpc_throughput"
        counted = hpc.work(case.parameters)
        if case.parameters["pattern"] != "dgemm":
            model = KERNELS[case.parameters["pattern"]]
            assert counted.flops / counted.bytes == pytest.approx(model.flops / model.bytes)
            assert counted.bytes > 4 * H200.cache_bytes
    by_units = {case.parameters.get("precision") for case in cases} - {None}
    assert by_units == {"fp64_tensor"}
    with pytest.raises(CannotMeasure, match="too little free memory"):
        hpc.plan(replace(H200, memory_free=2**28), "full")


@pytest.mark.parametrize("pattern", ["triad", "stencil", "spmv"])
def test_a_wrong_answer_is_not_timed(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"triad": {"n": 4096}, "stencil": {"side": 16}, "spmv": {"rows": 512}}[pattern]
    case = Case("hpc", "torch", {"pattern": pattern, **sizes})
    hpc.prepare(case, CPU, 0)

    def copies(first: Any, second: Any, out: Any, **_: Any) -> None:
        out.copy_(second if pattern == "spmv" else first)

    if pattern == "stencil":
        break_stencil(monkeypatch)
    else:
        monkeypatch.setattr(torch, {"triad": "add", "spmv": "mv"}[pattern], copies)
    with pytest.raises(WrongResult):
        hpc.prepare(case, CPU, 0)


def break_stencil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right in the planes that are compared, and wrong in another."""
    right = hpc._seven_point

    def wrong(u: Any) -> Any:
        found = right(u)
        if len(found) > 3:
            found[len(found) - 3] *= 1.001
        return found

    monkeypatch.setattr(hpc, "_seven_point", wrong)


def test_each_point_of_the_stencil_is_its_own_and_its_neighbours() -> None:
    u = torch.zeros(5, 5, 5, dtype=torch.float64)
    u[2, 2, 2] = 1.0
    found = hpc._seven_point(u)
    assert float(found[2, 2, 2]) == hpc._A
    assert float(found[1, 2, 2]) == float(found[2, 2, 3]) == hpc._B
    assert float(found.sum()) == pytest.approx(hpc._A + 6 * hpc._B)
    assert float(hpc._neighbours(torch.ones(3, 3, 3))) == 2 * 3 * 2 * 9  # faces between 27 cubes


@pytest.mark.parametrize("device", ["cpu", "played"])
def test_all_of_it_runs(device: str, cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda
    monkeypatch.setattr(hpc, "_HOST_BYTES", 2**16)
    monkeypatch.setattr(hpc, "_BYTES", 2**20)
    for name in ("_HOST_GEMM", "_GEMM"):
        monkeypatch.setattr(hpc, name, 32)
    monkeypatch.setattr(_kernels, "load", played_kernel)
    for name, plan in sampling.PLANS.items():
        short = replace(plan, limit_s=0.02, block_s=1e-3, warmup_s=2e-3, warmup_limit_s=0.02)
        monkeypatch.setitem(sampling.PLANS, name, replace(short, sample_s=1e-4))
    record = RunRecord("0123abcd", "2026-01-31T09:30:00Z", "cpu", {}, complete=False)
    where = CPU if device == "cpu" else DEVICE
    done = campaign.measure_all(replace(record, suite="full"), where, lambda _: None, only=("hpc",))
    assert done.failures == {}
    assert len(done.measurements) == (4 if device == "cpu" else 5)
    assert all(m.verification for m in done.measurements)


def played_kernel(name: str) -> Any:
    """Our kernels, as torch calls."""
    from gpubench.kernels import stencil, stream

    class Played:
        CONFIGS = stencil.CONFIGS
        DEFAULT = stream.DEFAULT

        @staticmethod
        def triad(a: Any, b: Any, c: Any, s: float, *, programs: int) -> None:
            assert name == "stream"
            assert programs == DEVICE.units * stream.DEFAULT.programs_per_multiprocessor
            a.copy_(b + s * c)

        @staticmethod
        def seven_point(v: Any, u: Any, a: float, b: float, *, config: Any) -> None:
            assert (name, a, b) == ("stencil", hpc._A, hpc._B)
            assert config in stencil.CONFIGS
            v.copy_(hpc._seven_point(u))

    return Played
