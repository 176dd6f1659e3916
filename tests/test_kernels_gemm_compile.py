"""The matrix products, compiled ahead of time: what their machine code does, without a GPU.

Another Triton than the installed one is examined by naming its folder in PYTHONPATH; see
docs/kernels.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernels_support import needs_triton, scripts

pytestmark = [pytest.mark.slow, needs_triton]

TARGETS = ("sm_90", "sm_100", "sm_80", "gfx942")  # the longest first
NVIDIA = ("sm_80", "sm_90", "sm_100")
BULK = ("sm_90", "sm_100")

# The instructions that a part's matrix units are fed by, and what they are once assembled.
PRODUCTS = {
    "sm_80": ("mma.sync.aligned.m16n8k16.", "HMMA"),
    "sm_90": ("wgmma.mma_async.sync.aligned.m64n", "HGMMA"),
    "sm_100": ("tcgen05.mma.cta_group::1.", "UTCHMMA"),
    "gfx942": ("v_mfma_f32_32x32x8_", ""),
}
# Shared memory of one program. NVIDIA: CUDA C++ Programming Guide, technical specifications per
# compute capability, maximum per thread block. AMD: CDNA 3 instruction set, local data share.
MOST_SHARED = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024, "gfx942": 64 * 1024}

Codes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def compiled() -> dict[str, Codes]:
    """What tests/kernels_gemm_aot.py tells of every target."""
    with scripts(**{target: ("kernels_gemm_aot.py", target) for target in TARGETS}) as running:
        return {target: script.told() for target, script in running.items()}


def faults(code: dict[str, Any], target: str) -> list[str]:
    """Why a product is not what we want on a target."""
    product, machine = PRODUCTS[target]
    found = []
    if not code["products"] or not all(name.startswith(product) for name in code["products"]):
        found.append(f"products: {code['products']}")
    if code["machine"] and not code["machine"][machine]:
        found.append(f"machine: no {machine}")
    if target in BULK and not (code["bulk_loads"] and code["bulk_stores"]):
        found.append(f"bulk copies: {code['bulk_loads']} and {code['bulk_stores']}")
    # Where the bulk copy engine moves the blocks, no thread moves anything.
    widths = set() if target in BULK else {16, 8} if target == "gfx942" else {16}
    if not set(code["loads"] + code["stores"]) <= widths:
        found.append(f"accesses: {sorted(set(code['loads'] + code['stores']))}")
    if code["spilled"]:
        found.append(f"spilled: {code['spilled']}")
    if code["serialized"]:
        found.append("serialized")
    if code["registers"] > most_registers(target, code["threads"]):
        found.append(f"registers: {code['registers']}")
    if code["shared_bytes"] > MOST_SHARED[target]:
        found.append(f"shared: {code['shared_bytes']}")
    return found


def most_registers(target: str, threads: int) -> int:
    """Registers that each thread of one program can have.

    NVIDIA has 65,536 a multiprocessor and 255 a thread. CDNA 3 has 512 for each of the 64 lanes of
    its four vector units, and 512 a thread, accumulation registers included.
    """
    if target == "gfx942":
        return min(512, 512 * 4 * 64 // threads)
    return min(255, 65536 // threads)


@pytest.mark.parametrize("target", TARGETS)
def test_matrix_units_are_fed_and_nothing_spills(compiled: dict[str, Codes], target: str) -> None:
    from gpubench.kernels import gemm

    family = {"sm_80": "ampere", "sm_90": "hopper", "sm_100": "blackwell", "gfx942": "amd"}[target]
    wanted = [f"{place} float16" for place in range(len(gemm.CONFIGS[family]))] + ["bfloat16"]
    wanted += ["by rows"] if target in BULK else []
    found = {name: faults(compiled[target][name], target) for name in wanted}
    assert found == {name: [] for name in wanted}


# The instruction of each other type, on each target whose matrix units multiply it.
OTHERS = {
    ("sm_80", "int8"): "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    ("sm_80", "float32"): "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
    ("sm_90", "float8_e4m3fn"): "wgmma.mma_async.sync.aligned.m64n{}k32.f32.e4m3.e4m3",
    ("sm_90", "int8"): "wgmma.mma_async.sync.aligned.m64n{}k32.s32.s8.s8",
    ("sm_90", "float32"): "wgmma.mma_async.sync.aligned.m64n{}k8.f32.tf32.tf32",
    ("sm_100", "float8_e4m3fn"): "tcgen05.mma.cta_group::1.kind::f8f6f4",
    ("sm_100", "float32"): "tcgen05.mma.cta_group::1.kind::tf32",
    ("gfx942", "float8_e4m3fnuz"): "v_mfma_f32_32x32x16_fp8_fp8",
    ("gfx942", "int8"): "v_mfma_i32_32x32x16_i8",
}


@pytest.mark.parametrize(("target", "dtype"), OTHERS)
def test_other_types_are_multiplied_as_such_by_every_configuration(
    compiled: dict[str, Codes], target: str, dtype: str
) -> None:
    from gpubench.kernels import gemm

    out = {"int8": "int32", "float32": "float32"}.get(dtype, "bfloat16")
    configs = gemm.configs(CAPABILITIES.get(target, target), out)
    assert configs
    allowed = {OTHERS[target, dtype].format(n) for n in (64, 128, 256)}
    for place in range(len(configs)):
        code = compiled[target][f"{place} {dtype}"]
        assert set(code["products"]) <= allowed, place
        seen = [fault for fault in faults(code, target) if not fault.startswith("products")]
        assert seen == [], place


CAPABILITIES = {"sm_80": "8.0", "sm_90": "9.0", "sm_100": "10.0"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("sm_80", "mma.sync.aligned.m16n8k16.row.col.f32.{}.{}.f32"),
        ("sm_90", "wgmma.mma_async.sync.aligned.m64n256k16.f32.{}.{}"),
        ("gfx942", "v_mfma_f32_32x32x8_{}"),
    ],
)
def test_products_are_of_the_type_asked_for_and_added_in_float32(
    compiled: dict[str, Codes], target: str, name: str
) -> None:
    for variant, short in (("0 float16", "f16"), ("bfloat16", "bf16")):
        assert list(compiled[target][variant]["products"]) == [name.format(short, short)]


@pytest.mark.parametrize("target", BULK)
def test_specialised_warps_are_there_where_asked(compiled: dict[str, Codes], target: str) -> None:
    from gpubench.kernels import gemm

    configs = gemm.CONFIGS["hopper" if target == "sm_90" else "blackwell"]
    for place, config in enumerate(configs):
        code = compiled[target][f"{place} float16"]
        assert bool(code["roles"]) == config.specialize, place
        # Beside the warps that were asked for, some that load; on Hopper two groups multiply.
        assert (code["threads"] > 32 * config.num_warps) == config.specialize, place
    assert configs[0].specialize


@pytest.mark.parametrize("target", BULK)
def test_the_assembled_code_holds_the_bulk_copies(compiled: dict[str, Codes], target: str) -> None:
    machine = compiled[target]["0 float16"]["machine"]
    assert machine["UTMALDG"]
    assert machine["UTMASTG"]
    assert machine["LDL"] == machine["STL"] == machine["LDGSTS"] == 0
    assert 0 < compiled[target]["0 float16"]["scratch_bytes"] <= 1024


def test_loads_run_ahead_through_shared_memory_on_ampere(compiled: dict[str, Codes]) -> None:
    assert compiled["sm_80"]["0 float16"]["machine"]["LDGSTS"]


@pytest.mark.parametrize("target", BULK)
def test_pointers_where_bulk_copies_should_be_would_be_seen(
    compiled: dict[str, Codes], target: str
) -> None:
    seen = [fault.split(":")[0] for fault in faults(compiled[target]["pointers"], target)]
    # For Hopper, Triton 3.6 also waits for each of its matrix instructions.
    assert seen[:2] == ["bulk copies", "accesses"]


def test_an_older_part_s_instructions_would_be_seen(compiled: dict[str, Codes]) -> None:
    seen = [fault.split(":")[0] for fault in faults(compiled["sm_80"]["0 float16"], "sm_90")]
    assert seen == ["products", "machine", "bulk copies", "accesses"]


@pytest.mark.parametrize("target", NVIDIA)
def test_spilling_and_too_much_shared_memory_would_be_seen(
    compiled: dict[str, Codes], target: str
) -> None:
    codes = compiled[target]
    assert any(fault.startswith("spilled") for fault in faults(codes["crowded"], target))
    assert any(fault.startswith("shared") for fault in faults(codes["deep"], target))
