"""Compiles the kernel of the fused sweep for one target without a GPU, and prints what it does.

    python tests/kernels_intensity_aot.py TARGET

One JSON object, from the number of steps in a row to widths of loads, registers, spills, and how
many multiply-adds a thread has for each of its elements.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from gpubench.kernels import intensity, stream
from kernels_aot import compiled, read_code, target_of


def told(row: int, config: stream.Config, name: str) -> dict[str, Any]:
    target = target_of(name)
    constants = {"ROW": row, "BLOCK": config.block(4), "EVICT": config.evict, "STAGES": 1}
    kernel = compiled(intensity._apply, "*fp32", constants, target, num_warps=config.num_warps)
    code = read_code(kernel, target, disassemble=False)
    text = kernel.asm.get("ptx") or kernel.asm["amdgcn"]
    threads = (64 if target.backend == "hip" else 32) * config.num_warps
    packed = len(re.findall(r"fma\.rn\.f32x2|v_pk_fma_f32", text))
    single = len(re.findall(r"fma\.rn\.f32\b(?!x)|v_fma(?:c)?_f32", text))
    return {
        "loads": sorted(set(re.findall(_LOAD, text)) - {"b32", "b64"}),
        "registers": code.registers,
        "spilled": code.spilled,
        # Whole blocks and the ragged end have a loop of their own each.
        "multiplications": len(re.findall(r"\b(?:v_)?(?:pk_)?mul[._]\S*f32", text)),
        "steps": (single + 2 * packed) / 2 / (config.block(4) / threads),
    }


_LOAD = r"(?:ld\.global\S*\.|buffer_load_|global_load_)(v\d\.b32|dwordx\d)\b"

if __name__ == "__main__":
    found = {row: told(row, intensity.DEFAULT, sys.argv[1]) for row in (1, 4, intensity.UNROLLED)}
    print(json.dumps(found))
