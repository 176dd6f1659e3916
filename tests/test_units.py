"""Text becomes quantities and text again; GB is never GiB, and a bit is never a byte."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench import units
from gpubench.errors import UnitError
from gpubench.units import Quantity, parse, parse_printed, show


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("4.8 TB/s", 4.8e12, "B/s"),
        ("3.2 Tb/s", 4e11, "B/s"),
        ("400 Gbit/s", 5e10, "B/s"),
        ("80 GB", 80e9, "B"),
        ("80 GiB", 80 * 2**30, "B"),
        ("148 TFLOPS", 148e12, "FLOP/s"),
        ("148 TFLOP/s", 148e12, "FLOP/s"),
        ("296 TOPS", 296e12, "OP/s"),
        ("700 W", 700, "J/s"),
        ("814 mm2", 814e-6, "m2"),
        ("5.92 TPP/mm2", 5.92e6, "TPP/m2"),
        ("5.5 billion USD", 5.5e9, "USD"),
        ("2 USD/h", 2 / 3600, "USD/s"),
        ("1,400,000 CNY", 1.4e6, "CNY"),
        ("20 %", 0.2, "1"),
        ("1/23 x", 1 / 23, "1"),
        ("7 billion parameters", 7e9, "parameter"),
        ("1830 MHz", 1.83e9, "1/s"),
        ("12 months", 365.25 * 86400, "s"),
        ("30×", 30, "1"),
        ("30倍", 30, "1"),
        ("6 times", 6, "1"),
        ("1/6.7 x", 1 / 6.7, "1"),
        ("50 percent", 0.5, "1"),
        ("50 per cent", 0.5, "1"),
        ("14.8T tokens", 14.8e12, "token"),
        ("70B parameters", 7e10, "parameter"),
        ("2 petaFLOPS", 2e15, "FLOP/s"),
        ("4.8 terabytes per second", 4.8e12, "B/s"),
        ("400 Gbps", 5e10, "B/s"),
        ("100 tokens per second", 100, "token/s"),
        ("0.5 kWh/million tokens", 1.8, "J/token"),
        ("700 watts", 700, "J/s"),
        ("$2/h", 2 / 3600, "USD/s"),
        ("$5.5 billion", 5.5e9, "USD"),
        ("$5.5B", 5.5e9, "USD"),
        ("$2 per hour", 2 / 3600, "USD/s"),
        ("$0.6 per million tokens", 6e-7, "USD/token"),
        ("$0.6/1M tokens", 6e-7, "USD/token"),
        ("1.5K tokens per second", 1500, "token/s"),
        ("8e23 FLOPs", 8e23, "FLOP"),
        ("400 gigabits per second", 5e10, "B/s"),
        ("20 milliseconds", 0.02, "s"),
        ("1 hour", 3600, "s"),
    ],
)
def test_a_figure_as_printed_becomes_an_si_value(text: str, value: float, unit: str) -> None:
    found = parse(text)
    assert found.unit == unit
    assert found.value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("6.4TBs", "did you mean TB/s"),
        ("4.8 tb/s", "unknown unit 'tb'"),
        ("nan", "write a number and a unit"),
        ("inf GB", "write a number and a unit"),
        (".nan", "write a number and a unit"),
        ("1e999 GB", "too large"),
        ("1e-999 GB", "too small"),
        ("1e90 GB", "too large"),
        ("٤.٨ TB/s", "write a number and a unit"),
        ("1/0 x", "divides by zero"),
        ("5 TB more", "goes with a percentage"),
        ("3 x more", "may mean 3 or 4 times as much: write '3 x' or '300 % more'"),
        ("1 x less", "is no less"),
        ("1/4 x less", "write how many times less, as in '4 x less'"),
        ("", "write a number and a unit"),
    ],
)
def test_a_figure_that_cannot_be_read_is_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(UnitError, match=says):
        parse_printed(text)


def test_times_less_is_a_share() -> None:
    for text in ("25 x less", "25 times lower", "25x cheaper"):
        printed = parse_printed(text)
        assert printed.as_found(printed.value.value) == pytest.approx(1 / 25)
        assert (printed.as_found(math.inf), printed.as_found(-math.inf)) == (0, math.inf)
        assert [printed.show(found) for found in (0.05, 1.0, 1.5)] == [
            "20 x less",
            "1 x as much",
            "1.5 x as much",
        ]


def test_an_unknown_unit_is_told_with_what_the_quantity_asks_for() -> None:
    with pytest.raises(UnitError, match="write a figure such as '3000 token/s'"):
        parse_printed("100 words/s", "token/s")


def test_bytes_and_flops_cannot_be_compared() -> None:
    with pytest.raises(UnitError, match="cannot be compared"):
        parse("80 GB").per(parse("148 TFLOPS"))


def test_units_multiply_and_cancel() -> None:
    ridge = parse("989.4 TFLOPS") / parse("3.35 TB/s")
    assert ridge.unit == "FLOP/B"
    assert ridge.value == pytest.approx(295.3, abs=0.1)
    assert (parse("700 W") * parse("2 s")).unit == "J"
    assert (parse("80 GB") / parse("40 GB")) == Quantity(2.0, "1")
    assert show(parse("19.1 billion CNY") / parse("7994 servers")) == "2,389,292 CNY/server"


def test_a_change_is_compared_as_a_ratio() -> None:
    more, less = parse_printed("60 % more"), parse_printed("41 % less")
    assert more.as_found(more.value.value) == pytest.approx(1.6)
    assert less.as_found(less.value.value) == pytest.approx(0.59)
    assert more.show(1.43) == "43 % more"
    assert less.show(0.591) == "40.9 % less"


def test_a_zero_may_have_any_exponent() -> None:
    assert parse_printed("0e400 TB/s").value == Quantity(0.0, "B/s")
    assert parse_printed("0e-400 TB/s").step >= 0


def test_the_last_printed_digit_is_remembered() -> None:
    assert parse_printed("4.8 TB/s").step == pytest.approx(1e11)
    assert parse_printed("80 GB").step == pytest.approx(1e9)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4800 GB/s", "4.8 TB/s"),
        ("141 GB", "141 GB"),
        ("0.0025 s", "2.5 ms"),
        ("989.4 TFLOPS", "989 TFLOPS"),
        ("5500000000 USD", "5.5 billion USD"),
        ("0 GB", "0 B"),
    ],
)
def test_quantities_are_shown_with_the_prefix_people_use(text: str, shown: str) -> None:
    assert show(parse(text)) == shown


_SHOWN_UNITS = sorted(units._SHOWN)


@given(
    st.floats(min_value=1e-3, max_value=1e18, allow_nan=False),
    st.sampled_from([u for u in _SHOWN_UNITS if u not in ("1/s",)]),
)
def test_what_is_shown_can_be_read_again(value: float, unit: str) -> None:
    shown = show(Quantity(value, unit), digits=9)
    again = parse(shown)
    assert again.unit == unit
    assert math.isclose(again.value, value, rel_tol=1e-6, abs_tol=1e-9)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_but_never_breaks(text: str) -> None:
    with contextlib.suppress(UnitError):
        assert math.isfinite(parse_printed(text).value.value)


@pytest.mark.parametrize(
    ("text", "unit", "advice"),
    [
        ("3.35 TB", "B/s", "write it as '3.35 TB/s'"),
        ("989 TOPS", "FLOP/s", "write it as '989 TFLOPS'"),
        ("1,979 TFLOPS", "OP/s", "write it as '1,979 TOPS'"),
        ("4.8 TB/s", "B", "write it as '4.8 TB'"),
        ("700 W", "B/s", "write a figure such as '4.8 TB/s'"),
        ("30 s", "1/s", "write a figure such as '1830 MHz'"),
    ],
)
def test_a_figure_in_a_kindred_unit_is_offered_with_its_own_number(
    text: str, unit: str, advice: str
) -> None:
    assert units.remedy(units.parse(text), unit) == advice


def test_a_unit_typed_for_one_is_told_for_many() -> None:
    year = units.parse_printed("1 year")
    assert year.show(year.value.value) == "1 year"
    assert year.show(54.1 * year.value.value) == "54.1 years"
    assert units.parse_printed("2 cards").show(7) == "7 cards"
