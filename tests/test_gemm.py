"""Matrix products as a benchmark: what is planned, counted, checked, and held against."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench import benchmarks
from gpubench.benchmarks import _fastest, _matrices, gemm
from gpubench.benchmarks.gemm import torch_call
from gpubench.errors import CannotMeasure, DeviceLost, WrongResult
from gpubench.measuring import Ceilings, Device
from gpubench.model import Case
from gpubench.quantities import QUANTITIES
from gpubench.running import campaign
from tests.devices import CPU, H200

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)

HOST = replace(CPU, units=2)


def case(precision: str = "fp32", m: int = 64, data: str = "normal", method: str = "torch") -> Case:
    return Case("gemm", method, {"precision": precision, "m": m, "n": 48, "k": 80, "data": data})


def test_a_product_counts_two_operations_for_each_pair() -> None:
    found = gemm.work({"precision": "fp16", "m": 2, "n": 3, "k": 5, "data": "normal"})
    assert found.flops == 2 * 2 * 3 * 5
    assert found.bytes == 2 * (2 * 5 + 5 * 3 + 2 * 3)
    cube = gemm.work({"precision": "bf16", "m": 8192, "n": 8192, "k": 8192, "data": "normal"})
    assert cube.flops == pytest.approx(1.0995e12, rel=1e-4)
    eight = gemm.work({"precision": "fp8", "m": 2, "n": 3, "k": 5, "data": "normal"})
    assert eight.bytes == 2 * 5 + 5 * 3 + 2 * (2 * 3)  # the result is kept in BF16
    whole = gemm.work({"precision": "int8", "m": 2, "n": 3, "k": 5, "data": "normal"})
    assert whole.bytes == 2 * 5 + 5 * 3 + 4 * (2 * 3)


def test_the_ceiling_of_an_h200_is_its_units_at_the_largest_clock() -> None:
    # 132 multiprocessors of 4 matrix units, 512 multiply-adds a clock each, at 1980 MHz.
    expected = 132 * 4 * 512 * 2 * 1.98e9
    for precision in ("fp16", "bf16"):
        assert gemm.ceilings(case(precision), H200).compute == pytest.approx(expected)
    assert expected == pytest.approx(1070.5e12, rel=1e-4)
    for precision, times in (("fp8", 2), ("int8", 2), ("tf32", 1 / 2), ("fp64_tensor", 1 / 16)):
        found = gemm.ceilings(case(precision), H200).compute
        assert found == pytest.approx(times * expected), precision


def test_no_ceiling_is_guessed() -> None:
    assert gemm.ceilings(case(), HOST) == Ceilings()
    assert gemm.ceilings(case("fp16"), replace(H200, accelerator=None)) == Ceilings()
    assert gemm.ceilings(case("fp16"), replace(H200, max_sm_clock_hz=0.0)) == Ceilings()


def planned(suite: str, device: Device = H200) -> list[tuple[Case, tuple[str, ...]]]:
    return [(p.case, p.phases) for p in gemm.plan(device, suite)]


@pytest.mark.parametrize("suite", ["quick", "standard", "full"])
def test_methods_stand_beside_each_other_so_that_they_are_measured_in_turn(suite: str) -> None:
    cases = [c for c, _ in planned(suite) if c.parameters["data"] == "normal"]
    places = [place for place, c in enumerate(cases) if c.method == "triton"]
    assert all(cases[at - 1].method == "torch" for at in places)
    assert all(cases[at - 1].parameters == cases[at].parameters for at in places)
    both = {cases[at].parameters["precision"] for at in places}
    assert both >= {"fp16", "bf16"} | ({"fp8"} if suite != "quick" else set())


def test_the_ladder_and_the_precisions_grow_with_the_suite() -> None:
    cubes = {
        suite: {c.parameters["m"] for c, _ in planned(suite) if is_cube(c, "fp16")}
        for suite in ("quick", "standard", "full")
    }
    assert cubes == {
        "quick": {8192},
        "standard": {4096, 8192, 16384},
        "full": {1024, 2048, 4096, 8192, 16384},
    }
    found = {
        suite: {c.parameters["precision"] for c, _ in planned(suite)}
        for suite in ("quick", "standard", "full")
    }
    assert found["quick"] == {"fp16", "bf16"}
    assert found["standard"] == {"fp16", "bf16", "fp8", "int8", "tf32"}
    assert found["full"] == found["standard"] | {"fp32", "fp64_tensor"}
    assert all(name in QUANTITIES for p in found["full"] if (name := f"peak_{p}"))


def is_cube(case: Case, precision: str) -> bool:
    p = case.parameters
    return p["m"] == p["n"] == p["k"] and (p["precision"], p["data"]) == (precision, "normal")


def test_heat_and_other_data_where_there_is_time() -> None:
    heated = [c.parameters for c, phases in planned("standard") if len(phases) == 2]
    assert {(p["m"], p["precision"]) for p in heated} == {(8192, "fp16")}
    assert {c.parameters["data"] for c, _ in planned("standard")} == {"normal"}
    full = planned("full")
    heated = [c.parameters for c, phases in full if len(phases) == 2]
    assert {p["precision"] for p in heated if p["data"] == "normal"} == {"fp16", "bf16", "fp8"}
    assert {c.parameters["data"] for c, _ in full} == {"normal", "zeros", "ones", "signs"}


A100 = replace(H200, capability="8.0", accelerator="nvidia-a100-80gb-sxm4", name="an A100")
V100 = replace(H200, capability="7.0", accelerator=None, name="a V100")
MI300X = replace(H200, capability="gfx942", accelerator="amd-mi300x", name="an MI300X")


@pytest.mark.parametrize(
    ("device", "lacks"),
    [
        (H200, {}),
        (A100, {"FP8": "NVIDIA A100 80GB SXM4 has no matrix hardware for it"}),
        (
            V100,
            {
                name: f"needs compute capability {least}, and a V100 has 7.0"
                for name, least in (("BF16", 8.0), ("FP8", 8.9), ("INT8", 7.5), ("TF32", 8.0))
            },
        ),
        (MI300X, {"TF32": "torch multiplies no TF32 on AMD's devices"}),
        (HOST, {}),
    ],
)
def test_a_precision_that_a_part_lacks_is_left_out_with_the_reason(
    device: Device, lacks: dict[str, str]
) -> None:
    assert dict(gemm.left_out(device, "full")) == lacks
    found = {c.parameters["precision"].upper() for c, _ in planned("full", device)}
    assert not found & lacks.keys()
    assert "FP16" in found
    assert dict(gemm.left_out(device, "quick")).keys() <= {"BF16"}


def test_what_is_left_out_is_told_in_one_sentence_for_all_benchmarks() -> None:
    told = campaign.left_out(A100, "full")
    assert "gemm FP8: NVIDIA A100 80GB SXM4 has no matrix hardware for it" in told.split("; ")
    assert "sparse_gemm FP8: NVIDIA A100 80GB SXM4 has no matrix hardware for it" in told
    assert campaign.left_out(H200, "full") == ""


def test_fp64_is_small_where_only_vector_units_have_it() -> None:
    sizes = {
        d.name: [c.parameters["m"] for c, _ in planned("full", d) if "fp64" in str(c.parameters)]
        for d in (H200, A100, V100)
    }
    assert sizes == {"NVIDIA H200": [8192], "an A100": [8192], "a V100": [4096]}


def test_int8_on_blackwell_is_left_to_the_library_since_triton_has_no_units_for_it() -> None:
    methods = [
        [c.method for c, _ in planned("full", device) if c.parameters["precision"] == "int8"]
        for device in (H200, replace(H200, capability="10.0", accelerator="nvidia-b200"))
    ]
    assert methods == [["torch", "triton"], ["torch"]]


def test_a_small_card_leaves_out_what_does_not_fit() -> None:
    small = replace(H200, memory_free=2 * 10**9)
    sizes = [c.parameters["m"] for c, _ in planned("standard", small)]
    assert 16384 not in sizes
    assert 8192 in sizes
    ((what, why),) = gemm.left_out(small, "standard")
    assert "fp16 16384 × 16384 × 16384" in what.split(", ")
    assert why == "does not fit beside its checks into the 2 GB that are free"
    # Both methods have matrices of their own while they take turns.
    assert all(2 * gemm.work(c.parameters).bytes < 10**9 for c, _ in planned("standard", small))


def test_a_processor_is_measured_by_torch_alone() -> None:
    plan = gemm.plan(HOST, "standard")
    assert {p.case.method for p in plan} == {"torch"}
    assert {p.case.parameters["precision"] for p in plan} == {"fp32", "bf16", "fp16"}
    assert max(p.case.parameters["m"] for p in plan) == 2048


@given(units=st.integers(1, 300), suite=st.sampled_from(["standard", "full"]))
def test_the_search_fills_every_wave(units: int, suite: str) -> None:
    for m, n, _ in gemm.filling_shapes(units, suite):
        assert (m // 128) * (n // 256) % units == 0
        assert m % 128 == n % 256 == 0


def test_what_a_case_finds_is_its_precision_s_peak_and_only_normal_data_is_evidence() -> None:
    assert benchmarks.quantity(case("fp16")) == "peak_fp16"
    assert benchmarks.quantity(case("bf16", data="zeros")) == "peak_bf16"
    assert benchmarks.unit(case("fp16")) == "FLOP/s"
    assert benchmarks.is_evidence(case("fp16"))
    assert not benchmarks.is_evidence(case("fp16", data="zeros"))


def test_benchmarks_without_quantities_of_their_own_keep_the_module_s() -> None:
    copy = Case("bandwidth", "torch", {"pattern": "copy", "n": 8})
    assert (benchmarks.quantity(copy), benchmarks.unit(copy)) == ("memory_bandwidth", "B/s")
    assert benchmarks.is_evidence(copy)
    launch = Case("launch", "torch", {"way": "queued"})
    assert benchmarks.quantity(launch) == ""
    assert not benchmarks.is_evidence(launch)
    assert benchmarks.quantity(Case("of another version", "torch", {})) == ""


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("precision", sorted(_matrices.PRECISIONS))
def test_a_product_on_the_processor_is_checked_and_called(precision: str) -> None:
    prepared = gemm.prepare(case(precision), HOST, seed=1)
    prepared.call()
    said = "equal to the reference" if precision == "int8" else "relative error"
    pattern = rf"a random projection, \d+ rows and \d+ columns: {said}"
    assert re.match(pattern, prepared.verification)
    assert prepared.work == gemm.work(prepared.case.parameters)


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("data", ["zeros", "ones", "signs"])
def test_other_data_is_checked_too(data: str) -> None:
    prepared = gemm.prepare(case("fp32", data=data), HOST, seed=1)
    assert "equal to the reference" in prepared.verification


@needs_torch
@pytest.mark.slow
def test_data_is_what_its_name_says() -> None:
    import torch

    def filled(data: str) -> Any:
        return _matrices.fill(
            torch.empty(100, 100, dtype=dtype), data, torch.Generator().manual_seed(1)
        ).float()

    for name in ("float32", "bfloat16", "float8_e4m3fn", "int8", "float64"):
        dtype = getattr(torch, name)
        assert set(filled("signs").unique().tolist()) == {-1.0, 1.0}
        assert set(filled("ones").unique().tolist()) == {1.0}
        assert set(filled("zeros").unique().tolist()) == {0.0}
        sigma = 127 / 4 if name == "int8" else 1.0
        assert filled("normal").std().item() == pytest.approx(sigma, rel=0.05)


class Wrong:
    """A product that leaves something wrong in C."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __call__(self, x: gemm.Matrices, case: Case) -> Any:
        right = torch_call(x, case)

        def call() -> None:
            right()
            if self.fault == "unwritten":
                x.c[5, 7] = float("nan")
            elif self.fault == "infinite":
                x.c[5, 7] = float("inf")
            elif self.fault == "scaled":
                x.c.mul_(1.01)
            elif self.fault == "off by one":
                x.c[33, 21] += 1
            elif self.fault == "a large tile left out":
                x.c[384:512, 1280:1408] = 0
            else:
                x.c[32:40, 16:32] = 0  # one tile

        return call


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("unwritten", r"gives a wrong answer \(1 elements are no number\), so it is"),
        ("infinite", "fp32 64 × 48 × 80 gives a wrong answer"),
        ("scaled", "its relative error is 1"),
        ("a tile left out", "fp32 64 × 48 × 80 gives a wrong answer"),
    ],
)
def test_a_wrong_answer_is_not_timed(
    fault: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemm, "torch_call", Wrong(fault))
    with pytest.raises(WrongResult, match=sentence):
        gemm.prepare(case(), HOST, seed=1)


@needs_torch
@pytest.mark.slow
def test_a_tile_between_the_samples_is_seen_in_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "torch_call", Wrong("a tile left out"))
    monkeypatch.setattr(_matrices, "drawn", lambda size, _: [0, size - 1])
    with pytest.raises(WrongResult, match="gives a wrong answer"):
        gemm.prepare(case(), HOST, seed=1)


@needs_torch
@pytest.mark.slow
def test_a_tile_left_out_shows_in_fp8_where_much_error_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of 8 × 32 tiles: 6 % of the error of all of C, and 18 % of that of its strip of rows."""
    large = Case("gemm", "torch", {"precision": "fp8", **LARGE, "data": "normal"})
    monkeypatch.setattr(gemm, "torch_call", Wrong("a large tile left out"))
    monkeypatch.setattr(_matrices, "drawn", lambda size, _: [0, size - 1])
    with pytest.raises(WrongResult, match="gives a wrong answer"):
        gemm.prepare(large, HOST, seed=1)


LARGE = {"m": 1024, "n": 4096, "k": 64}


@needs_torch
@pytest.mark.slow
def test_one_wrong_count_of_whole_numbers_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "torch_call", Wrong("off by one"))
    with pytest.raises(WrongResult, match="int8 64 × 48 × 80 gives a wrong answer"):
        gemm.prepare(case("int8"), HOST, seed=1)


@needs_torch
@pytest.mark.slow
def test_a_type_that_torch_cannot_multiply_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(torch, "mm", refused)
    with pytest.raises(CannotMeasure, match="this torch has no product for it here"):
        gemm.prepare(case("fp16"), HOST, seed=1)


class Stopwatch:
    """A clock that makes each call once, and tells the seconds that a script holds for it."""

    def __init__(self, script: dict[Any, float], launched: list[Any]) -> None:
        self.script, self.launched = script, launched

    def samples(self, call: Any, _calls: int, count: int) -> list[float]:
        call()
        return [self.script.get(self.launched[-1] if self.launched else None, 1.0)] * count

    def release(self) -> None:
        pass


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Our kernels with a launch that torch carries out on the processor, or a fault to order."""
    pytest.importorskip("torch")
    found = pytest.importorskip("gpubench.kernels.gemm")
    found_launched: list[Any] = []
    found_faults: dict[Any, Exception] = {}
    found_wrong: list[Any] = []

    def multiply(c: Any, a: Any, b: Any, *, programs: int, config: Any, tf32: bool = False) -> None:
        assert (programs, tf32) == (132, False)
        if config in found_faults:
            raise found_faults[config]
        found_launched.append(config)
        c.copy_(a @ b)
        if config in found_wrong:
            c[:16, :16] = 0  # one tile

    monkeypatch.setattr(found, "multiply", multiply)
    seconds = {config: 9.0 - place for place, config in enumerate(found.CONFIGS["hopper"])}
    monkeypatch.setattr(found, "configs", lambda _capability, _bytes: found.CONFIGS["hopper"])
    monkeypatch.setattr(_fastest, "DeviceClock", lambda _: Stopwatch(seconds, found_launched))
    return found, found_faults, found_wrong


GPU_OF_TORCH = replace(H200, kind="cpu")  # so that its matrices lie in the host's memory


@pytest.mark.slow
def test_the_fastest_configuration_is_chosen_and_all_are_kept(kernels: Any) -> None:
    module, faults, _ = kernels
    configs = module.CONFIGS["hopper"]
    faults[configs[-1]] = RuntimeError("PassManager::run failed")
    prepared = gemm.prepare(case("fp32", method="triton"), GPU_OF_TORCH, seed=1)
    assert prepared.choices["config"] == vars(configs[-2])
    tried = prepared.choices["search"]
    assert [row["seconds"] for row in tried] == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, None][: len(configs)]
    assert "does not compile for this device" in tried[-1]["failed"]
    assert "failed" not in tried[0]


@pytest.mark.slow
def test_a_configuration_that_is_wrong_is_named_and_not_chosen(kernels: Any) -> None:
    module, _, wrong = kernels
    wrong.append(module.CONFIGS["hopper"][-1])
    prepared = gemm.prepare(case("fp32", method="triton"), GPU_OF_TORCH, seed=1)
    assert prepared.choices["config"] == vars(module.CONFIGS["hopper"][-2])
    assert "gives a wrong answer" in prepared.choices["search"][-1]["failed"]


@pytest.mark.slow
def test_a_device_on_which_no_configuration_runs_is_told_why(kernels: Any) -> None:
    module, faults, _ = kernels
    faults |= dict.fromkeys(module.CONFIGS["hopper"], RuntimeError("PassManager::run failed"))
    with pytest.raises(
        CannotMeasure, match=r"none of the 7 configurations ran .* does not compile"
    ):
        gemm.prepare(case("fp32", method="triton"), GPU_OF_TORCH, seed=1)


@pytest.mark.slow
def test_a_device_that_is_lost_in_the_search_is_lost(kernels: Any) -> None:
    module, faults, _ = kernels
    faults[module.CONFIGS["hopper"][2]] = RuntimeError("CUDA error: an illegal memory access")
    with pytest.raises(DeviceLost):
        gemm.prepare(case("fp32", method="triton"), GPU_OF_TORCH, seed=1)
