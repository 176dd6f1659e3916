"""The most that can be allocated, found by trying, in few steps and little time."""

from __future__ import annotations

import pytest

from gpubench.errors import CannotMeasure
from gpubench.measuring import Device, allocatable_bytes
from gpubench.measuring.allocatable import STEP, largest


@pytest.mark.parametrize("room", [0, 1, STEP - 1, 10**9, 139 * 10**9, 150 * 10**9])
def test_the_most_that_fits_is_found_in_few_trials(room: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= room

    found = largest(fits, 150 * 10**9)
    assert room - STEP <= found <= room
    assert len(tried) <= 15


def test_slow_trials_end_with_the_most_that_was_seen_to_fit() -> None:
    seconds = iter(range(1000))
    most = 150 * 10**9

    def fits(size: int) -> bool:
        return size < 139 * 10**9

    found = largest(fits, most, limit_s=3.0, now=lambda: float(next(seconds)))
    assert found == most // 2 + most // 4


def test_a_processors_memory_is_never_taken_whole() -> None:
    with pytest.raises(CannotMeasure, match="processor"):
        allocatable_bytes(Device("cpu", "a processor"))
