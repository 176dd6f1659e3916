"""The stencil's kernel: its results in Triton's interpreter, or its machine code for a target.

    TRITON_INTERPRET=1 python tests/kernels_stencil_told.py
    python tests/kernels_stencil_told.py sm_90

One JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

if len(sys.argv) == 1:  # Triton reads this once, while it is imported
    os.environ["TRITON_INTERPRET"] = "1"

import torch

from gpubench.benchmarks import hpc
from gpubench.kernels import stencil

GUARD = 64
# Exact in float32, as which the interpreter takes scalars.
hpc._A, hpc._B = 0.375, 0.0625


def case(side: int, dtype: torch.dtype) -> dict[str, bool]:
    """A cube between bands of NaN, against the stencil in plain torch."""
    wholes = [torch.full((side**3 + 2 * GUARD,), float("nan"), dtype=dtype) for _ in range(2)]
    v, u = (whole[GUARD : GUARD + side**3].view(side, side, side) for whole in wholes)
    u.normal_(generator=torch.Generator().manual_seed(side))
    before = u.clone()
    config = stencil.Config(rows=4, block=8, num_warps=1)
    stencil.seven_point(v, u, hpc._A, hpc._B, config=config)
    off = (v - hpc._seven_point(before)).abs().max()
    bands = [torch.cat([whole[:GUARD], whole[GUARD + side**3 :]]) for whole in wholes]
    return {
        "right": bool(off <= 8 * torch.finfo(dtype).eps * before.abs().max()),
        "guards_hold": all(bool(band.isnan().all()) for band in bands),
        "inputs_unchanged": torch.equal(u, before),
    }


def refused() -> list[str]:
    cube = torch.zeros(4, 4, 4)
    said = []
    for v, u in (
        (cube, cube),
        (torch.zeros(4, 4, 5), torch.zeros(4, 4, 5)),
        (cube.double(), cube),
        (cube.half(), cube.half()),
        (torch.zeros(4, 4, 8)[:, :, ::2], cube),
    ):
        try:
            stencil.seven_point(v, u, 1.0, 1.0)
        except ValueError as error:
            said.append(str(error))
    return said


def compiled(name: str) -> dict[str, Any]:
    from triton.compiler import ASTSource

    from kernels_aot import build, target_of
    from kernels_gemm_aot import read_code

    found = {}
    for place, config in enumerate(stencil.CONFIGS):
        signature = {"v": "*fp64", "u": "*fp64", "a": "fp64", "b": "fp64", "n": "i32"}
        signature |= {"ROWS": "constexpr", "BLOCK": "constexpr"}
        attributes = {(at,): [["tt.divisibility", 16]] for at in (0, 1, 4)}
        constants = {"ROWS": config.rows, "BLOCK": config.block}
        source = ASTSource(stencil._seven_point, signature, constants, attributes)
        kernel = build(source, target_of(name), {"num_warps": config.num_warps})
        code = read_code(kernel, target_of(name), disassemble=False)
        found[str(place)] = {
            "loads": code.loads,
            "stores": code.stores,
            "spilled": code.spilled,
            "registers": code.registers,
        }
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(compiled(sys.argv[1])))
    else:
        sizes = [
            (side, dtype) for side in (1, 2, 7, 16, 17) for dtype in (torch.float64, torch.float32)
        ]
        print(json.dumps({"cases": [case(*one) for one in sizes], "refused": refused()}))
