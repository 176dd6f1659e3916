"""The kernel of the fused sweep: its results, its launch, and its machine code, without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from gpubench.benchmarks import _streams
from tests.kernels_support import Kernel, current_gpu, needs_torch, needs_triton, scripts, told_by
from tests.test_kernels_stream import Array

TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return told_by("kernels_interpreted.py")


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, Any]]:
    with scripts(**{name: ("kernels_intensity_aot.py", name) for name in TARGETS}) as running:
        return {target: script.told() for target, script in running.items()}


@needs_torch
@pytest.mark.slow
def test_so_many_steps_are_done_and_no_neighbour_is_touched(interpreted: dict[str, Any]) -> None:
    cases = interpreted["steps"]
    assert len(cases) == 48
    wrong = [c for c in cases if not (c["right"] and c["guards_hold"] and c["inputs_unchanged"])]
    assert wrong == []


@needs_torch
@pytest.mark.slow
def test_steps_that_do_not_fill_rows_are_refused(interpreted: dict[str, Any]) -> None:
    for mistake in ("steps", "no step"):
        assert "up to 16, or a multiple of it" in interpreted["refusals"][mistake]


@needs_triton
def test_rows_of_steps_are_counted_and_one_binary_serves_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intensity = pytest.importorskip("gpubench.kernels.intensity")
    current_gpu(monkeypatch, intensity.stream)
    kernel = Kernel()
    monkeypatch.setattr(intensity, "_apply", kernel)
    monkeypatch.setattr(intensity.stream, "_check_partials", lambda *_: None)
    for steps, rows, row in ((1, 1, 1), (8, 1, 8), (16, 1, 16), (256, 16, 16)):
        a = Array(0)
        intensity.apply(None, a, 0.5, 0.25, steps=steps, programs=792)
        assert kernel.grid == (792,)
        assert kernel.arguments == (None, a, 0.5, 0.25, 1000, rows)
        assert kernel.options["ROW"] == row


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_loads_are_wide_and_every_step_is_one_multiply_add(
    compiled: dict[str, dict[str, Any]], target: str
) -> None:
    from gpubench.kernels import intensity

    for row, code in compiled[target].items():
        assert code["loads"] == ["dwordx4" if target == "gfx942" else "v4.b32"]
        assert code["spilled"] == 0
        # LLVM may unroll the loop of rows, as it does for AMD since Triton 3.8: whole rows, then.
        assert code["steps"] == int(row) or (target == "gfx942" and code["steps"] % int(row) == 0)
        assert code["multiplications"] == 0  # none that is not part of a multiply-add
        # NVIDIA: 65,536 registers a multiprocessor, 8 at a time; all programs are to fit.
        programs = intensity.DEFAULT.programs_per_multiprocessor
        assert code["registers"] <= 65536 // (programs * 32 * intensity.DEFAULT.num_warps) // 8 * 8


@needs_torch
@pytest.mark.slow
def test_the_sum_after_the_steps_is_the_one_the_benchmark_expects() -> None:
    """The closed form, against steps done one by one."""
    from gpubench.benchmarks import intensity

    x = _streams.Arrays("cpu", 1000, seed=3)
    v = x.a.double()
    for steps in range(1, 20):
        v = intensity._FACTOR * v + intensity._ADDED
        expected = intensity._after(steps, _streams.sum_of("read", x), x.n)
        assert float(expected) == pytest.approx(float(v.sum()), rel=1e-12)
    # One step more or less is seen: it moves the sum by far more than the check allows.
    later = intensity._after(257, _streams.sum_of("read", x), x.n)
    sooner = intensity._after(256, _streams.sum_of("read", x), x.n)
    assert abs(float(later / sooner) - 1) > 5 * intensity._TOLERANCE
