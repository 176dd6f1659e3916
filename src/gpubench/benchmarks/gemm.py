"""Dense matrix products: what a device's matrix units reach, by the vendor's library and by Triton.

C = A · B with random normal A and B, B stored by columns as the weights of a linear layer are. On
NVIDIA torch.mm and its kin are cuBLAS. A ladder of cubes compares machines; other shapes search for
the best rate: their tiles fill every multiprocessor of this device in each wave. A precision that
the device lacks is not planned, and `left_out` says why.

Data matters: equal operands toggle fewer wires, the card draws less power and clocks higher. Cases
with anything but random normal data show how much, and are evidence for nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpubench.benchmarks import Planned, _hardware, _kernels
from gpubench.benchmarks._fastest import fastest
from gpubench.benchmarks._matrices import (
    DATA,
    PRECISIONS,
    Matrices,
    check,
    check_whole,
    precision,
    release,
    round_float32,
    said,
)
from gpubench.errors import CannotMeasure
from gpubench.measuring import Ceilings, Device, Prepared, told
from gpubench.measuring.faults import first_line
from gpubench.model import Case, Work

__all__ = ["ceilings", "left_out", "plan", "prepare", "release", "work"]

QUANTITY = "peak_fp16"
VERSION = 1

_LADDER = {
    "quick": (8192,),
    "standard": (4096, 8192, 16384),
    "full": (1024, 2048, 4096, 8192, 16384),
}
_REFERENCE_SIZE = 8192
_SMALL_SIZE = 4096  # of FP64 where only few units have it: 8192 would take a second a call
_HOST_LADDER = (512, 1024, 2048)
_HOST_SIZE = 1024
# Tiles of the best known kernels for Hopper; shapes that fill waves of them.
_TILE = (128, 256)
_WAVES = {"standard": (8,), "full": (8, 16)}
_DEPTH = 8192
# What each suite measures at the reference size beside FP16 and BF16.
_OTHERS = {"standard": ("fp8", "int8", "tf32"), "full": ("fp8", "int8", "tf32", "fp32", "fp64")}


def quantity(case: Case) -> str:
    """The dense peak of the case's precision."""
    return f"peak_{case.parameters['precision']}"


def is_evidence(case: Case) -> bool:
    """Whether its data is random normal: what other data gives is no rate of real work."""
    return bool(case.parameters["data"] == "normal")


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """The ladder by each method, the search, other precisions, and in the full suite other data."""
    if device.kind == "cpu":
        return tuple(_host_plan(suite))
    fitting = (planned for planned in _gpu_plan(device, suite) if _fits(planned.case, device))
    return tuple(fitting)


def left_out(device: Device, suite: str) -> tuple[tuple[str, str], ...]:
    """(what, why) for each precision that the device lacks, and for what its memory does not hold,
    of all that the suite would measure.
    """
    if device.kind == "cpu":
        return ()
    names = ("fp16", "bf16", *_OTHERS.get(suite, ()))
    reasons = [(name.upper(), _hardware.lacking(device, name)) for name in names]
    large = [p.case for p in _gpu_plan(device, suite) if not _fits(p.case, device)]
    return (
        *((name, why) for name, why in reasons if why),
        *_hardware.too_large(device, map(said, large)),
    )


def work(parameters: Mapping[str, Any]) -> Work:
    """A product and a sum for each element of A and column of B; each matrix moved once."""
    m, n, k = (parameters[name] for name in "mnk")
    kind = PRECISIONS[parameters["precision"]]
    moved = kind.element_bytes * (m * k + k * n) + kind.out_bytes * m * n
    return Work(flops=2.0 * m * n * k, bytes=float(moved))


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Matrices allocated and filled, the answer compared with float64.

    Raises:
        CannotMeasure: out of memory, or no kernel for this precision on this device.
        WrongResult: the answer is not right.
    """
    choices: dict[str, Any] = {}
    with told(f"preparing {said(case)}"):
        matrices = Matrices(case, device, seed)
        if case.method == "torch":
            call = torch_call(matrices, case)
        else:
            call, choices = _triton_call(matrices, device, case, seed)
        verification = check(call, matrices, case, seed)
    return Prepared(case, VERSION, work(case.parameters), call, verification, choices=choices)


def ceilings(case: Case, device: Device) -> Ceilings:
    """Units times FLOP a clock times the largest clock; none where the catalogue does not tell."""
    return _hardware.ceiling(device, case.parameters["precision"])


# --------------------------------------------------------------------------- the plan

_BOTH = ("burst", "sustained")
_METHODS = ("torch", "triton")


def _host_plan(suite: str) -> Iterator[Planned]:
    sizes = (_HOST_SIZE,) if suite == "quick" else _HOST_LADDER
    precisions = ("fp32", "bf16") if suite == "quick" else ("fp32", "bf16", "fp16")
    for size, name in itertools.product(sizes, precisions):
        yield Planned(_case("torch", name, size, size, size))


def _gpu_plan(device: Device, suite: str) -> Iterator[Planned]:
    """Methods beside each other at each shape, so that they are measured in turn."""
    pair = [name for name in ("fp16", "bf16") if not _hardware.lacking(device, name)]
    for name in pair:
        # The standard suite has time for one ladder and one heated case; BF16 is seldom apart.
        brief = suite == "standard" and name == "bf16"
        for size in (_REFERENCE_SIZE,) if brief else _LADDER[suite]:
            heated = suite != "quick" and size == _REFERENCE_SIZE and not brief
            yield from _each(name, (size,) * 3, _METHODS, _BOTH if heated else _BOTH[:1])
    for name, shape in itertools.product(pair, filling_shapes(device.units, suite)):
        yield from _each(name, shape, _METHODS)
    for name in _OTHERS.get(suite, ()):
        if not _hardware.lacking(device, name):
            yield from _other(device, suite, name)
    if suite == "full":
        for name, data in itertools.product(pair, DATA[1:]):
            phases = _BOTH if (name, data) == ("fp16", "zeros") else _BOTH[:1]
            yield from _each(name, (_REFERENCE_SIZE,) * 3, _METHODS[:1], phases, data)


def _other(device: Device, suite: str, name: str) -> Iterator[Planned]:
    """A precision beside FP16 and BF16: one cube, and more of FP8."""
    cube, full = (_REFERENCE_SIZE,) * 3, suite == "full"
    if name == "fp64":
        name = _hardware.double_name(device)
        cube = cube if name == "fp64_tensor" else (_SMALL_SIZE,) * 3
    ours = name == "fp8" or (full and name in ("int8", "tf32") and _multiplies(device, name))
    methods = _METHODS if ours else _METHODS[:1]
    yield from _each(name, cube, methods, _BOTH if full and name == "fp8" else _BOTH[:1])
    if full and name == "fp8":
        yield from _each(name, (2 * _REFERENCE_SIZE,) * 3, methods)
        for shape in filling_shapes(device.units, suite)[:1]:
            yield from _each(name, shape, methods)


def _multiplies(device: Device, name: str) -> bool:
    """Whether our kernel uses the matrix units: Triton gives INT8 none of Blackwell's."""
    return name != "int8" or not device.capability.startswith("10.")


def _each(
    name: str,
    shape: tuple[int, int, int],
    methods: tuple[str, ...],
    phases: tuple[str, ...] = ("burst",),
    data: str = "normal",
) -> Iterator[Planned]:
    for method in methods:
        yield Planned(_case(method, name, *shape, data=data), phases)


def filling_shapes(units: int, suite: str) -> tuple[tuple[int, int, int], ...]:
    """(m, n, k) whose tiles make whole waves on so many multiprocessors, as square as they come."""
    found = []
    for waves in _WAVES.get(suite, ()):
        tiles = waves * units
        pairs = [(rows, tiles // rows) for rows in range(1, tiles + 1) if tiles % rows == 0]
        shapes = [(rows * _TILE[0], columns * _TILE[1]) for rows, columns in pairs]
        m, n = min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1])))
        found.append((m, n, _DEPTH))
    return tuple(found)


def _case(method: str, name: str, m: int, n: int, k: int, data: str = "normal") -> Case:
    return Case("gemm", method, {"precision": name, "m": m, "n": n, "k": k, "data": data})


def _fits(case: Case, device: Device) -> bool:
    """Whether a quarter of the free memory holds the matrices.

    Both methods have their own, and half of the memory is for checking the answers.
    """
    return 4 * work(case.parameters).bytes <= device.memory_free


# --------------------------------------------------------------------------- the calls


def torch_call(x: Matrices, case: Case) -> Callable[[], None]:
    """C = A · B by torch. Raises CannotMeasure when it has no product for it here."""
    torch, a, b, c = x.torch, x.a, x.b, x.c
    name = case.parameters["precision"]
    if name == "fp8":
        one = torch.ones((), dtype=torch.float32, device=a.device)

        def call() -> None:
            # Sums as the matrix units keep them, as Triton's are and as inference uses them.
            torch._scaled_mm(a, b, one, one, out_dtype=c.dtype, use_fast_accum=True, out=c)

    elif name == "int8":

        def call() -> None:
            torch._int_mm(a, b, out=c)

    else:
        round_float32(case)

        def call() -> None:
            torch.mm(a, b, out=c)

    try:
        call()
    except (RuntimeError, ValueError) as error:
        if not any(words in str(error) for words in _NO_PRODUCT):
            raise
        why = first_line(error)
        raise CannotMeasure(f"this torch has no product for it here ({why})") from error
    return call


_NO_PRODUCT = ("not implemented for", "only supported on", "not supported on")


def _triton_call(
    x: Matrices, device: Device, case: Case, seed: int
) -> tuple[Callable[[], None], dict[str, Any]]:
    """The call in the fastest of a few configurations that are right, and all that were tried."""
    gemm = _kernels.load("gemm")
    how = {"programs": device.units, "tf32": case.parameters["precision"] == "tf32"}

    def bound(config: Any) -> Callable[[], None]:
        return lambda: gemm.multiply(x.c, x.a, x.b, config=config, **how)

    best, choices = fastest(
        "gemm",
        device,
        bound,
        gemm.configs(device.capability, precision(case).out),
        lambda call: check_whole(call, x, case, seed),
    )
    return bound(best), choices
