"""Formulas over printed figures: four operations on intervals with units, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.claims.formula import Range, evaluate, names
from gpubench.errors import UnitError
from gpubench.units import Quantity, parse


def figure(text: str) -> Range:
    return Range.of(parse(text))


def between(low: float, high: float) -> Range:
    return Range(Quantity(low, "1"), Quantity((low + high) / 2, "1"), Quantity(high, "1"))


def test_a_price_drop_is_one_minus_now_over_before() -> None:
    found = evaluate("1 - now / before", {"now": figure("2 USD/h"), "before": figure("4.7 USD/h")})
    assert found.mid.value == pytest.approx(1 - 2 / 4.7)
    assert found.mid.unit == "1"


def test_units_must_match() -> None:
    with pytest.raises(UnitError, match="cannot be compared"):
        evaluate("a + b", {"a": figure("2 USD/h"), "b": figure("80 GB")})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a ** 2",
        "a if b else c",
        "a.b",
        "f(a)",
        "'x'",
        "a[0]",
        "1 +",
        "a # b",
        "a\n+ a",
        "ａ",
        "1e999 * a",
        "True",
        "",
    ],
)
def test_anything_but_the_four_operations_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        names(text)


def test_a_divisor_that_may_be_zero_is_refused() -> None:
    with pytest.raises(UnitError, match="zero"):
        evaluate("1 / a", {"a": between(-1, 1)})


_ENDS = st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)).map(lambda ends: tuple(sorted(ends)))


@given(_ENDS, _ENDS, st.floats(0, 1), st.floats(0, 1), st.sampled_from("+-*/"))
def test_the_interval_holds_every_value_of_its_inputs(
    a: tuple[float, float], b: tuple[float, float], s: float, t: float, operation: str
) -> None:
    x, y = a[0] + s * (a[1] - a[0]), b[0] + t * (b[1] - b[0])
    truth = {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[operation]
    found = evaluate(f"a {operation} b", {"a": between(*a), "b": between(*b)})
    slack = 1e-9 * max(1, abs(truth))
    assert found.low.value - slack <= truth <= found.high.value + slack
