"""Compiles the stream kernels for one target without a GPU, and prints what the machine code does.

    python tests/kernels_aot.py TARGET [every]

TARGET is sm_80, sm_90 …, or gfx942. One JSON object, from the name of a variant to a `Code`; with
`every`, all configurations of the search instead of the variants the tests look at closely.
"""

# ruff: noqa: N803 - constants of a Triton kernel are written in upper case

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.cache import get_cache_manager

from gpubench.benchmarks.bandwidth import PATTERNS
from gpubench.kernels import stream

os.environ["TRITON_DUMP_PTXAS_LOG"] = "1"  # to stdout, whence `build` takes it

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
POINTERS = {"float16": "*fp16", "bfloat16": "*bf16", "float32": "*fp32", "float64": "*fp64"}
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass
class Code:
    """What a compiled kernel does; widths are bytes of one thread, in the order of the code."""

    loads: list[int]  # widths in the main loop, into registers or shared memory
    stores: list[int]  # widths in the main loop
    machine_loads: list[int] | None  # the same once assembled, where it was disassembled;
    machine_stores: list[int] | None  # equal to the above on AMD
    loops: int  # loops that touch device memory
    evicting: int  # accesses of the main loop marked to leave the caches first (NVIDIA)
    together: int  # loads issued before the loop waits for the first of them, if disassembled
    registers: int
    shared_bytes: int
    spilled: int  # bytes on NVIDIA, registers on AMD
    multiplications: list[str]  # integer types multiplied in Triton's own intermediate code


@triton.jit
def strided(out, x, n: tl.int64, BLOCK: tl.constexpr):
    """A kernel that must fail the assertions: it takes every second element."""
    i = tl.arange(0, BLOCK)
    for block in tl.range(tl.program_id(0), n // BLOCK, tl.num_programs(0)):
        at = block.to(tl.int64) * BLOCK + 2 * i
        tl.store(out + at, tl.load(x + at))


@triton.jit
def narrow(out, x, n: tl.int64, BLOCK: tl.constexpr):
    """A kernel that must fail the assertions: it counts elements in 32 bits, and has no loop."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n), mask=at < n)


def variants(every: bool) -> Iterator[tuple[str, str, str, stream.Config]]:
    """(name, pattern, dtype, configuration) of what is compiled."""
    if every:
        for pattern in PATTERNS:
            for place, config in enumerate(stream.CONFIGS):
                yield f"{pattern} {place}", pattern, "float32", config
        return
    for pattern in PATTERNS:
        yield f"{pattern} float32", pattern, "float32", stream.DEFAULT
    for dtype in ("float16", "bfloat16", "float64"):
        yield f"triad {dtype}", "triad", dtype, stream.DEFAULT
        yield f"dot {dtype}", "dot", dtype, stream.DEFAULT
    usual = next(config for config in stream.CONFIGS if not config.evict)
    staged = next(config for config in stream.CONFIGS if config.stages > 1)
    yield "triad usual", "triad", "float32", usual
    yield "triad staged", "triad", "float32", staged
    yield "read staged", "read", "float32", staged


@dataclass(frozen=True)
class Built:
    """A compiled kernel, and what the assembler said of it: nothing on AMD."""

    asm: Mapping[str, Any]
    metadata: Any
    said: str


def build(source: ASTSource, target: GPUTarget, options: Mapping[str, int]) -> Built:
    """A kernel as Triton compiles and assembles it for a launch, or had it in its cache.

    What the assembler said is kept beside it there, so that it need not be run again to be asked.
    """
    kernel, said = _compiled(source, target, options)
    cache = get_cache_manager(kernel.hash)
    if target.backend == "cuda" and not said:  # it was in the cache
        if path := cache.get_file(_SAID):
            return Built(kernel.asm, kernel.metadata, Path(path).read_text("utf-8"))
        os.environ["TRITON_ALWAYS_COMPILE"] = "1"  # somebody else put it there
        kernel, said = _compiled(source, target, options)
        del os.environ["TRITON_ALWAYS_COMPILE"]
    cache.put(said, _SAID, binary=False)
    return Built(kernel.asm, kernel.metadata, said)


_SAID = "assembler.txt"


def _compiled(source: ASTSource, target: GPUTarget, options: Mapping[str, int]) -> tuple[Any, str]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        kernel = triton.compile(
            source, target=target, options={"enable_fp_fusion": True, **options}
        )
    return kernel, said.getvalue()


def compiled(
    fn: Any, pointer: str, constants: dict[str, Any], target: GPUTarget, **options: int
) -> Built:
    """A kernel compiled as a launch would: pointers aligned, the rest as the kernel declares."""
    signature, attributes = {}, {}
    for place, parameter in enumerate(fn.params):
        if parameter.is_constexpr:
            signature[parameter.name] = "constexpr"
        elif parameter.annotation_type:
            signature[parameter.name] = parameter.annotation_type
        else:
            wide = parameter.name == "partials" and pointer != "*fp64"
            signature[parameter.name] = "*fp32" if wide else pointer
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn, signature=signature, constexprs=constants, attrs=attributes)
    return build(source, target, options)


def of_pattern(
    pattern: str, dtype: str, config: stream.Config, target: GPUTarget, **options: int
) -> Built:
    fn = stream._sum if pattern in ("read", "dot") else stream._map
    constants = {
        "PATTERN": pattern,
        "BLOCK": config.block(BYTES[dtype]),
        "EVICT": config.evict,
        "STAGES": config.stages,
    }
    options = {"num_warps": config.num_warps, **options}
    return compiled(fn, POINTERS[dtype], constants, target, **options)


def read_code(kernel: Built, target: GPUTarget, disassemble: bool) -> Code:
    """What a kernel does. Disassembling costs more than all the rest, so not all of them are."""
    multiplied = re.findall(r"arith\.muli .*: (i\d+)$", _without_places(kernel.asm["ttir"]), re.M)
    shared = kernel.metadata.shared
    if target.backend == "hip":
        return _read_amd(kernel.asm["amdgcn"], shared, multiplied)
    cubin = kernel.asm["cubin"] if disassemble else None
    return _read_nvidia(kernel, cubin, shared, multiplied)


def _without_places(text: str) -> str:
    return re.sub(r" loc\(.*?\)+$", "", text, flags=re.M)


def _read_nvidia(kernel: Built, cubin: bytes | None, shared: int, multiplied: list[str]) -> Code:
    lines = [line.strip() for line in kernel.asm["ptx"].splitlines() if line.strip()]
    labels = {line.split(":")[0]: at for at, line in enumerate(lines) if line.startswith("$")}
    jumps = [(at, found[1]) for at, line in enumerate(lines) if (found := _PTX_JUMP.search(line))]
    loops = [lines[labels[to] : at] for at, to in jumps if labels.get(to, at) < at]
    loops = [loop for loop in loops if any(PTX_ACCESS.search(line) for line in loop)]
    accesses = [found for line in (loops or [[]])[0] if (found := PTX_ACCESS.search(line))]
    spilled, registers = resources(kernel.said)
    machine = None if cubin is None else _machine_loop(cubin)
    return Code(
        loads=[ptx_bytes(found) for found in accesses if found["kind"] in ("ld", "cp.async")],
        stores=[ptx_bytes(found) for found in accesses if found["kind"] == "st"],
        machine_loads=_sass_widths(machine, _SASS_LOAD),
        machine_stores=_sass_widths(machine, _SASS_STORE),
        loops=len(loops),
        evicting=sum("evict_first" in found["how"] for found in accesses),
        together=_together(machine or []),
        registers=registers,
        shared_bytes=shared,
        spilled=spilled,
        multiplications=multiplied,
    )


_PTX_JUMP = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+);")
PTX_ACCESS = re.compile(
    r"\b(?P<kind>ld|st|cp\.async)\.(?:c[ag]\.shared\.global|global)(?P<how>\S*)(?P<rest>.*)"
)


def ptx_bytes(access: re.Match[str]) -> int:
    """Bytes that one access of a thread moves; of a match of `PTX_ACCESS`."""
    if access["kind"] == "cp.async":
        found = re.search(r"\], (0x[0-9a-f]+|\d+)", access["rest"])
        assert found is not None
        return int(found[1], 0)
    lanes = re.search(r"\.v(\d)", access["how"])
    bits = re.search(r"\.[bfsu](\d+)$", access["how"])
    assert bits is not None
    return int(bits[1]) // 8 * (int(lanes[1]) if lanes else 1)


def resources(said: str) -> tuple[int, int]:
    """(spilled bytes, registers), from what the assembler reports."""
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    registers = re.search(r"Used (\d+) registers", said)
    assert spills, said
    assert registers, said
    return sum(int(number) for number in spills), int(registers[1])


def disassembled(cubin: bytes) -> str:
    """The instructions of a binary, as the vendor's tool prints them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run(
            [TOOLS / "cuobjdump", "-sass", file.name], capture_output=True, text=True, check=True
        ).stdout


def _machine_loop(cubin: bytes) -> list[str]:
    """The instructions of the first loop that touches device memory."""
    text = disassembled(cubin)
    code = {int(at, 16): line for at, line in re.findall(r"/\*([0-9a-f]{4,5})\*/\s+([^;]+);", text)}
    for at, line in code.items():
        jump = re.search(r"BRA.* 0x([0-9a-f]+)", line)
        if jump and int(jump[1], 16) < at:
            body = [code[place] for place in code if int(jump[1], 16) <= place <= at]
            if any(_SASS_LOAD.search(line) or _SASS_STORE.search(line) for line in body):
                return body
    return []


_SASS_LOAD = re.compile(r"\b(LDG|LDGSTS)\.")
_SASS_STORE = re.compile(r"\bSTG\.")


def _sass_widths(machine: list[str] | None, kind: re.Pattern[str]) -> list[int] | None:
    return None if machine is None else [_sass_bytes(line) for line in machine if kind.search(line)]


def _sass_bytes(line: str) -> int:
    opcode = re.search(r"\b(?:LDG|LDGSTS|STG)\S*", line)
    assert opcode is not None
    width = re.search(r"\.(64|128|256|U8|S8|U16|S16)\b", opcode[0])
    return int(width[1].lstrip("US")) // 8 if width else 4


def _together(machine: list[str]) -> int:
    """Loads into registers that are issued before an instruction needs one of their results."""
    loaded: set[int] = set()
    count = 0
    for line in machine:
        found = re.search(r"\bLDG\.\S+ R(\d+),", line)
        if found:
            count += 1
            loaded |= set(range(int(found[1]), int(found[1]) + _sass_bytes(line) // 4))
        elif loaded & {int(number) for number in re.findall(r"\bR(\d+)", line)}:
            break
    return count


def _read_amd(text: str, shared: int, multiplied: list[str]) -> Code:
    lines = [line.strip() for line in text.splitlines()]
    # Blocks of straight code may stand in any order, so a jump back alone makes no loop.
    labels = {
        line.split(":")[0]: at
        for at, line in enumerate(lines)
        if line.startswith(".LBB") and "Loop Header" in line + lines[at + 1]
    }
    jumps = [(at, found[1]) for at, line in enumerate(lines) if (found := _AMD_JUMP.search(line))]
    loops = [lines[labels[to] : at] for at, to in jumps if labels.get(to, at) < at]
    loops = [loop for loop in loops if any(_AMD_ACCESS.match(line) for line in loop)]
    accesses = [found for line in (loops or [[]])[0] if (found := _AMD_ACCESS.match(line))]
    widths = {kind: [AMD_BYTES[f["w"]] for f in accesses if f["kind"] == kind] for kind in KINDS}
    registers = re.search(r"\.vgpr_count:\s+(\d+)", text)
    assert registers is not None
    spills = re.findall(r"\.[sv]gpr_spill_count:\s+(\d+)", text)
    assert len(spills) == 2
    return Code(
        loads=widths["load"],
        stores=widths["store"],
        machine_loads=widths["load"],
        machine_stores=widths["store"],
        loops=len(loops),
        evicting=0,
        together=0,
        registers=int(registers[1]),
        shared_bytes=shared,
        spilled=sum(int(number) for number in spills),
        multiplications=multiplied,
    )


KINDS = ("load", "store")
_AMD_JUMP = re.compile(r"s_c?branch\S*\s+(\.LBB\w+)")
_AMD_ACCESS = re.compile(r"(?:global|buffer|flat|scratch)_(?P<kind>load|store)_(?P<w>[a-z0-9]+)")
AMD_BYTES = {"ubyte": 1, "byte": 1, "ushort": 2, "short": 2}
AMD_BYTES |= {"dword": 4, "dwordx2": 8, "dwordx3": 12, "dwordx4": 16}


def target_of(name: str) -> GPUTarget:
    if name.startswith("sm_"):
        return GPUTarget("cuda", int(name.removeprefix("sm_")), 32)
    return GPUTarget("hip", name, 64)


def main(name: str, every: bool) -> None:
    target = target_of(name)
    codes: dict[tuple[str, str, stream.Config], Code] = {}
    found = {}
    for key, pattern, dtype, config in variants(every):
        # The number of programs is no part of the code.
        same = pattern, dtype, replace(config, programs_per_multiprocessor=1)
        if same not in codes:
            disassemble = not every and dtype == "float32"
            kernel = of_pattern(pattern, dtype, config, target)
            codes[same] = read_code(kernel, target, disassemble)
        found[key] = codes[same]
    if not every:
        for bad in (strided, narrow):
            kernel = compiled(bad, "*fp32", {"BLOCK": 2048}, target, num_warps=4)
            found[bad.__name__] = read_code(kernel, target, disassemble=True)
        if target.backend == "cuda":
            # Too few registers for eight vectors in flight.
            crowded = of_pattern("triad", "float32", stream.Config(16384, 4, 1), target, maxnreg=32)
            found["crowded"] = read_code(crowded, target, disassemble=True)
    print(json.dumps({key: asdict(code) for key, code in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1], "every" in sys.argv[2:])
