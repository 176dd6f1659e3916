"""Answers against references, unwritten outputs, and faults told as sentences."""

from __future__ import annotations

import math

import pytest
import torch
import triton

from gpubench.errors import CannotMeasure, DeviceLost, WrongResult
from gpubench.measuring import faults, verify

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NARROW = [torch.float8_e4m3fn, torch.float8_e5m2]
INTEGERS = [torch.int8, torch.int32, torch.int64]


def test_the_error_is_that_of_the_norms() -> None:
    reference = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert verify.relative_error(reference + torch.tensor([0.0, 0.05]), reference) == pytest.approx(
        0.01
    )
    assert verify.relative_error(reference, reference) == 0
    said = verify.verify(reference, reference, 0.0, "copy")
    assert said == "equal to the reference in all 2 elements"
    zeros = torch.zeros(4)
    assert verify.relative_error(zeros, zeros) == 0
    assert verify.relative_error(zeros + 1, zeros) == math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_never_pass(bad: float) -> None:
    right = torch.randn(100, generator=torch.Generator().manual_seed(1))
    wrong = right.clone()
    wrong[17] = bad
    assert verify.relative_error(wrong, right) == math.inf
    with pytest.raises(WrongResult):
        verify.verify(wrong, right, 1e9, "copy")
    with pytest.raises(WrongResult):
        verify.verify(right, wrong, 1e9, "copy")


def test_a_large_array_is_compared_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PIECE", 64)
    generator = torch.Generator().manual_seed(2)
    b, c = torch.randn(10, 100, generator=generator), torch.randn(10, 100, generator=generator)
    asked: list[slice] = []

    def reference(part: slice) -> torch.Tensor:
        asked.append(part)
        return b.reshape(-1)[part].double() + 0.5 * c.reshape(-1)[part].double()

    sentence = verify.verify(b + 0.5 * c, reference, 1e-6, "triad")
    assert "over 1000 elements, against float64" in sentence
    assert len(asked) == 16
    assert asked[-1] == slice(960, 1000)
    last_wrong = b + 0.5 * c
    last_wrong[-1, -1] += 10
    with pytest.raises(WrongResult, match="triad gives a wrong answer"):
        verify.verify(last_wrong, reference, 1e-6, "triad")


@pytest.mark.parametrize("dtype", [*FLOATS, *NARROW, *INTEGERS], ids=str)
def test_what_a_kernel_leaves_unwritten_is_seen(dtype: torch.dtype) -> None:
    out = torch.zeros(7, 11).to(dtype)
    verify.poison(out)
    assert verify.unwritten(out) == 77
    out[:5] = torch.ones(5, 11).to(dtype)
    assert verify.unwritten(out) == 22
    expected = torch.ones(7, 11)
    with pytest.raises(WrongResult, match="22 elements were never written"):
        verify.verify(out, expected, 0.5, "write")


def test_rounding_passes_and_a_wrong_kernel_does_not() -> None:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(64, 64, generator=generator)
    b = torch.randn(64, 64, generator=generator)
    exact = a.double() @ b.double()
    half = (a.bfloat16() @ b.bfloat16()).float()
    assert 1e-3 < verify.relative_error(half, exact) < 1e-2
    assert verify.relative_error(a @ b, exact) < 1e-6
    with pytest.raises(WrongResult, match="relative error is"):
        verify.verify(a @ b.T, exact, 1e-2, "matmul")


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        verify.relative_error(torch.zeros(3), torch.zeros(4))


# --------------------------------------------------------------------------- faults


def sentence(error: BaseException) -> CannotMeasure:
    found = faults.as_sentence(error, "measuring triad")
    assert found is not None
    assert "\n" not in str(found)
    assert "measuring triad" in str(found)
    assert found.exit_code == 3
    return found


def test_real_exhaustion_of_memory_is_told() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**48)
    assert "out of memory" in str(sentence(caught.value))
    assert "out of memory" in str(sentence(torch.OutOfMemoryError("CUDA out of memory. Tried")))
    assert "out of memory" in str(sentence(MemoryError()))


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: uncorrectable ECC error encountered",
        "HIP error: the operation cannot be performed in the present state",
    ],
)
@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
def test_a_failed_device_is_lost(text: str, kind: type[RuntimeError]) -> None:
    found = sentence(kind(text))
    assert isinstance(found, DeviceLost)
    assert text.splitlines()[0] in str(found)


def test_a_card_that_another_process_holds_is_told() -> None:
    error = RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")
    found = sentence(error)
    assert not isinstance(found, DeviceLost)
    assert "another process" in str(found)


def test_a_refused_launch_is_no_lost_device() -> None:
    refused = "CUDA error: operation not supported when calling `cusparseLtMatmulPlanInit(…)`"
    assert "refused a launch" in str(sentence(RuntimeError(refused)))
    found = sentence(RuntimeError("CUDA error: invalid configuration argument"))
    assert not isinstance(found, DeviceLost)
    assert "refused a launch" in str(found)


def test_a_kernel_that_does_not_compile_is_told() -> None:
    missing = triton.CompilationError("def k():\n    tl.nothing()\n", _Node(), "no such function")
    assert "does not compile" in str(sentence(missing))
    assert "no such function" in str(sentence(missing))
    assert "does not compile" in str(sentence(RuntimeError("PassManager::run failed")))


def test_a_kernel_that_is_too_large_for_a_device_compiles_all_the_same() -> None:
    large = triton.OutOfResources(300_000, 232_448, "shared memory")
    assert "asks for more than this device has" in str(sentence(large))
    assert "shared memory, Required: 300000" in str(sentence(large))
    assert "another version of triton" not in str(sentence(large))


class _Node:
    lineno, col_offset = 2, 4


def _of_triton(code: str, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """What a line raises inside of triton's runtime."""
    from triton.runtime import build

    monkeypatch.setattr(build, "probe", None, raising=False)
    exec(f"def probe():\n    {code}", build.__dict__)
    with pytest.raises(Exception) as caught:
        build.probe()
    return caught.value


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('Failed to find C compiler.')", "C compiler"),
        ("subprocess.check_call(['false'])", "Python's headers"),
        ("assert False, 'libcuda.so cannot found!'", "libcuda"),
        ("open('/proc/no/cache', 'w')", "a home it can write to"),
    ],
)
def test_a_host_on_which_triton_cannot_work_is_told(
    code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sentence(_of_triton(code, monkeypatch))
    assert words in str(found)
    assert not isinstance(found, DeviceLost)


def test_faults_that_triton_passes_on_are_those_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = _of_triton(
        "raise RuntimeError('Triton Error [CUDA]: an illegal memory access')", monkeypatch
    )
    assert isinstance(sentence(lost), DeviceLost)
    old = RuntimeError("Triton Error [CUDA]: device kernel image is invalid")
    assert "does not suit this device" in str(sentence(old))
    assert "out of memory" in str(sentence(RuntimeError("Triton Error [CUDA]: out of memory")))
    full = RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    )
    assert "out of memory" in str(sentence(full))
    ours = _of_triton("raise TypeError('missing an argument')", monkeypatch)
    assert faults.as_sentence(ours, "x") is None


def test_our_own_mistakes_are_left_alone() -> None:
    assert faults.as_sentence(ValueError("CUDA error: not really"), "x") is None
    assert faults.as_sentence(RuntimeError("shape mismatch"), "x") is None
    with pytest.raises(KeyError), faults.told("x"):
        raise KeyError("y")


def test_faults_in_a_block_are_raised_as_sentences() -> None:
    error = RuntimeError("CUDA error: out of memory")
    words = "out of memory while allocating"
    with pytest.raises(CannotMeasure, match=words) as caught, faults.told("allocating"):
        raise error
    assert caught.value.__cause__ is error
    known = DeviceLost("gone")
    with pytest.raises(DeviceLost) as again, faults.told("allocating"):
        raise known
    assert again.value is known
