"""The stream kernels' results, arguments and search, without a GPU."""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpubench.benchmarks import bandwidth
from tests.kernels_support import (
    ROOT,
    Kernel,
    current_gpu,
    needs_torch,
    needs_triton,
    specialised,
    told_by,
)


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return told_by("kernels_interpreted.py")


@pytest.fixture
def stream() -> Any:
    return pytest.importorskip("gpubench.kernels.stream")


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("pattern", ["read", "write", "copy", "mul", "add", "triad", "dot"])
def test_ragged_sizes_agree_with_float64_and_touch_nothing_else(
    interpreted: dict[str, Any], pattern: str, dtype: str
) -> None:
    cases = [c for c in interpreted["cases"] if (c["pattern"], c["dtype"]) == (pattern, dtype)]
    assert len(cases) >= 18
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
def test_blocks_beyond_two_thousand_million_elements_are_found(interpreted: dict[str, Any]) -> None:
    assert set(interpreted["far"]) == {0}
    assert set(interpreted["far in 32 bits"]) == {-(2**32) * 4}


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("size", "c and a differ in size, type or device: 64 × float32 on cpu, 65 × float32"),
        ("type", "c and b differ in size, type or device"),
        ("integers", "the type must be one of float16, bfloat16, float32, float64"),
        ("stride", "a (64 × float32 on cpu): must be contiguous"),
        ("alignment", "starts 4 bytes past a multiple of 16, which would forbid 16-byte loads"),
        ("same", "c and a share memory"),
        ("overlap", "c and a share memory: give each an array of its own"),
        ("empty", "with at least one element"),
        ("programs", "programs is 0: launch at least one"),
        ("partials", "partials (3 × float32 on cpu): must be contiguous, 4 elements of float32"),
        ("partial type", "4 elements of float32 on cpu, one for each program"),
    ],
)
def test_unfit_arrays_are_refused(interpreted: dict[str, Any], mistake: str, sentence: str) -> None:
    assert sentence in interpreted["refusals"][mistake]


class Array:
    """What the wrappers ask of a tensor, without memory behind it."""

    dtype = "torch.float32"

    def __init__(self, address: int, kind: str = "cuda", index: int | None = 0) -> None:
        self.address = address
        self.device = SimpleNamespace(type=kind, index=index)

    def numel(self) -> int:
        return 1000

    def element_size(self) -> int:
        return 4

    def is_contiguous(self) -> bool:
        return True

    def data_ptr(self) -> int:
        return self.address


@needs_triton
def test_a_wrapper_launches_the_programs_it_is_told(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    current_gpu(monkeypatch, stream)
    kernel = Kernel()
    monkeypatch.setattr(stream, "_map", kernel)
    a, b, c = Array(0), Array(4096), Array(8192)
    config = stream.Config(8192, 4, 6, evict="", stages=3)
    assert config.programs(132) == 792
    stream.triad(a, b, c, 0.4, programs=792, config=config)
    assert kernel.grid == (792,)
    assert kernel.arguments == (a, b, c, 0.4, 1000)
    assert kernel.options == {
        "PATTERN": "triad",
        "BLOCK": 2048,
        "EVICT": "",
        "STAGES": 3,
        "num_warps": 4,
        "enable_fp_fusion": True,
    }


@needs_triton
def test_arrays_outside_the_current_gpu_are_refused(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="is not in GPU memory"):
        stream.write(Array(0, "cpu", None), 1.0, programs=1)
    current_gpu(monkeypatch, stream, 1)
    with pytest.raises(ValueError, match="is not on the current GPU"):
        stream.write(Array(0), 1.0, programs=1)


@needs_triton
def test_a_launch_compiles_what_the_tests_compile_ahead_of_time(stream: Any) -> None:
    # One binary for every size: neither n nor s is looked at, and pointers are 16-byte aligned.
    from triton.runtime.jit import MockTensor

    array = MockTensor("float32")
    for n in (1, 16, 1000, 2**31 + 16):
        constants = {"PATTERN": "copy", "BLOCK": 2048, "EVICT": "", "STAGES": 1}
        found = specialised(stream._map, array, array, array, 0.4, n, **constants)
        assert found == [("*fp32", "D")] * 3 + [("fp64", None), ("i64", None)]


@needs_triton
def test_a_configuration_gives_every_thread_a_vector(stream: Any) -> None:
    with pytest.raises(ValueError, match="8 warps need a power of two of at least 4096"):
        stream.Config(2048, 8, 1)
    with pytest.raises(ValueError, match="power of two"):
        stream.Config(12000, 4, 1)
    # AMD's warps have 64 threads, and a program no more than 1,024 of them.
    for config in stream.CONFIGS:
        assert config.block_bytes >= 16 * 64 * config.num_warps
        assert config.num_warps <= 16
    assert len(set(stream.CONFIGS)) == len(stream.CONFIGS)


@needs_triton
def test_bytes_follow_the_convention_of_stream() -> None:
    # McCalpin counts what the program asks for: 16, 16, 24 and 24 bytes of float64 an iteration.
    moved = {name: 8 * bandwidth.PATTERNS[name][0] for name in ("copy", "mul", "add", "triad")}
    assert moved == {"copy": 16, "mul": 16, "add": 24, "triad": 24}


def test_kernels_without_init_hides_no_package_of_that_name(tmp_path: Path) -> None:
    # Under pytest the checkout's root is on the path, and there is a package named `kernels` on
    # PyPI that serving frameworks import. A folder without __init__.py gives way to it, one with
    # __init__.py hides it.
    package = tmp_path / "site-packages" / "kernels" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    found = PathFinder.find_spec("kernels", [str(ROOT), str(package.parents[1])])
    assert found is not None
    assert found.origin == str(package)

    hiding = tmp_path / "checkout" / "kernels" / "__init__.py"
    hiding.parent.mkdir(parents=True)
    hiding.touch()
    found = PathFinder.find_spec("kernels", [str(hiding.parents[1]), str(package.parents[1])])
    assert found is not None
    assert found.origin == str(hiding)
