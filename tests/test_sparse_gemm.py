"""Sparse products: what is planned, how they count, what prunes, and what claims they speak for."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest

from gpubench import benchmarks
from gpubench.benchmarks import gemm, sparse_gemm
from gpubench.catalogue import Catalogue
from gpubench.comparing import normalised
from gpubench.errors import CannotMeasure, DeviceLost
from gpubench.judging.judgement import judge_all
from gpubench.measuring import Device
from gpubench.model import Block, Case, Measurement, Verdict
from tests.conftest import Load
from tests.test_gemm import A100, H200, HOST, MI300X, V100
from tests.test_measured import MADE, product

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)
CUBE = {"m": 8192, "n": 8192, "k": 8192, "data": "normal"}


def case(precision: str = "fp16", **shape: int) -> Case:
    return Case("sparse_gemm", "torch", {**CUBE, **shape, "precision": precision})


def test_the_rate_counts_the_dense_product_and_the_bytes_what_is_moved() -> None:
    sparse, dense = (b.work(case().parameters) for b in (sparse_gemm, gemm))
    assert sparse.flops == dense.flops == 2 * 8192**3
    # Half of A, two bits for each value that is kept, B and C.
    assert sparse.bytes == (0.5 * 2 + 0.5 * 0.25 + 2 + 2) * 8192**2


@pytest.mark.parametrize(
    ("device", "precisions"),
    [
        (H200, {"fp16", "bf16", "fp8", "int8"}),
        (A100, {"fp16", "bf16", "int8"}),
        (V100, set()),
        (MI300X, set()),
        (HOST, set()),
        (replace(H200, memory_free=10**8), set()),
    ],
)
def test_what_a_part_lacks_is_not_planned(device: Device, precisions: set[str]) -> None:
    planned = sparse_gemm.plan(device, "full")
    assert {p.case.parameters["precision"] for p in planned} == precisions
    left = {
        name: why
        for names, why in sparse_gemm.left_out(device, "full")
        for name in names.lower().split(", ")
    }
    every = {"fp16", "bf16", "fp8", "int8"} if device.kind == "cuda" else set()
    assert left.keys() == every - precisions
    assert all(left.values())


def test_the_quick_suite_has_none_and_the_full_one_heats_fp16() -> None:
    assert sparse_gemm.plan(H200, "quick") == ()
    (standard,) = sparse_gemm.plan(H200, "standard")
    assert standard.phases == ("burst",)
    heated = [
        p.case.parameters["precision"] for p in sparse_gemm.plan(H200, "full") if p.phases[1:]
    ]
    assert heated == ["fp16"]


def test_the_ceiling_is_twice_the_dense_one() -> None:
    dense = gemm.ceilings(replace(case(), benchmark="gemm"), H200).compute
    sparse = sparse_gemm.ceilings(case(), H200).compute
    assert dense
    assert sparse == pytest.approx(2 * dense)


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "int8"])
def test_the_two_larger_of_each_four_stay(name: str) -> None:
    import torch

    made = torch.randn(40, 64, generator=torch.Generator().manual_seed(1)) * 30
    a = made.to(getattr(torch, name))
    before = a.float().reshape(40, -1, 4)
    after = sparse_gemm.pruned(a).float().reshape(40, -1, 4)
    kept = after != 0
    assert int(kept.sum(2).max()) <= 2
    assert torch.equal(after[kept], before[kept])
    two_largest = before.abs().sort(dim=2).values[..., 2:].sum(2)
    assert torch.equal(after.abs().sum(2), two_largest)


class NoLibrary:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def is_available(self) -> bool:
        raise self.error


@needs_torch
@pytest.mark.slow
def test_a_torch_without_sparse_products_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    small = case(m=64, n=48, k=80)
    missing = NoLibrary(RuntimeError("cuSPARSELt not supported on your machine.\nmore"))
    monkeypatch.setattr(torch.backends, "cusparselt", missing)
    with pytest.raises(CannotMeasure, match=r"no sparse product for it here .cuSPARSELt not supp"):
        sparse_gemm.prepare(small, HOST, seed=1)
    lost = NoLibrary(RuntimeError("CUDA error: an illegal memory access was encountered"))
    monkeypatch.setattr(torch.backends, "cusparselt", lost)
    with pytest.raises(DeviceLost):
        sparse_gemm.prepare(small, HOST, seed=1)


def sparse(tflops: float) -> Measurement:
    """A made-up measurement, for these stories only."""
    seconds = 2.0 * 8192**3 / (tflops * 1e12)
    blocks = tuple(Block((seconds,) * 5, {"sm_clock_hz": 1.7e9}) for _ in range(8))
    return Measurement(case(), 1, sparse_gemm.work(case().parameters), blocks, 1, 0.2)


def test_a_sparse_rate_is_held_against_the_sparse_peak(shipped: Catalogue) -> None:
    record = replace(MADE, measurements=(sparse(1200.0),))
    (found,) = normalised.rates(record, shipped)
    assert benchmarks.figure(case()) == "peak_fp16_sparse"
    assert found.of_datasheet == pytest.approx(1200 / 1979, rel=1e-3)
    assert normalised.sustained_rates(record).matrix == {}


CLAIM = """
subject: nvidia-h200-sxm
quantity: peak_fp16
claimed: {value: 1979 TFLOPS, qualifier: exact}
sweep: {sparsity: [dense, sparse]}
"""


def judged(load_claims: Load, shipped: Catalogue, body: str, *found: Measurement) -> Verdict:
    record = replace(MADE, measurements=found)
    return judge_all(load_claims(body), shipped, (), [record]).verdicts[0]


def test_1979_is_the_rate_with_sparsity_and_a_dense_rate_refutes_it_without(
    load_claims: Load, shipped: Catalogue
) -> None:
    said = judged(load_claims, shipped, CLAIM, product(740.0), sparse(1200.0))
    measured = {
        item.conditions["sparsity"]: relation
        for item, relation in zip(said.evidence, said.relations, strict=True)
        if item.kind == "measured"
    }
    # No floor is known for sparse products, so theirs says nothing about the peak.
    assert measured == {"dense": "below", "sparse": "sustained"}
    assert said.outcome == "conditional"


def test_a_claim_on_the_dense_rate_hears_no_sparse_one(
    load_claims: Load, shipped: Catalogue
) -> None:
    dense = CLAIM.replace("sweep: {sparsity: [dense, sparse]}", "conditions: {sparsity: dense}")
    said = judged(load_claims, shipped, dense, sparse(1200.0))
    assert "measured" not in {item.kind for item in said.evidence}
