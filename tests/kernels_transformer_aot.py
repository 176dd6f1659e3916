"""Compiles a transformer's kernels for one target without a GPU, and prints what the code does.

    python tests/kernels_transformer_aot.py TARGET

One JSON object, from the name of a variant to the widths of its loads and stores, registers,
spills, shared memory, and the instructions of the matrix units.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import triton
from triton.compiler import ASTSource

from gpubench.kernels import attention, skinny, transformer
from kernels_aot import Built, build, target_of
from kernels_gemm_aot import read_code

POINTERS = {"float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32", "fp8": "*fp8e4nv"}
# Heads, cached heads and dimensions of Llama 2 70B, Llama 3.1 8B, and one without shared heads.
SHAPES = {"70b": (64, 8, 128), "8b": (32, 8, 128), "mha": (32, 32, 128)}


def compiled(
    fn: Any, types: dict[str, str], constants: dict[str, Any], target: Any, **options: int
) -> Built:
    """A kernel compiled as a launch on sizes that are multiples of 16 would."""
    signature, attributes = {}, {}
    for place, parameter in enumerate(fn.params):
        if parameter.is_constexpr:
            signature[parameter.name] = "constexpr"
            continue
        kind = types.get(parameter.name, types["*"])
        signature[parameter.name] = kind
        if kind.startswith("*") or kind == "i32":
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn, signature=signature, constexprs=constants, attrs=attributes)
    return build(source, target, options)


def variants(target: Any) -> Iterator[tuple[str, Any, dict[str, str], dict[str, Any], Any]]:
    """(name, kernel, types of its arguments, constants, options) of what is compiled."""
    eight = target.arch >= 89
    caches = ("float16", "bfloat16", *(("fp8",) if eight else ()))
    for shape, (heads, kv, dim) in SHAPES.items():
        for cache in caches if shape == "70b" else caches[:1]:
            for place, config in enumerate(attention.CONFIGS if shape == "70b" else ()) or [
                (0, attention.DEFAULT)
            ]:
                yield _attention(
                    f"attention {shape} {cache} {place}", cache, config, heads, kv, dim
                )
    yield (
        "combine",
        attention._combine,
        {"*": "*fp32", "out": "*fp16"},
        {"DIM": 128, "SPLITS": 33, "PADDED": 64, "CHUNK": 64},
        {"num_warps": 4},
    )
    for hidden in (4096, 8192):
        for quantise in (False, True) if eight else (False,):
            yield _norm(f"norm {hidden}{' fp8' if quantise else ''}", hidden, quantise)
    for n in (14336, 28672):
        for quantise in (False, True) if eight else (False,):
            yield _swiglu(f"swiglu {n}{' fp8' if quantise else ''}", n, quantise)
    for cache in ("float16", *(("fp8",) if eight else ())):
        types = {"*": "*fp16", "turns": "*fp32", "positions": "*i32", "tokens": "i32"}
        types |= {"capacity": "i32", "k_cache": POINTERS[cache], "v_cache": POINTERS[cache]}
        constants = {"HEADS": 64, "KV": 8, "DIM": 128, "TOGETHER": 16}
        yield f"rope {cache}", transformer._rope, types, constants, {"num_warps": 4}
    name, kernel, types, constants, options = _attention(
        "crowded", "float16", attention.DEFAULT, *SHAPES["70b"]
    )
    yield name, kernel, types, constants, {**options, "maxnreg": 32}
    for dtype in caches:
        for rows in (16, 32):
            for place, config in enumerate(skinny.CONFIGS):
                yield _skinny(f"skinny {dtype} {rows} {place}", dtype, rows, config)


def _attention(
    name: str, cache: str, config: Any, heads: int, kv: int, dim: int
) -> tuple[str, Any, dict[str, str], dict[str, Any], Any]:
    query = "bfloat16" if cache != "float16" else "float16"
    types = {
        "*": POINTERS[query],
        "parts": "*fp32",
        "sums": "*fp32",
        "k": POINTERS[cache],
        "v": POINTERS[cache],
        "lengths": "*i32",
        "scale": "fp32",
        "capacity": "i32",
        "window": "i32",
    }
    constants = {
        "KV": kv,
        "GROUP": heads // kv,
        "ROWS": 16,
        "DIM": dim,
        "BLOCK": config.block,
        "SPLITS": 8,
        "STAGES": config.stages,
    }
    return name, attention._split, types, constants, {"num_warps": config.num_warps}


def _norm(name: str, hidden: int, quantise: bool) -> tuple[str, Any, dict[str, str], Any, Any]:
    types = {"*": "*bf16", "scales": "*fp32", "eps": "fp32", "hidden": "i32"}
    types |= {"out": "*fp8e4nv"} if quantise else {}
    constants = {"ADD": True, "QUANTISE": quantise, "BLOCK": hidden}
    return name, transformer._norm, types, constants, {"num_warps": transformer._warps(hidden)}


def _swiglu(name: str, n: int, quantise: bool) -> tuple[str, Any, dict[str, str], Any, Any]:
    types = {"*": "*bf16", "scales": "*fp32", "n": "i32"}
    types |= {"out": "*fp8e4nv"} if quantise else {}
    block = triton.next_power_of_2(n) if quantise else transformer._BLOCK
    constants = {"GATED": True, "QUANTISE": quantise, "BLOCK": block}
    return name, transformer._rows, types, constants, {"num_warps": transformer._warps(block)}


def _skinny(
    name: str, dtype: str, rows: int, config: Any
) -> tuple[str, Any, dict[str, str], dict[str, Any], Any]:
    types = {"*": POINTERS[dtype], "scale_x": "*fp32", "scale_w": "*fp32"}
    types |= {"m": "i32", "n": "i32", "k": "i32", "out": "*bf16" if dtype != "float16" else "*fp16"}
    element = 1 if dtype == "fp8" else 2
    constants = {
        "ROWS": rows,
        "BN": config.block_n,
        "BK": config.block_bytes // element,
        "STAGES": config.stages,
        "SCALED": dtype == "fp8",
    }
    return name, skinny._skinny, types, constants, {"num_warps": config.num_warps}


def told(kernel: Built, target: Any) -> dict[str, Any]:
    code = read_code(kernel, target, disassemble=False)
    return {
        "loads": code.loads,
        "stores": code.stores,
        "registers": code.registers,
        "threads": code.threads,
        "spilled": code.spilled,
        "shared": code.shared_bytes,
        "products": sorted({re.sub(r"\.sync\.aligned", "", p) for p in code.products}),
    }


def main(name: str) -> None:
    target = target_of(name)
    found = {
        variant: told(compiled(fn, types, constants, target, **options), target)
        for variant, fn, types, constants, options in variants(target)
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
