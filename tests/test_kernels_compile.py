"""The stream kernels, compiled ahead of time: what their machine code does, without a GPU.

Another Triton than the installed one is examined by naming its folder in PYTHONPATH; see
docs/kernels.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernels_support import Script, needs_triton, scripts

pytestmark = [pytest.mark.slow, needs_triton]

TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")
NVIDIA = TARGETS[:3]
THREADS_OF_A_WARP = {"gfx942": 64}

# Arrays that a pattern reads and writes.
READS = {"read": 1, "write": 0, "copy": 1, "mul": 1, "add": 2, "triad": 2, "dot": 2}
WRITES = {"read": 0, "write": 1, "copy": 1, "mul": 1, "add": 1, "triad": 1, "dot": 0}
TYPES = ("float16", "bfloat16", "float64")
VARIANTS = [
    *(f"{pattern} float32" for pattern in READS),
    *(f"{pattern} {dtype}" for pattern in ("triad", "dot") for dtype in TYPES),
    "triad usual",
]

Codes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def compiling() -> Iterator[dict[str, Script]]:
    every = ("kernels_aot.py", "sm_90", "every")  # the longest first
    with scripts(every=every, **{name: ("kernels_aot.py", name) for name in TARGETS}) as running:
        yield running


@pytest.fixture(scope="module")
def compiled(compiling: dict[str, Script]) -> dict[str, Codes]:
    return {target: compiling[target].told() for target in TARGETS}


@pytest.fixture(scope="module")
def searched(compiling: dict[str, Script]) -> Codes:
    return compiling["every"].told()


def faults(code: dict[str, Any], reads: int, writes: int, vectors: int = 2) -> list[str]:
    """Why a main loop is not what we want: each array moved once, 16 bytes a thread, no spills.

    `vectors` is how often each thread takes 16 bytes of each array for one block.
    """
    wanted = {
        "loops": 1,
        "loads": [16] * reads * vectors,
        "stores": [16] * writes * vectors,
        "machine_loads": [16] * reads * vectors,
        "machine_stores": [16] * writes * vectors,
        "spilled": 0,
    }
    found = [
        f"{name}: {code[name]}"
        for name, value in wanted.items()
        if code[name] != value and not (name.startswith("machine") and code[name] is None)
    ]
    if set(code["multiplications"]) != {"i64"}:
        found.append(f"multiplications: {code['multiplications']}")
    return found


def vectors_of(target: str) -> int:
    return 2 * 32 // THREADS_OF_A_WARP.get(target, 32)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_main_loop_moves_16_bytes_a_thread_and_spills_nothing(
    compiled: dict[str, Codes], target: str, variant: str
) -> None:
    pattern = variant.split()[0]
    code = compiled[target][variant]
    assert faults(code, READS[pattern], WRITES[pattern], vectors_of(target)) == []
    if variant.endswith("float32"):
        assert code["machine_loads"] is not None


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("pattern", ["triad", "read"])
def test_stages_load_16_bytes_too(compiled: dict[str, Codes], target: str, pattern: str) -> None:
    code = compiled[target][f"{pattern} staged"]
    assert faults(code, READS[pattern], WRITES[pattern], vectors_of(target)) == []
    # NVIDIA parts keep the blocks in flight in shared memory: two of the three, for each array.
    if target in NVIDIA:
        assert code["shared_bytes"] == 2 * READS[pattern] * 4096


@pytest.mark.parametrize("target", TARGETS)
def test_a_strided_kernel_would_be_seen(compiled: dict[str, Codes], target: str) -> None:
    code = compiled[target]["strided"]
    seen = [fault.split(":")[0] for fault in faults(code, 1, 1, vectors_of(target))]
    assert seen == ["loads", "stores", "machine_loads", "machine_stores"]
    assert set(code["loads"] + code["machine_stores"]) == {4}


@pytest.mark.parametrize("target", TARGETS)
def test_32_bit_offsets_and_a_missing_loop_would_be_seen(
    compiled: dict[str, Codes], target: str
) -> None:
    seen = faults(compiled[target]["narrow"], 1, 1)
    assert "loops: 0" in seen
    assert "multiplications: ['i32']" in seen


@pytest.mark.parametrize("target", NVIDIA)
def test_spilling_would_be_seen(compiled: dict[str, Codes], target: str) -> None:
    code = compiled[target]["crowded"]
    assert [fault.split(":")[0] for fault in faults(code, 2, 1, vectors=8)] == ["spilled"]


@pytest.mark.parametrize("pattern", [pattern for pattern in READS if READS[pattern]])
def test_all_loads_of_a_block_fly_together_on_hopper(
    compiled: dict[str, Codes], pattern: str
) -> None:
    code = compiled["sm_90"][f"{pattern} float32"]
    assert code["together"] == len(code["machine_loads"]) == 2 * READS[pattern]


@pytest.mark.parametrize("target", NVIDIA)
def test_streams_leave_the_cache_first_where_asked(compiled: dict[str, Codes], target: str) -> None:
    accesses = 2 * (READS["triad"] + WRITES["triad"])
    assert compiled[target]["triad float32"]["evicting"] == accesses
    assert compiled[target]["triad usual"]["evicting"] == 0
    # Copies into shared memory take no such hint: only the stores do.
    assert compiled[target]["triad staged"]["evicting"] == 2


def test_no_configuration_spills_or_narrows(searched: Codes) -> None:
    from gpubench.kernels import stream

    for name, code in searched.items():
        pattern, place = name.split()
        config = stream.CONFIGS[int(place)]
        vectors = config.block_bytes // (16 * 32 * config.num_warps)
        assert faults(code, READS[pattern], WRITES[pattern], vectors) == [], name


def test_programs_are_all_resident_on_hopper_or_come_in_many_waves(searched: Codes) -> None:
    # Between the two, some multiprocessors would work on a last wave while others have none.
    from gpubench.kernels import stream

    for name, code in searched.items():
        config = stream.CONFIGS[int(name.split()[1])]
        programs, resident = config.programs_per_multiprocessor, resident_on_hopper(config, code)
        assert programs <= resident or programs >= 4 * resident, name


def resident_on_hopper(config: Any, code: dict[str, Any]) -> int:
    """Programs that one multiprocessor holds at once.

    CUDA C++ Programming Guide, technical specifications per compute capability 9.0: 64 warps,
    65,536 registers given to warps in units of 256, 228 KB of shared memory of which each program
    takes 1 KB more than it asks for.
    """
    registers_of_a_warp = -(-32 * code["registers"] // 256) * 256
    warps = min(64, 65536 // registers_of_a_warp)
    return min(warps // config.num_warps, 228 * 1024 // (code["shared_bytes"] + 1024))
