"""Dense matrix products: what a device's matrix units reach, by the vendor's library and by Triton.

C = A · B with random normal A and B, B stored by columns as the weights of a linear layer are. On
NVIDIA torch.mm is cuBLAS. A ladder of cubes compares machines; the other shapes search for the best
rate: their tiles fill every multiprocessor of this device in each wave.

Data matters: equal operands toggle fewer wires, the card draws less power and clocks higher. Cases
with anything but random normal data show how much, and are evidence for nothing.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from gpubench import catalogue
from gpubench.benchmarks import Planned
from gpubench.catalogue import derived
from gpubench.errors import CannotMeasure, DeviceLost, MissingFigure, WrongResult
from gpubench.measuring import Ceilings, Device, DeviceClock, Prepared, faults, import_torch, told
from gpubench.measuring.verify import poison, unwritten, verify
from gpubench.model import Case, Work

DESCRIPTION = (
    "dense matrix products in FP16 and BF16: a ladder of cubes, the best shape, other data"
)
QUANTITY = "peak_fp16"
VERSION = 1

# torch's name of each precision, bytes an element, and how far a result may be from float64:
# ‖C − reference‖ / ‖reference‖ is about half the type's rounding step; a few times that is allowed.
PRECISIONS = {
    "fp16": ("float16", 2, 1e-3),
    "bf16": ("bfloat16", 2, 8e-3),
    "fp32": ("float32", 4, 1e-5),
}
DATA = ("normal", "zeros", "ones", "signs")

_LADDER = (1024, 2048, 4096, 8192, 16384)
_REFERENCE_SIZE = 8192
_HOST_LADDER = (512, 1024, 2048)
_HOST_SIZE = 1024
# Tiles of the best known kernels for Hopper; shapes that fill waves of them.
_TILE = (128, 256)
_WAVES = {"standard": (4, 8, 16), "full": (4, 8, 16, 32)}
_DEPTHS = {"standard": (8192,), "full": (8192, 16384)}


def quantity(case: Case) -> str:
    """The dense peak of the case's precision."""
    return f"peak_{case.parameters['precision']}"


def is_evidence(case: Case) -> bool:
    """Whether its data is random normal: what other data gives is no rate of real work."""
    return bool(case.parameters["data"] == "normal")


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """The ladder by each method, the search, and in the full suite what other data does."""
    if device.kind == "cpu":
        return tuple(_host_plan(suite))
    fitting = (planned for planned in _gpu_plan(device, suite) if _fits(planned.case, device))
    return tuple(fitting)


def work(parameters: Mapping[str, Any]) -> Work:
    """A product and a sum for each element of A and column of B; each matrix moved once."""
    m, n, k = (parameters[name] for name in "mnk")
    element = PRECISIONS[parameters["precision"]][1]
    return Work(flops=2.0 * m * n * k, bytes=float(element * (m * k + k * n + m * n)))


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Matrices allocated and filled, the answer compared with float64.

    Raises:
        CannotMeasure: out of memory, or no kernel for this precision on this device.
        WrongResult: the answer is not right.
    """
    choices: dict[str, Any] = {}
    with told(f"preparing {_said(case)}"):
        matrices = Matrices(case, device, seed)
        if case.method == "torch":
            call = _torch_call(matrices)
        else:
            call, choices = _triton_call(matrices, device, case, seed)
        verification = _check(call, matrices, case, seed)
    return Prepared(case, VERSION, work(case.parameters), call, verification, choices=choices)


def ceilings(case: Case, device: Device) -> Ceilings:
    """Units times FLOP a clock times the largest clock; none where the catalogue does not tell."""
    flop = _flop_per_clock(device.accelerator, case.parameters["precision"])
    return Ceilings(compute=device.peak_compute(flop) if flop else None)


def release() -> None:
    """Each case allocates its own matrices; what torch keeps of them goes back."""
    gc.collect()  # the traceback of an allocation that failed may hold the one before it
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # a lost device gives nothing back
            torch.cuda.empty_cache()


# --------------------------------------------------------------------------- the plan


def _host_plan(suite: str) -> Iterator[Planned]:
    sizes = (_HOST_SIZE,) if suite == "quick" else _HOST_LADDER
    precisions = ("fp32", "bf16") if suite == "quick" else ("fp32", "bf16", "fp16")
    for size, precision in itertools.product(sizes, precisions):
        yield Planned(_case("torch", precision, size, size, size))


def _gpu_plan(device: Device, suite: str) -> Iterator[Planned]:
    """Methods in turn at each shape, so that both meet the card in the same state."""
    both, methods = ("burst", "sustained"), ("torch", "triton")
    ladder = (_REFERENCE_SIZE,) if suite == "quick" else _LADDER
    for precision, size, method in itertools.product(("fp16", "bf16"), ladder, methods):
        heated = suite != "quick" and size == _REFERENCE_SIZE
        phases = both if heated else both[:1]
        yield Planned(_case(method, precision, size, size, size), phases)
    for precision, shape, method in itertools.product(
        ("fp16", "bf16"), filling_shapes(device.units, suite), methods
    ):
        yield Planned(_case(method, precision, *shape))
    if suite == "full":
        cube = (_REFERENCE_SIZE,) * 3
        for precision, data in itertools.product(("fp16", "bf16"), DATA[1:]):
            phases = both if precision == "fp16" else both[:1]
            yield Planned(_case("torch", precision, *cube, data=data), phases)


def filling_shapes(units: int, suite: str) -> tuple[tuple[int, int, int], ...]:
    """(m, n, k) whose tiles make whole waves on so many multiprocessors, as square as they come."""
    found = []
    for waves, k in itertools.product(_WAVES.get(suite, ()), _DEPTHS.get(suite, ())):
        tiles = waves * units
        pairs = [(rows, tiles // rows) for rows in range(1, tiles + 1) if tiles % rows == 0]
        shapes = [(rows * _TILE[0], columns * _TILE[1]) for rows, columns in pairs]
        m, n = min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1])))
        found.append((m, n, k))
    return tuple(found)


def _case(method: str, precision: str, m: int, n: int, k: int, data: str = "normal") -> Case:
    parameters = {"precision": precision, "m": m, "n": n, "k": k, "data": data}
    return Case("gemm", method, parameters)


def _fits(case: Case, device: Device) -> bool:
    """Whether half the free memory holds the matrices; the rest is for checking the answer."""
    return 2 * work(case.parameters).bytes <= device.memory_free


def _said(case: Case) -> str:
    p = case.parameters
    return f"{p['precision']} {p['m']} × {p['n']} × {p['k']}"


# --------------------------------------------------------------------------- the calls


class Matrices:
    """A (m, k) by rows, B (k, n) by columns and C (m, n) by rows on the device."""

    def __init__(self, case: Case, device: Device, seed: int) -> None:
        torch = import_torch()
        m, n, k = (case.parameters[name] for name in "mnk")
        dtype = getattr(torch, PRECISIONS[case.parameters["precision"]][0])
        where = device.torch_name
        generator = torch.Generator(where).manual_seed(seed)

        def filled(rows: int, columns: int) -> Any:
            matrix = torch.empty(rows, columns, dtype=dtype, device=where)
            return fill(matrix, case.parameters["data"], generator)

        self.torch = torch
        self.a, self.b = filled(m, k), filled(n, k).T
        self.c = torch.empty(m, n, dtype=dtype, device=where)


def fill(matrix: Any, data: str, generator: Any) -> Any:
    """The matrix, filled: "normal", "zeros", "ones", or "signs", which are −1 or 1 at random."""
    if data == "zeros":
        return matrix.zero_()
    if data == "ones":
        return matrix.fill_(1.0)
    matrix.normal_(generator=generator)
    return matrix.sign_() if data == "signs" else matrix


def _torch_call(x: Matrices) -> Callable[[], None]:
    torch, a, b, c = x.torch, x.a, x.b, x.c

    def call() -> None:
        torch.mm(a, b, out=c)

    try:
        call()
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        raise CannotMeasure(f"this torch has no product for it here ({error})") from error
    return call


def _triton_call(
    x: Matrices, device: Device, case: Case, seed: int
) -> tuple[Callable[[], None], dict[str, Any]]:
    """The call in the fastest of a few configurations that are right, and all that were tried."""
    gemm = _kernels()
    clock = DeviceClock(device.index)
    failed: dict[Any, str] = {}

    def bound(config: Any) -> Callable[[], None]:
        return lambda: gemm.multiply(x.c, x.a, x.b, programs=device.units, config=config)

    def seconds(config: Any) -> float | None:
        call = bound(config)
        try:
            _check_whole(call, x, case, seed)  # compiles too, which must not hold up what is timed
            return min(clock.samples(call, 1, _SEARCH_SAMPLES))
        except Exception as error:
            # One configuration that does not compile or is wrong here leaves the others.
            sentence = faults.as_sentence(error, "trying a configuration")
            if sentence is None or isinstance(sentence, DeviceLost):
                raise
            failed[config] = str(sentence)
            return None

    waking = _torch_call(x)
    clock.samples(waking, 1, _WAKING_SAMPLES)  # else the first one is timed on an idle clock
    try:
        best, table = gemm.search(seconds, gemm.CONFIGS[gemm.family(device.capability)])
    except ValueError as error:
        raise CannotMeasure(f"{error}: {'; '.join(dict.fromkeys(failed.values()))}") from None
    finally:
        clock.release()
    tried = [
        {**asdict(config), "seconds": taken}
        | ({"failed": failed[config]} if config in failed else {})
        for config, taken in table
    ]
    return bound(best), {"config": asdict(best), "search": tried}


_SEARCH_SAMPLES, _WAKING_SAMPLES = 5, 20


def _kernels() -> Any:
    """The module of our kernels. Raises CannotMeasure when triton is missing or interprets."""
    try:
        gemm = importlib.import_module("gpubench.kernels.gemm")
    except ImportError as error:
        raise CannotMeasure(
            f"the kernels need triton ({error}): pip install triton; the torch method does not"
        ) from None
    if gemm._INTERPRETED:
        raise CannotMeasure("TRITON_INTERPRET is set, which runs kernels on the host: unset it")
    return gemm


# --------------------------------------------------------------------------- the answer

_SAMPLED = 16  # rows, and columns; the first and the last are always among them
_PIECE = 2048  # rows or columns of a matrix that are in float64 at once


def _check(call: Callable[[], None], x: Matrices, case: Case, seed: int) -> str:
    """Compare all of C with float64 in projection, and rows and columns drawn at random element by
    element. Raises WrongResult.
    """
    _check_whole(call, x, case, seed)
    rows, columns = _drawn(x.c.shape[0], seed + 1), _drawn(x.c.shape[1], seed + 2)
    found = x.torch.cat([x.c[rows].reshape(-1), x.c[:, columns].reshape(-1)])
    reference = x.torch.cat([_rows(x, rows).reshape(-1), _columns(x, columns).reshape(-1)])
    said = verify(found, reference, _tolerance(case), _said(case))
    return f"a random projection, {len(rows)} rows and {len(columns)} columns: {said}"


def _check_whole(call: Callable[[], None], x: Matrices, case: Case, seed: int) -> None:
    """Poison C, make the call once, and compare C in projection. Raises WrongResult."""
    poison(x.c)
    call()
    if missing := unwritten(x.c):
        raise WrongResult(
            f"{_said(case)} leaves {missing} elements that are no number, so it is not timed: try "
            f"another version of triton or torch, and report this"
        )
    found, reference = _projected(x, seed)
    verify(found, reference, _tolerance(case), _said(case))


def _tolerance(case: Case) -> float:
    return PRECISIONS[case.parameters["precision"]][2]


def _projected(x: Matrices, seed: int) -> tuple[Any, Any]:
    """C · v and A · (B · v) in float64 for a random v of −1 and 1: one wrong tile anywhere shows.

    After Freivalds, "Probabilistic machines can use less running time" (IFIP 1977).
    """
    n, where = x.c.shape[1], x.c.device
    generator = x.torch.Generator(where).manual_seed(seed)
    v = x.torch.empty(n, dtype=x.torch.float64, device=where)
    fill(v, "signs", generator)
    through = x.torch.cat([piece.double() @ v for piece in x.b.split(_PIECE, dim=0)])
    found = x.torch.cat([piece.double() @ v for piece in x.c.split(_PIECE, dim=0)])
    return found, x.torch.cat([piece.double() @ through for piece in x.a.split(_PIECE, dim=0)])


def _drawn(size: int, seed: int) -> list[int]:
    """The first, the last and other places below `size`, in order; the same for the same seed."""
    torch = import_torch()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(size, (_SAMPLED - 2,), generator=generator).tolist()
    return sorted({0, size - 1, *drawn})


def _rows(x: Matrices, rows: list[int]) -> Any:
    """Those rows of A · B in float64, piece by piece."""
    a = x.a[rows].double()
    pieces = x.b.split(_PIECE, dim=1)
    return x.torch.cat([a @ piece.double() for piece in pieces], dim=1)


def _columns(x: Matrices, columns: list[int]) -> Any:
    """Those columns of A · B in float64, piece by piece."""
    b = x.b[:, columns].double()
    return x.torch.cat([piece.double() @ b for piece in x.a.split(_PIECE, dim=0)])


# --------------------------------------------------------------------------- the ceiling

_catalogue = lru_cache(maxsize=1)(catalogue.load)


def _flop_per_clock(accelerator: str | None, precision: str) -> float | None:
    """Dense FLOP a clock and unit, by the catalogue's entry; None where it does not tell."""
    part = _catalogue().accelerators.get(accelerator or "")
    try:
        return derived.flop_per_clock(part, precision) if part else None
    except MissingFigure:
        return None
