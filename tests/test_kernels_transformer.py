"""A transformer's kernels: their results and their machine code, without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernels_support import needs_torch, needs_triton, scripts, told_by

TARGETS = ("sm_80", "sm_90", "sm_100")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return told_by("kernels_transformer_interpreted.py")


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, Any]]:
    each = {target: ("kernels_transformer_aot.py", target) for target in TARGETS}
    with scripts(**each) as running:
        return {target: script.told() for target, script in running.items()}


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "count"), [("attention", 12), ("between", 62), ("products", 15)]
)
def test_results_are_those_of_plain_torch_and_no_neighbour_is_touched(
    interpreted: dict[str, Any], family: str, count: int
) -> None:
    cases = interpreted[family]
    assert len(cases) == count
    wrong = [c for c in cases if not (c["right"] and c["guards_hold"] and c["inputs_unchanged"])]
    assert wrong == []


@needs_torch
@pytest.mark.slow
def test_a_wrong_result_a_touched_neighbour_and_a_changed_input_would_be_seen(
    interpreted: dict[str, Any],
) -> None:
    found = interpreted["mistaken"]
    assert [found[what] for what in ("right", "guards_hold", "inputs_unchanged")] == [False] * 3


@needs_torch
@pytest.mark.slow
def test_arguments_that_would_make_a_kernel_wrong_are_refused(interpreted: dict[str, Any]) -> None:
    refusals = interpreted["refusals"]
    assert len(refusals) == 16
    assert [mistake for mistake, said in refusals.items() if not said] == []
    assert "must be (2, 4, 3)" in refusals["sums"]
    assert "a multiple of KV" in refusals["heads"]
    assert "contiguous" in refusals["stride"]
    assert "1 to 32 rows" in refusals["many rows"]


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_large_is_moved_16_bytes_at_a_time_and_nothing_spills(
    compiled: dict[str, dict[str, Any]], target: str
) -> None:
    codes = {name: code for name, code in compiled[target].items() if name != "crowded"}
    assert len(codes) == {"sm_80": 44, "sm_90": 68, "sm_100": 68}[target]
    for name, code in codes.items():
        assert code["spilled"] == 0, name
        # Sums and lengths are single values. Some 8-bit values come 8 bytes at a time, since a
        # thread keeps eight of them for the matrix units.
        allowed = {4, 16} | ({8} if "fp8" in name else set())
        assert set(code["loads"]) <= allowed, name
        wide = code["loads"].count(16) / len(code["loads"])
        assert name == "combine" or wide > (0.3 if "fp8" in name else 0.8), name


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_matrix_units_do_the_products(compiled: dict[str, dict[str, Any]], target: str) -> None:
    for name, code in compiled[target].items():
        used = name.startswith(("attention", "skinny", "crowded"))
        assert bool(code["products"]) == used, name


@needs_triton
@pytest.mark.slow
def test_two_programs_of_the_default_fit_a_hopper_multiprocessor(
    compiled: dict[str, dict[str, Any]],
) -> None:
    """228 KB of shared memory, of which each program takes 1 KB more than it asks for."""
    for name in ("attention 70b float16 0", "attention 70b fp8 0", "skinny float16 16 0"):
        code = compiled["sm_90"][name]
        assert 2 * (code["shared"] + 1024) <= 228 * 1024
        assert 2 * code["threads"] * code["registers"] <= 65536


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_spilling_would_be_seen(compiled: dict[str, dict[str, Any]], target: str) -> None:
    assert compiled[target]["crowded"]["spilled"] > 0
