"""Compiles the matrix products for one target without a GPU, and prints what the code does.

    python tests/kernels_gemm_aot.py TARGET

TARGET is sm_80, sm_90 …, or gfx942. One JSON object, from the name of a variant to a `Code`: all
configurations that are tried on the target with every type that it multiplies, and some that must
fail the assertions.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gpubench.kernels import gemm
from kernels_aot import (
    AMD_BYTES,
    PTX_ACCESS,
    Built,
    build,
    disassembled,
    ptx_bytes,
    resources,
    target_of,
)

POINTERS = {
    "float16": "*fp16",
    "bfloat16": "*bf16",
    "float32": "*fp32",
    "int8": "*i8",
    "int32": "*i32",
}
POINTERS |= {"float8_e4m3fn": "*fp8e4nv", "float8_e4m3fnuz": "*fp8e4b8"}
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "int8": 1}
BYTES |= {"float8_e4m3fn": 1, "float8_e4m3fnuz": 1}
# What C is, where it is not what A and B are.
OUT = {"float8_e4m3fn": "bfloat16", "float8_e4m3fnuz": "bfloat16", "int8": "int32"}
# What the matrix units of a target multiply beside float16 and bfloat16, as Triton uses them:
# float32 as TF32. It gives int8 none of Blackwell's own instructions.
TYPES = {
    "sm_80": ("int8", "float32"),
    "sm_90": ("float8_e4m3fn", "int8", "float32"),
    "sm_100": ("float8_e4m3fn", "float32"),
    "gfx942": ("float8_e4m3fnuz", "int8"),
}
CAPABILITIES = {"sm_80": "8.0", "sm_90": "9.0", "sm_100": "10.0"}


@dataclass
class Code:
    """What a compiled kernel does. Counts are of instructions in its text, not of executions."""

    products: dict[str, int]  # instructions of the matrix units, by their whole name
    bulk_loads: int  # blocks asked of the bulk copy engine, from device into shared memory
    bulk_stores: int  # and back
    loads: list[int]  # bytes of each load of one thread, into registers or shared memory
    stores: list[int]
    roles: int  # changes of a warp's share of registers: none without specialised warps
    serialized: bool  # the assembler waits for each matrix instruction
    threads: int
    registers: int
    spilled: int  # bytes on NVIDIA, registers on AMD
    shared_bytes: int
    scratch_bytes: int  # device memory of each program, for descriptors
    machine: dict[str, int]  # opcodes of interest once assembled, where it was disassembled


def variants(target: str) -> Iterator[tuple[str, str, gemm.Config, bool, dict[str, int]]]:
    """(name, dtype, configuration, whether B lies by columns, options) of what is compiled."""
    capability = CAPABILITIES.get(target, target)
    for dtype in ("float16", *TYPES[target]):
        for place, config in enumerate(gemm.configs(capability, OUT.get(dtype, dtype))):
            yield f"{place} {dtype}", dtype, config, True, {}
    configs = gemm.configs(capability, "float16")
    default = configs[0]
    yield "bfloat16", "bfloat16", default, True, {}
    if default.descriptors:
        yield "by rows", "float16", default, False, {}
        yield "pointers", "float16", gemm.CONFIGS["ampere"][0], True, {}
    if target.startswith("sm_"):
        unspecialised = replace(configs[-1], specialize=False)
        yield "crowded", "float16", unspecialised, True, {"maxnreg": 96}
        yield "deep", "float16", replace(unspecialised, block_n=256, stages=6), True, {}


def compiled(
    dtype: str, config: gemm.Config, by_columns: bool, target: GPUTarget, **options: int
) -> Built:
    """A kernel compiled as a launch on sizes that are multiples of 16 would."""
    fn = gemm._persistent if config.descriptors else gemm._one_tile
    constants: dict[str, Any] = {
        "BM": config.block_m,
        "BN": config.block_n,
        "BK": config.block_k(BYTES[dtype]),
        "GROUP": config.group,
        "BY_COLUMNS": by_columns,
        "INPUT": "tf32" if dtype == "float32" else "ieee",
    }
    if config.descriptors:
        constants |= {
            "SUBTILES": config.subtiles,
            "SPECIALIZE": config.specialize,
            "FLATTEN": config.flatten,
        }
    signature, attributes = {}, {}
    for place, parameter in enumerate(fn.params):
        if parameter.name in constants:
            signature[parameter.name] = "constexpr"
            continue
        pointer = {"a": POINTERS[dtype], "b": POINTERS[dtype], "c": POINTERS[OUT.get(dtype, dtype)]}
        signature[parameter.name] = pointer.get(parameter.name, "i32")
        attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn, signature=signature, constexprs=constants, attrs=attributes)
    how = {"num_warps": config.num_warps, "num_stages": config.stages, **options}
    return build(source, target, how)


def read_code(kernel: Built, target: GPUTarget, disassemble: bool) -> Code:
    """What a kernel does; disassembling costs more than all the rest."""
    if target.backend == "hip":
        return _read_amd(kernel)
    ptx = kernel.asm["ptx"]
    spilled, registers = resources(kernel.said)
    threads = re.search(r"\.reqntid (\d+)", ptx)
    assert threads, ptx[:500]
    return Code(
        products=dict(Counter(_NVIDIA_PRODUCT.findall(ptx))),
        bulk_loads=len(re.findall(r"cp\.async\.bulk\.tensor\S*shared::\w+\.global", ptx)),
        bulk_stores=len(re.findall(r"cp\.async\.bulk\.tensor\S*global\.shared", ptx)),
        loads=[ptx_bytes(found) for found in PTX_ACCESS.finditer(ptx) if found["kind"] != "st"],
        stores=[ptx_bytes(found) for found in PTX_ACCESS.finditer(ptx) if found["kind"] == "st"],
        roles=len(re.findall(r"setmaxnreg", ptx)),
        serialized="serialized" in kernel.said,
        threads=int(threads[1]),
        registers=registers,
        spilled=spilled,
        shared_bytes=kernel.metadata.shared,
        scratch_bytes=kernel.metadata.global_scratch_size,
        machine=_opcodes(kernel.asm["cubin"]) if disassemble else {},
    )


_NVIDIA_PRODUCT = re.compile(r"\b(?:wgmma\.mma_async|tcgen05\.mma|mma\.sync)\.\S+")
_OPCODES = ("HMMA", "HGMMA", "QGMMA", "UTCHMMA", "UTMALDG", "UTMASTG", "LDGSTS", "LDL", "STL")


def _opcodes(cubin: bytes) -> dict[str, int]:
    text = disassembled(cubin)
    found = Counter(re.findall(r"/\*[0-9a-f]{4,5}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9]+)", text))
    return {name: found[name] for name in _OPCODES}


def _read_amd(kernel: Built) -> Code:
    text = kernel.asm["amdgcn"]
    accesses = re.findall(r"\b(?:global|buffer)_(load|store)_([a-z0-9]+)", text)
    registers = re.search(r"\.vgpr_count:\s+(\d+)", text)
    threads = re.search(r"\.max_flat_workgroup_size:\s+(\d+)", text)
    spills = re.findall(r"\.[sv]gpr_spill_count:\s+(\d+)", text)
    assert registers
    assert threads
    assert len(spills) == 2
    return Code(
        products=dict(Counter(re.findall(r"\bv_mfma_\S+", text))),
        bulk_loads=0,
        bulk_stores=0,
        loads=[AMD_BYTES[width] for kind, width in accesses if kind == "load"],
        stores=[AMD_BYTES[width] for kind, width in accesses if kind == "store"],
        roles=0,
        serialized=False,
        threads=int(threads[1]),
        registers=int(registers[1]),
        spilled=sum(int(number) for number in spills),
        shared_bytes=kernel.metadata.shared,
        scratch_bytes=0,
        machine={},
    )


def main(name: str) -> None:
    target, found = target_of(name), {}
    for variant, dtype, config, by_columns, options in variants(name):
        kernel = compiled(dtype, config, by_columns, target, **options)
        found[variant] = asdict(read_code(kernel, target, variant in ("0 float16", "pointers")))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
