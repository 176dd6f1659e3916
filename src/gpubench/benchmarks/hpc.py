"""Double precision as simulations use it: triad, a 7-point stencil, a sparse product, a dense one.

The kernels and their counts are those of `roofline.hpc`, which estimates them for parts that are
absent. The sparse matrix has 64 values a row in a band around its diagonal, as a discretised
equation has; torch's product of it is the vendor's. The dense one is that of `gemm`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from gpubench.benchmarks import Planned, _hardware, _kernels, _matrices, gemm
from gpubench.benchmarks._fastest import fastest
from gpubench.errors import CannotMeasure
from gpubench.measuring import Ceilings, Device, Prepared, import_torch, refused, told
from gpubench.measuring.verify import poison, verify
from gpubench.model import Case, Work
from gpubench.roofline.hpc import KERNELS

QUANTITY = "hpc_throughput"
VERSION = 1

_BYTES = 2**31  # of one array: many times any cache
_HOST_BYTES = 2**24
_GEMM, _SMALL_GEMM, _HOST_GEMM = 8192, 4096, 512
_ROW_VALUES = 64  # of the sparse matrix
_BAND = 2048  # columns on either side of the diagonal that they are drawn from
_SCALAR = 0.4
_A, _B = 0.4, 0.1  # of the stencil: what leaves a point arrives at its neighbours
_MAP_TOLERANCE, _SUM_TOLERANCE = 1e-15, 1e-13  # a few roundings of float64


def plan(device: Device, suite: str) -> tuple[Planned, ...]:
    """Each kernel; in the standard suite what nothing else measures, in the quick one none."""
    if suite == "quick":
        return ()
    host = device.kind == "cpu"
    n = (_HOST_BYTES if host else _fitting(device)) // 8
    side = round(n ** (1 / 3)) // 16 * 16
    rows = n * 8 // (12 * _ROW_VALUES) // 16 * 16
    ours = () if host else ("triton",)
    methods = (*ours, "torch") if suite == "full" or host else ours
    found = [Case("hpc", method, {"pattern": "triad", "n": n}) for method in methods]
    found.append(Case("hpc", "torch" if host else "triton", {"pattern": "stencil", "side": side}))
    found.append(Case("hpc", "torch", {"pattern": "spmv", "rows": rows}))
    if suite == "standard" and not host:
        return tuple(Planned(case) for case in found)
    matrix = _hardware.double_name(device)
    size = _HOST_GEMM if host else _GEMM if matrix == "fp64_tensor" else _SMALL_GEMM
    cube = {"m": size, "n": size, "k": size, "precision": matrix, "data": "normal"}
    found.append(Case("hpc", "torch", {"pattern": "dgemm", **cube}))
    return tuple(Planned(case) for case in found)


def _fitting(device: Device) -> int:
    """Bytes of one array, of which a device's free memory holds six."""
    size = _BYTES
    while 6 * size > device.memory_free:
        size //= 2
    if size < 4 * device.cache_bytes:
        raise CannotMeasure(f"{device.name} has too little free memory for arrays no cache holds")
    return size


def work(parameters: Mapping[str, Any]) -> Work:
    """As `roofline.hpc` counts each of them, times the elements there are."""
    pattern = parameters["pattern"]
    if pattern == "dgemm":
        return gemm.work(parameters)
    elements = {
        "triad": lambda: parameters["n"],
        "stencil": lambda: parameters["side"] ** 3,
        "spmv": lambda: parameters["rows"] * _ROW_VALUES,
    }[pattern]()
    return KERNELS[pattern] * float(elements)


def ceilings(case: Case, device: Device) -> Ceilings:
    """The memory's rate, or for the dense product that of the units."""
    if case.parameters["pattern"] == "dgemm":
        return _hardware.ceiling(device, case.parameters["precision"])
    return Ceilings(bandwidth=device.peak_bandwidth)


def release() -> None:
    """Each case allocates its own arrays; what torch keeps of them goes back."""
    _matrices.release()


def prepare(case: Case, device: Device, seed: int) -> Prepared:
    """Arrays filled, the answer compared: the barest call.

    Raises:
        CannotMeasure: out of memory, or a kernel that does not compile.
        WrongResult: the answer is not right.
    """
    pattern = case.parameters["pattern"]
    what = f"{pattern} in FP64"
    with told(f"preparing {what}"), refused(what):
        release()
        made = {"triad": _triad, "stencil": _stencil, "spmv": _spmv, "dgemm": _dgemm}[pattern]
        call, checked, choices = made(case, device, seed)
    return Prepared(case, VERSION, work(case.parameters), call, checked, choices=choices)


_Made = tuple[Callable[[], None], str, dict[str, Any]]


def _triad(case: Case, device: Device, seed: int) -> _Made:
    torch, n = import_torch(), case.parameters["n"]
    b, c = (_normal(n, device, seed + i) for i in (0, 1))
    a = torch.empty_like(b)
    choices: dict[str, Any] = {}
    if case.method == "triton":
        stream = _kernels.load("stream")
        programs = stream.DEFAULT.programs(device.units)
        choices = {"config": asdict(stream.DEFAULT)}

        def call() -> None:
            stream.triad(a, b, c, _SCALAR, programs=programs)

    else:

        def call() -> None:
            torch.add(b, c, alpha=_SCALAR, out=a)

    poison(a)
    call()
    told_ = verify(a, lambda part: b[part] + _SCALAR * c[part], _MAP_TOLERANCE, f"triad of {n}")
    return call, told_, choices


def _stencil(case: Case, device: Device, seed: int) -> _Made:
    torch, side = import_torch(), case.parameters["side"]
    u = _normal(side**3, device, seed).view(side, side, side)
    v = torch.empty_like(u)
    choices: dict[str, Any] = {}
    if case.method == "triton":
        call, choices = _tuned_stencil(v, u, device)
    else:

        def call() -> None:
            v.copy_(_seven_point(u))

    poison(v)
    call()
    planes = _drawn_planes(side)
    wanted = torch.stack([_seven_point(_around(u, plane))[1] for plane in planes])
    what = f"a stencil on {side} × {side} × {side} points"
    checked = verify(v[planes], wanted, _MAP_TOLERANCE, what)
    whole = float(v.sum()) / float(_A * u.sum() + _B * _neighbours(u))
    verify(torch.tensor([whole], dtype=torch.float64), torch.ones(1), 1e-9, f"the sum of {what}")
    return call, f"planes {planes}: {checked}; and the sum of all", choices


def _tuned_stencil(v: Any, u: Any, device: Device) -> tuple[Callable[[], None], dict[str, Any]]:
    """The fastest of a few tiles."""
    stencil = _kernels.load("stencil")

    def bound(config: Any) -> Callable[[], None]:
        return lambda: stencil.seven_point(v, u, _A, _B, config=config)

    best, choices = fastest("stencil", device, bound, stencil.CONFIGS)
    return bound(best), choices


def _seven_point(u: Any) -> Any:
    """The stencil in plain torch; beyond the edge is zero."""
    found = _A * u
    for dim in range(3):
        size = u.shape[dim]
        for here, there in (
            (slice(1, size), slice(0, size - 1)),
            (slice(0, size - 1), slice(1, size)),
        ):
            into = [slice(None)] * 3
            from_ = [slice(None)] * 3
            into[dim], from_[dim] = here, there
            found[tuple(into)] += _B * u[tuple(from_)]
    return found


def _neighbours(u: Any) -> Any:
    """The sum of all neighbours of all points: each point counts once for each that it has."""
    edges = sum(u.select(dim, place).sum() for dim in range(3) for place in (0, -1))
    return 6 * u.sum() - edges


def _around(u: Any, plane: int) -> Any:
    """Three planes, that one in the middle; zeros beyond the cube."""
    torch = import_torch()
    zero = torch.zeros_like(u[0])
    below = u[plane - 1] if plane else zero
    above = u[plane + 1] if plane + 1 < len(u) else zero
    return torch.stack([below, u[plane], above])


def _drawn_planes(side: int) -> list[int]:
    return sorted({0, 1, side // 3, side // 2, side - 1})


def _spmv(case: Case, device: Device, seed: int) -> _Made:
    torch, rows = import_torch(), case.parameters["rows"]
    where = device.torch_name
    generator = torch.Generator(where).manual_seed(seed)
    starts = torch.arange(0, rows * _ROW_VALUES + 1, _ROW_VALUES, dtype=torch.int32, device=where)
    band = min(_BAND, rows // 4)
    # Steps between neighbours in a row are random and positive: sorted, and no column twice.
    most = max(1, 2 * band // _ROW_VALUES)
    steps = torch.randint(1, most + 1, (rows, _ROW_VALUES), device=where, generator=generator)
    columns = steps.cumsum(1) + torch.arange(rows, device=where)[:, None] - band
    columns = columns.remainder(rows).sort(1).values.to(torch.int32).reshape(-1)
    values = _normal(rows * _ROW_VALUES, device, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that sparse tensors are new
        matrix = torch.sparse_csr_tensor(
            starts, columns, values, (rows, rows), check_invariants=False
        )
    x = _normal(rows, device, seed + 1)
    y = torch.empty_like(x)

    def call() -> None:
        torch.mv(matrix, x, out=y)

    poison(y)
    call()

    def reference(part: slice) -> Any:
        some = slice(part.start * _ROW_VALUES, part.stop * _ROW_VALUES)
        gathered = values[some] * x[columns[some].long()]
        return gathered.view(-1, _ROW_VALUES).sum(1)

    checked = verify(y, _in_strips(reference), _SUM_TOLERANCE, f"a CSR product of {rows} rows")
    return call, checked, {"row_values": _ROW_VALUES, "band": band}


def _in_strips(reference: Callable[[slice], Any]) -> Callable[[slice], Any]:
    """A reference whose working memory would be 64 times what it gives, a strip at a time."""
    torch = import_torch()

    def whole(part: slice) -> Any:
        bounds = [*range(part.start, part.stop, _STRIP), part.stop]
        return torch.cat([reference(slice(*strip)) for strip in pairwise(bounds)])

    return whole


_STRIP = 2**18


def _dgemm(case: Case, device: Device, seed: int) -> _Made:
    x = _matrices.Matrices(case, device, seed)
    call = gemm.torch_call(x, case)
    return call, _matrices.check(call, x, case, seed), {}


def _normal(n: int, device: Device, seed: int) -> Any:
    torch = import_torch()
    generator = torch.Generator(device.torch_name).manual_seed(seed)
    made = torch.empty(n, dtype=torch.float64, device=device.torch_name)
    return made.normal_(1.0, 0.25, generator=generator)
