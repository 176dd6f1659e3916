"""Double-precision kernels against arithmetic intensity and published streams."""

from __future__ import annotations

import pytest

from gpubench import catalogue
from gpubench.errors import CannotEstimate, MissingFigure
from gpubench.roofline import calibration, hpc

MID = calibration.load().mid
PARTS = catalogue.load().accelerators
H100, H200, H20 = (PARTS[f"nvidia-{n}"] for n in ("h100-sxm5", "h200-sxm", "h20-96gb"))


def test_triad_reaches_what_babelstream_prints() -> None:
    rate, binding = hpc.rate(H100, "triad", MID)
    assert rate * 12 == pytest.approx(2.97e12, rel=0.04)  # 24 B for 2 FLOP
    assert binding == "memory bandwidth"


def test_memory_bound_kernels_follow_bandwidth_and_matrix_products_the_peak() -> None:
    for kernel in ("triad", "spmv"):
        ratio = hpc.rate(H200, kernel, MID)[0] / hpc.rate(H100, kernel, MID)[0]
        assert ratio == pytest.approx(4.8 / 3.35, rel=0.01)
    assert hpc.rate(H200, "dgemm", MID)[0] == pytest.approx(
        hpc.rate(H100, "dgemm", MID)[0], rel=0.01
    )


def test_an_h20_lacks_fp64_even_for_a_stencil() -> None:
    rate, binding = hpc.rate(H20, "stencil", MID)
    assert binding == "compute"
    assert rate < 1e12
    assert hpc.rate(H100, "dgemm", MID)[0] > 50 * hpc.rate(H20, "dgemm", MID)[0]


def test_an_unknown_kernel_or_peak_is_refused() -> None:
    with pytest.raises(CannotEstimate, match="use triad"):
        hpc.rate(H100, "fft", MID)
    with pytest.raises(MissingFigure):
        hpc.rate(PARTS["huawei-ascend-910b3"], "triad", MID)
