"""Products of matrices: work whose only limit, once the matrices are large, is arithmetic.

    C = A · B        C[i, j] = Σ A[i, l] · B[l, j]      A (m, k), B (k, n), C (m, n)

Products are added in float32 and rounded once, at the end; those of int8 are added in int32 and are
exact. C is cut into tiles of BM × BN, and each tile is the sum over blocks of BK along k. Tiles are
taken in groups of GROUP rows of tiles, column by column within a group, so that tiles computed at
the same moment share rows of A and columns of B in the L2 cache.

Two kernels do this:

- `_persistent` moves blocks by tensor descriptors, which the bulk copy engine of Hopper and later
  carries out: one thread asks for a whole block, and beyond an edge the engine reads zeros and
  writes nothing. One program stays on each multiprocessor, and program p computes the tiles p,
  p + P, p + 2P …
- `_one_tile` moves them by pointers with masks, one tile a program, for Ampere and AMD.

B may lie by rows or by columns. By columns (`weights.T`, as in a linear layer) is what 8-bit types
need on Hopper.
"""

# ruff: noqa: N803, N806 - constants of a Triton kernel are written in upper case

from dataclasses import dataclass
from typing import TYPE_CHECKING

import triton
import triton.language as tl
from gpubench.kernels.checks import check_place, described, dtype

if TYPE_CHECKING:
    import torch

# Types of A and B, and what C may be in each case. float8_e4m3fnuz is that of AMD's CDNA 3.
OUTPUTS = {
    "float16": ("float16", "float32"),
    "bfloat16": ("bfloat16", "float32"),
    "float8_e4m3fn": ("float16", "bfloat16", "float32"),
    "float8_e4m3fnuz": ("float16", "bfloat16", "float32"),
    "float32": ("float32",),
    "int8": ("int32",),
}
DESCRIPTOR_BYTES = 16  # what the address and every row of a described matrix must be a multiple of


@dataclass(frozen=True)
class Config:
    """One way to compute a product; `dataclasses.asdict` makes it a record."""

    block_m: int  # rows of a tile
    block_n: int  # columns of a tile
    block_k_bytes: int  # of a row of A in one block; 128 is the widest swizzle of shared memory
    num_warps: int  # of one program
    stages: int  # blocks in shared memory at once
    group: int = 8  # rows of tiles in a group
    descriptors: bool = True  # `_persistent`, else `_one_tile`
    subtiles: int = 1  # parts in which a tile is written: 2 halves the memory it passes through
    specialize: bool = False  # warps of their own for loads, where the compiler offers it
    flatten: bool = False  # tiles and blocks in one loop, so that loads run on into the next tile

    def __post_init__(self) -> None:
        for name in ("block_m", "block_n", "block_k_bytes"):
            size = getattr(self, name)
            if size < 16 or size & (size - 1):
                raise ValueError(f"{name} is {size}: tiles are powers of two, 16 at the least")
        if self.subtiles not in (1, 2):
            raise ValueError(f"subtiles is {self.subtiles}: a tile is written in 1 or 2 parts")

    def block_k(self, element_bytes: int) -> int:
        """Columns of A in one block."""
        return self.block_k_bytes // element_bytes

    def tiles(self, m: int, n: int) -> int:
        """Tiles of an (m, n) result, ragged ones included."""
        return -(-m // self.block_m) * -(-n // self.block_n)


# What `search` tries for each family; docs/kernels.md has the reasons. The first is the default.
CONFIGS = {
    "hopper": (
        Config(128, 256, 128, 4, 3, specialize=True),
        Config(128, 256, 128, 4, 3, group=16, specialize=True),
        Config(256, 128, 128, 4, 3, specialize=True),
        Config(128, 256, 128, 8, 4, subtiles=2, flatten=True),
        Config(128, 256, 128, 8, 4, subtiles=2),
        Config(128, 256, 128, 8, 3),
        Config(128, 128, 128, 4, 5, specialize=True),
    ),
    "blackwell": (
        Config(128, 256, 128, 4, 4, subtiles=2, specialize=True, flatten=True),
        Config(128, 256, 128, 8, 3, subtiles=2, flatten=True),
        Config(128, 128, 128, 4, 4, subtiles=2, specialize=True, flatten=True),
    ),
    "ampere": (
        Config(128, 256, 64, 8, 3, descriptors=False),
        Config(128, 128, 64, 4, 4, descriptors=False),
        Config(128, 128, 128, 8, 3, descriptors=False),
    ),
    "amd": (
        Config(256, 256, 64, 8, 2, descriptors=False),
        Config(128, 256, 128, 8, 2, descriptors=False),
        Config(128, 128, 128, 4, 2, descriptors=False),
    ),
}
DEFAULT = CONFIGS["hopper"][0]

# The same where C has elements of four bytes, whose tiles take twice the shared memory on their way
# out. Pointers need none for it.
WIDE = {
    "hopper": (
        Config(128, 128, 128, 4, 5, specialize=True),
        Config(128, 256, 128, 4, 2, specialize=True),
        Config(128, 256, 128, 8, 3, subtiles=2, flatten=True),
        Config(128, 128, 128, 4, 4, group=16, specialize=True),
    ),
    "blackwell": (
        Config(128, 256, 128, 8, 2, subtiles=2, flatten=True),
        Config(128, 128, 128, 4, 4, subtiles=2, specialize=True, flatten=True),
    ),
}

# The same for int8, of whose next block compilers since Triton 3.8 keep every byte in a register.
INTEGERS = WIDE | {
    "ampere": (
        Config(128, 128, 128, 8, 3, descriptors=False),
        Config(128, 128, 64, 8, 4, descriptors=False),
        Config(64, 256, 64, 8, 4, descriptors=False),
    ),
}


def configs(capability: str, out: str) -> tuple[Config, ...]:
    """What to try on a device, for a C of the type `out`, by torch's name."""
    kind = family(capability)
    return {"float32": WIDE, "int32": INTEGERS}.get(out, CONFIGS).get(kind, CONFIGS[kind])


def family(capability: str) -> str:
    """The key of CONFIGS for a device: "9.0" is Hopper, "gfx942" AMD, what is not known Ampere."""
    if capability.startswith("gfx"):
        return "amd"
    known = {"9": "hopper", "10": "blackwell"}
    return known.get(capability.partition(".")[0], "ampere")


def multiply(
    c: "torch.Tensor",
    a: "torch.Tensor",
    b: "torch.Tensor",
    *,
    programs: int,
    config: Config = DEFAULT,
    tf32: bool = False,
) -> None:
    """C = A · B: checks its arguments and launches.

    Args:
        c: (m, n), by rows.
        a: (m, k), by rows.
        b: (k, n), by rows or by columns.
        programs: of the persistent kernel, usually one for each multiprocessor; the other kernel
            launches one for each tile.
        config: how; see `search`.
        tf32: round float32 to TF32, which matrix units multiply; else it is multiplied as such.

    Descriptors need memory for each launch, so this sets Triton's allocator (of this context).

    Raises:
        ValueError: an argument that would make the kernels wrong, or slow without saying so.
    """
    (m, n), k = _checked(c, a, b, programs, config), a.shape[1]
    by_columns = _lies_by_columns(b)
    arguments = (c, a, b, m, n, k, c.stride(0), a.stride(0), b.stride(1 if by_columns else 0))
    constants = {
        "BM": config.block_m,
        "BN": config.block_n,
        "BK": config.block_k(a.element_size()),
        "GROUP": config.group,
        "BY_COLUMNS": by_columns,
        "INPUT": "tf32" if tf32 else "ieee",
        "num_warps": config.num_warps,
        "num_stages": config.stages,
        "enable_fp_fusion": True,
    }
    tiles = config.tiles(m, n)
    if not config.descriptors:
        _one_tile[(tiles,)](*arguments, **constants)
        return
    # Each program writes its descriptors to device memory, a few hundred bytes.
    triton.set_allocator(_scratch)
    _persistent[(min(programs, tiles),)](
        *arguments,
        SUBTILES=config.subtiles,
        SPECIALIZE=config.specialize,
        FLATTEN=config.flatten,
        **constants,
    )


@triton.jit
def _persistent(
    c,  # (m, n) written
    a,  # (m, k) read
    b,  # (k, n) read
    m,
    n,
    k,
    row_c,  # elements from one row of c to the next
    row_a,
    row_b,  # from one row of b to the next, or if BY_COLUMNS from one column to the next
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
    BY_COLUMNS: tl.constexpr,
    INPUT: tl.constexpr,  # "ieee", or "tf32" for float32 rounded on the way
    SUBTILES: tl.constexpr,
    SPECIALIZE: tl.constexpr,
    FLATTEN: tl.constexpr,
):
    """C = A · B by tensor descriptors; program p computes the tiles p, p + P, p + 2P …"""
    SUM: tl.constexpr = tl.int32 if a.dtype.element_ty == tl.int8 else tl.float32
    tiles_m, tiles_n = tl.cdiv(m, BM), tl.cdiv(n, BN)
    tiles, p, programs = tiles_m * tiles_n, tl.program_id(0), tl.num_programs(0)
    blocks_c = tl.make_tensor_descriptor(c, [m, n], [row_c, 1], [BM, BN // SUBTILES])
    blocks_a = tl.make_tensor_descriptor(a, [m, k], [row_a, 1], [BM, BK])
    if BY_COLUMNS:
        blocks_b = tl.make_tensor_descriptor(b, [n, k], [row_b, 1], [BN, BK])
    else:
        blocks_b = tl.make_tensor_descriptor(b, [k, n], [row_b, 1], [BK, BN])
    for tile in tl.range(p, tiles, programs, flatten=FLATTEN, warp_specialize=SPECIALIZE):
        row, column = _place(tile, tiles_m, tiles_n, GROUP)
        total = tl.zeros((BM, BN), SUM)
        for step in range(tl.cdiv(k, BK)):
            x = blocks_a.load([row * BM, step * BK])  # (BM, BK)
            if BY_COLUMNS:
                y = blocks_b.load([column * BN, step * BK]).T  # (BK, BN)
            else:
                y = blocks_b.load([step * BK, column * BN])
            total = tl.dot(x, y, total, input_precision=INPUT, out_dtype=SUM)
        if SUBTILES == 1:
            blocks_c.store([row * BM, column * BN], total.to(c.dtype.element_ty))
        else:
            tl.static_assert(SUBTILES == 2)
            halves = tl.permute(tl.reshape(total, (BM, 2, BN // 2)), (0, 2, 1))
            left, right = tl.split(halves)  # (BM, BN // 2) each
            blocks_c.store([row * BM, column * BN], left.to(c.dtype.element_ty))
            blocks_c.store([row * BM, column * BN + BN // 2], right.to(c.dtype.element_ty))


@triton.jit
def _one_tile(
    c,  # (m, n) written
    a,  # (m, k) read
    b,  # (k, n) read
    m,
    n,
    k,
    row_c,  # elements from one row of c to the next
    row_a,
    row_b,  # from one row of b to the next, or if BY_COLUMNS from one column to the next
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
    BY_COLUMNS: tl.constexpr,
    INPUT: tl.constexpr,
):
    """C = A · B by pointers; each program computes one tile."""
    SUM: tl.constexpr = tl.int32 if a.dtype.element_ty == tl.int8 else tl.float32
    row, column = _place(tl.program_id(0), tl.cdiv(m, BM), tl.cdiv(n, BN), GROUP)
    i = tl.cast(row, tl.int64) * BM + tl.arange(0, BM)  # (BM,)
    j = tl.cast(column, tl.int64) * BN + tl.arange(0, BN)  # (BN,)
    # Beyond the edge rows and columns are read again from the start: no mask, and never stored.
    from_a = a + (i % m)[:, None] * row_a  # (BM, 1)
    from_b = (j % n)[None, :]  # (1, BN)
    total = tl.zeros((BM, BN), SUM)
    for step in range(tl.cdiv(k, BK)):
        along = step * BK + tl.arange(0, BK)  # (BK,)
        inside = along < k
        x = tl.load(from_a + along[None, :], mask=inside[None, :], other=0.0)  # (BM, BK)
        if BY_COLUMNS:
            at_b = b + from_b * row_b + along[:, None]
        else:
            at_b = b + from_b + tl.cast(along, tl.int64)[:, None] * row_b
        y = tl.load(at_b, mask=inside[:, None], other=0.0)  # (BK, BN)
        total = tl.dot(x, y, total, input_precision=INPUT, out_dtype=SUM)
    at_c = c + i[:, None] * row_c + j[None, :]
    tl.store(at_c, total.to(c.dtype.element_ty), mask=(i < m)[:, None] & (j < n)[None, :])


@triton.jit
def _place(tile, tiles_m, tiles_n, GROUP: tl.constexpr):
    """(row, column) of a tile: groups of GROUP rows, column by column within a group."""
    group = tile // (GROUP * tiles_n)
    first = group * GROUP
    height = min(GROUP, tiles_m - first)
    within = tile % (GROUP * tiles_n)
    return first + within % height, within // height


def _scratch(size: int, alignment: int, stream: int | None) -> "torch.Tensor":
    """Memory for one launch, by torch's allocator, which aligns to more than is asked for."""
    import torch

    del alignment, stream
    return torch.empty(size, dtype=torch.int8, device="cuda")


def _checked(
    c: "torch.Tensor", a: "torch.Tensor", b: "torch.Tensor", programs: int, config: Config
) -> tuple[int, int]:
    """The shape of C, once the matrices are known to be fit for the kernels."""
    if programs < 1:
        raise ValueError(f"programs is {programs}: launch at least one")
    for name, matrix in (("c", c), ("a", a), ("b", b)):
        if matrix.dim() != 2 or not matrix.numel():
            raise ValueError(f"{name} ({described(matrix)}): must be a matrix that is not empty")
    (m, k), (rows, n) = a.shape, b.shape
    if rows != k or tuple(c.shape) != (m, n):
        raise ValueError(
            f"the shapes do not fit: c {described(c)}, a {described(a)}, b {described(b)}"
        )
    if a.dtype != b.dtype or dtype(c) not in OUTPUTS.get(dtype(a), ()):
        raise ValueError(
            f"no kernel for c {described(c)}, a {described(a)}, b {described(b)}: a and b are "
            f"both of {', '.join(OUTPUTS)}, and c is of the same type or wider"
        )
    for name, matrix in (("c", c), ("a", a), ("b", b)):
        turned = name == "b" and _lies_by_columns(matrix)
        _check_matrix(name, matrix.T if turned else matrix, config.descriptors)
        if matrix.device != a.device:
            raise ValueError(f"a and {name} are on different devices")
    _check_apart(c, a, b)
    return m, n


def _check_matrix(name: str, matrix: "torch.Tensor", descriptors: bool) -> None:
    said = f"{name} ({described(matrix)})"
    if matrix.stride(1) != 1 or matrix.stride(0) < matrix.shape[1]:
        layout = "by rows or by columns" if name == "b" else "by rows"
        raise ValueError(f"{said}: must lie in memory {layout}")
    row_bytes = matrix.stride(0) * matrix.element_size()
    if descriptors and (matrix.data_ptr() % DESCRIPTOR_BYTES or row_bytes % DESCRIPTOR_BYTES):
        raise ValueError(
            f"{said}: its start and its rows must be multiples of {DESCRIPTOR_BYTES} bytes to be "
            f"moved by descriptors; pad it, or choose a configuration without them"
        )
    check_place(name, said, matrix)


def _lies_by_columns(matrix: "torch.Tensor") -> bool:
    return matrix.stride(0) == 1 and matrix.stride(1) >= matrix.shape[0]


def _check_apart(c: "torch.Tensor", a: "torch.Tensor", b: "torch.Tensor") -> None:
    """Raises ValueError if c shares memory with an input, which would be read after its change."""
    start, end = _extent(c)
    for name, matrix in (("a", a), ("b", b)):
        first, last = _extent(matrix)
        if start < last and first < end:
            raise ValueError(f"c and {name} share memory: give c memory of its own")


def _extent(matrix: "torch.Tensor") -> tuple[int, int]:
    """The first address of a matrix, and the one after its last."""
    span = sum((size - 1) * step for size, step in zip(matrix.shape, matrix.stride(), strict=True))
    return matrix.data_ptr(), matrix.data_ptr() + (span + 1) * matrix.element_size()
