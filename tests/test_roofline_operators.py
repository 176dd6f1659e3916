"""Work against closed forms; time against the roofline it smooths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.model import Work
from gpubench.roofline import operators

SOME = st.floats(1e-6, 1e6)


def test_a_matrix_product_is_two_m_n_k_flop_and_each_matrix_once() -> None:
    work = operators.gemm(2, 3, 5, 2, 2, 4)
    assert work.flops == 2 * 2 * 3 * 5
    assert work.bytes == 2 * (2 * 5 + 5 * 3) + 4 * 2 * 3


def test_a_stream_counts_both_directions() -> None:
    assert operators.stream(16, 8, flops=2) == Work(2, 24)


@given(SOME, SOME, st.floats(1.0, 16.0))
def test_the_smooth_maximum_lies_between_maximum_and_sum(a: float, b: float, power: float) -> None:
    found = operators.smooth_maximum(a, b, power)
    assert max(a, b) * (1 - 1e-9) <= found <= (a + b) * (1 + 1e-9)


def test_time_names_what_it_waited_for() -> None:
    slow_memory = operators.time(Work(1e12, 1e12), 1e15, 1e12, 4)
    assert slow_memory.binding == "memory bandwidth"
    assert slow_memory.seconds == pytest.approx(1.0, rel=1e-6)
    assert operators.time(Work(1e15, 1e9), 1e15, 1e12, 4).binding == "compute"
    wired = operators.time(Work(1.0, 1.0, 1e12), 1e15, 1e12, 4, wire_rate=1e11)
    assert wired.binding == "links"
    assert wired.seconds == pytest.approx(10.0, rel=1e-6)


def test_nothing_takes_no_time() -> None:
    assert operators.time(Work(), 1.0, 1.0, 4).seconds == 0.0
