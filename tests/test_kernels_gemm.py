"""The matrix products' results, arguments, order of tiles and search, without a GPU."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels_support import (
    Kernel,
    current_gpu,
    needs_torch,
    needs_triton,
    specialised,
    told_by,
)


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return told_by("kernels_gemm_interpreted.py")


@pytest.fixture
def gemm() -> Any:
    return pytest.importorskip("gpubench.kernels.gemm")


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("by_columns", [True, False])
@pytest.mark.parametrize(
    "kernel",
    [
        "descriptors",
        "descriptors in halves",
        "descriptors, tall tiles",
        "pointers",
        "pointers, wide tiles",
    ],
)
def test_ragged_shapes_agree_with_float64_and_touch_nothing_else(
    interpreted: dict[str, Any], kernel: str, by_columns: bool
) -> None:
    cases = [
        c for c in interpreted["cases"] if (c["kernel"], c["by_columns"]) == (kernel, by_columns)
    ]
    assert len(cases) >= 7
    assert {c["dtype"] for c in cases} == {"float16", "float32", "int8"}
    wrong = [
        case
        for case in cases
        if not (case["right"] and case["guards_hold"] and case["inputs_unchanged"])
    ]
    assert wrong == []


@needs_torch
@pytest.mark.slow
def test_a_kernel_that_runs_over_the_end_would_be_seen(interpreted: dict[str, Any]) -> None:
    assert interpreted["guards hold without a mask"] is False


@needs_torch
@pytest.mark.slow
def test_a_single_column_lies_both_ways(interpreted: dict[str, Any]) -> None:
    assert interpreted["narrow"] is True


@needs_torch
@pytest.mark.slow
def test_the_kernel_takes_tiles_in_the_order_that_is_tested_here(
    interpreted: dict[str, Any], gemm: Any
) -> None:
    ordered = [gemm._place.fn(tile, 7, 5, 3) for tile in range(35)]
    assert [tuple(place) for place in interpreted["places"]] == ordered


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("inner size", "the shapes do not fit: c 32 × 32 float32 on cpu, a 32 × 16"),
        ("outer size", "the shapes do not fit: c 32 × 31"),
        ("vector", "a (16 float32 on cpu): must be a matrix that is not empty"),
        ("empty", "a (0 × 16 float32 on cpu): must be a matrix that is not empty"),
        ("type", "b 16 × 32 float16 on cpu: a and b are both of float16, bfloat16"),
        ("integers", "no kernel for c 32 × 32 int32"),
        ("narrow sum", "no kernel for c 32 × 32 int8"),
        ("narrow result", "c is of the same type or wider"),
        ("stride", "a (32 × 16 float32 on cpu): must lie in memory by rows"),
        ("overlapping rows", "a (32 × 16 float32 on cpu): must lie in memory by rows"),
        ("b in pieces", "b (16 × 32 float32 on cpu): must lie in memory by rows or by columns"),
        ("result by columns", "c (32 × 32 float32 on cpu): must lie in memory by rows"),
        ("rows", "its start and its rows must be multiples of 16 bytes to be moved by descriptors"),
        ("address", "pad it, or choose a configuration without them"),
        ("same memory", "c and a share memory: give c memory of its own"),
        ("programs", "programs is 0: launch at least one"),
    ],
)
def test_unfit_matrices_are_refused(
    interpreted: dict[str, Any], mistake: str, sentence: str
) -> None:
    assert sentence in interpreted["refusals"][mistake]


@needs_triton
@given(
    tiles_m=st.integers(1, 40),
    tiles_n=st.integers(1, 40),
    group=st.integers(1, 17),
    programs=st.integers(1, 200),
)
def test_every_tile_is_computed_once(tiles_m: int, tiles_n: int, group: int, programs: int) -> None:
    gemm = pytest.importorskip("gpubench.kernels.gemm")
    tiles = tiles_m * tiles_n
    taken = [
        gemm._place.fn(tile, tiles_m, tiles_n, group)
        for program in range(min(programs, tiles))
        for tile in range(program, tiles, min(programs, tiles))
    ]
    assert sorted(taken) == [(i, j) for i in range(tiles_m) for j in range(tiles_n)]


@needs_triton
def test_tiles_of_one_moment_share_rows_and_columns(gemm: Any) -> None:
    # 132 tiles side by side would read 2 + 64 strips; groups of 8 rows read 8 + 17 or so.
    def strips(group: int, first: int) -> int:
        places = [gemm._place.fn(tile, 64, 64, group) for tile in range(first, first + 132)]
        return len({row for row, _ in places}) + len({column for _, column in places})

    assert strips(8, 0) == 25
    assert max(strips(8, first) for first in range(0, 64 * 64 - 132, 132)) <= 33
    assert strips(1, 0) == 67


class Matrix:
    """What the wrapper asks of a tensor, without memory behind it."""

    dtype = "torch.float16"

    def __init__(
        self,
        address: int,
        shape: tuple[int, int],
        strides: tuple[int, int],
        kind: str = "cuda",
        index: int | None = 0,
    ) -> None:
        self.address, self.shape, self.strides = address, shape, strides
        self.device = SimpleNamespace(type=kind, index=index)

    @property
    def T(self) -> Matrix:  # noqa: N802 - torch's name
        device = self.device
        return Matrix(self.address, self.shape[::-1], self.strides[::-1], device.type, device.index)

    def stride(self, place: int | None = None) -> Any:
        return self.strides if place is None else self.strides[place]

    def dim(self) -> int:
        return 2

    def numel(self) -> int:
        return self.shape[0] * self.shape[1]

    def element_size(self) -> int:
        return 2

    def data_ptr(self) -> int:
        return self.address


@pytest.fixture
def launched(gemm: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kernel]:
    current_gpu(monkeypatch, gemm)
    monkeypatch.setattr(gemm.triton, "set_allocator", lambda _: None)
    kernels = {name: Kernel() for name in ("_persistent", "_one_tile")}
    for name, kernel in kernels.items():
        monkeypatch.setattr(gemm, name, kernel)
    return kernels


def matrices(m: int, n: int, k: int) -> tuple[Matrix, Matrix, Matrix]:
    """c, a and b, b by columns."""
    return (
        Matrix(0, (m, n), (n, 1)),
        Matrix(2**32, (m, k), (k, 1)),
        Matrix(2**33, (k, n), (1, k)),
    )


def test_as_many_programs_as_it_is_told_and_no_more_than_tiles(
    gemm: Any, launched: dict[str, Kernel]
) -> None:
    config = gemm.Config(128, 256, 128, 8, 4, subtiles=2, flatten=True)
    c, a, b = matrices(8192, 4096, 1024)
    gemm.multiply(c, a, b, programs=132, config=config)
    kernel = launched["_persistent"]
    assert kernel.grid == (132,)
    assert kernel.arguments == (c, a, b, 8192, 4096, 1024, 4096, 1024, 1024)
    assert kernel.options == {
        "BM": 128,
        "BN": 256,
        "BK": 64,
        "GROUP": 8,
        "BY_COLUMNS": True,
        "INPUT": "ieee",
        "SUBTILES": 2,
        "SPECIALIZE": False,
        "FLATTEN": True,
        "num_warps": 8,
        "num_stages": 4,
        "enable_fp_fusion": True,
    }
    gemm.multiply(*matrices(1024, 1024, 64), programs=132, config=config, tf32=True)
    assert kernel.grid == (32,)
    assert kernel.options["INPUT"] == "tf32"


def test_pointers_launch_one_program_a_tile(gemm: Any, launched: dict[str, Kernel]) -> None:
    config = gemm.CONFIGS["ampere"][0]
    c, a, _ = matrices(1000, 1000, 64)
    b = Matrix(2**33, (64, 1000), (1000, 1))
    gemm.multiply(c, a, b, programs=108, config=config)
    kernel = launched["_one_tile"]
    assert kernel.grid == (8 * 4,)
    assert kernel.arguments[3:] == (1000, 1000, 64, 1000, 64, 1000)
    assert kernel.options["BY_COLUMNS"] is False
    assert "SPECIALIZE" not in kernel.options


@needs_triton
def test_matrices_outside_the_current_gpu_are_refused(
    gemm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, a, b = (replace_device(matrix, "cpu", None) for matrix in matrices(64, 64, 64))
    with pytest.raises(ValueError, match="is not in GPU memory"):
        gemm.multiply(c, a, b, programs=1)
    current_gpu(monkeypatch, gemm, 1)
    with pytest.raises(ValueError, match="is not on the current GPU"):
        gemm.multiply(*matrices(64, 64, 64), programs=1)


def replace_device(matrix: Matrix, kind: str, index: int | None) -> Matrix:
    return Matrix(matrix.address, matrix.shape, matrix.strides, kind, index)


@needs_triton
def test_a_launch_compiles_what_the_tests_compile_ahead_of_time(gemm: Any) -> None:
    from triton.runtime.jit import MockTensor

    array = MockTensor("float16")
    constants = {"BM": 128, "BN": 256, "BK": 64, "GROUP": 8, "BY_COLUMNS": True, "SUBTILES": 1}
    constants |= {"INPUT": "ieee", "SPECIALIZE": True, "FLATTEN": False}
    found = specialised(gemm._persistent, array, array, array, *(8192,) * 6, **constants)
    assert found == [("*fp16", "D")] * 3 + [("i32", "D")] * 6


@needs_triton
@pytest.mark.parametrize(
    ("capability", "family"),
    [
        ("9.0", "hopper"),
        ("10.0", "blackwell"),
        ("10.3", "blackwell"),
        ("8.0", "ampere"),
        ("8.9", "ampere"),
        ("12.0", "ampere"),  # no tensor memory, and less shared memory than Hopper
        ("gfx942", "amd"),
        ("", "ampere"),
    ],
)
def test_each_part_has_configurations_of_its_family(
    gemm: Any, capability: str, family: str
) -> None:
    assert gemm.family(capability) == family
    assert gemm.configs(capability, "float16") == gemm.CONFIGS[family]
    assert gemm.configs(capability, "float32") == gemm.WIDE.get(family, gemm.CONFIGS[family])
    assert gemm.configs(capability, "int32") == gemm.INTEGERS.get(family, gemm.CONFIGS[family])


@needs_triton
def test_configurations_differ_and_say_what_they_cannot_be(gemm: Any) -> None:
    for configs in (*gemm.CONFIGS.values(), *gemm.WIDE.values(), *gemm.INTEGERS.values()):
        assert len(set(configs)) == len(configs)
    with pytest.raises(ValueError, match="block_m is 96: tiles are powers of two"):
        replace(gemm.DEFAULT, block_m=96)
    with pytest.raises(ValueError, match="subtiles is 3: a tile is written in 1 or 2 parts"):
        replace(gemm.DEFAULT, subtiles=3)
    assert gemm.DEFAULT.block_k(2) == 64
    assert gemm.DEFAULT.block_k(1) == 128
    assert gemm.DEFAULT.tiles(8192, 8192) == 64 * 32
    assert gemm.DEFAULT.tiles(1, 257) == 2
