"""Statistics against scipy, and against distributions whose answer is known."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import stats

numbers = st.floats(-1e6, 1e6, allow_nan=False)
series = st.lists(numbers, min_size=1, max_size=60)

# scipy's first call of a kind may take longer than hypothesis allows.
unhurried = settings(deadline=None)

Draw = Callable[[random.Random], float]


def lognormal(source: random.Random) -> float:
    return math.exp(source.gauss(0, 0.5))


def exponential_tail(source: random.Random) -> float:
    return 1 + source.expovariate(2)


def with_outliers(source: random.Random) -> float:
    return source.gauss(1, 0.01) * (5 if source.random() < 0.05 else 1)


TRUE_MEDIANS: list[tuple[Draw, float]] = [
    (lognormal, 1.0),
    (exponential_tail, 1 + math.log(2) / 2),
    # A twentieth lies far above, so the median is the 0.5/0.95 quantile of the normal part.
    (with_outliers, statistics.NormalDist(1, 0.01).inv_cdf(0.5 / 0.95)),
]


@unhurried
@given(series)
def test_median_is_that_of_the_standard_library(values: list[float]) -> None:
    assert stats.median(values) == pytest.approx(statistics.median(values))


@unhurried
@given(series, st.floats(0, 1))
def test_percentiles_are_those_of_scipy(values: list[float], share: float) -> None:
    expected = scipy.stats.quantile(values, share)
    assert stats.percentile(values, share) == pytest.approx(float(expected), abs=1e-6)


@unhurried
@given(series)
def test_mad_is_that_of_scipy(values: list[float]) -> None:
    expected = float(scipy.stats.median_abs_deviation(values))
    assert stats.mad(values) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [6, 7, 8, 9, 17, 20, 50, 101, 400])
def test_the_interval_has_the_ranks_of_the_exact_binomial_test(count: int) -> None:
    values = [random.Random(count).gauss(0, 1) for _ in range(count)]
    expected = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    found = stats.median_interval(values)
    assert (found.low, found.high) == (expected.low, expected.high)


@unhurried
@given(st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_stated_confidence_is_the_binomial_one(count: int, confidence: float) -> None:
    found = stats.median_interval(list(range(count)), confidence)
    below = int(found.low)
    expected = 1 - 2 * scipy.stats.binom.cdf(below, count, 0.5)
    assert found.confidence == pytest.approx(max(expected, 0.0), abs=1e-9)
    narrower = 1 - 2 * scipy.stats.binom.cdf(below + 1, count, 0.5)
    assert narrower < confidence
    assert found.enough == (found.confidence >= confidence)


def test_fewer_than_six_values_are_told_to_be_too_few() -> None:
    five = stats.median_interval([5, 1, 4, 2, 3])
    assert (five.low, five.mid, five.high) == (1, 3, 5)
    assert five.confidence == 1 - 2 / 2**5
    assert not five.enough
    assert stats.median_interval([5, 1, 4, 2, 3, 6]).enough
    assert stats.LEAST_FOR_95 == 6
    assert stats.median_interval([7.0]).confidence == 0


@pytest.mark.parametrize(
    ("draw", "truth"), TRUE_MEDIANS, ids=lambda case: getattr(case, "__name__", "")
)
@pytest.mark.parametrize("count", [6, 25])
def test_the_interval_covers_the_true_median_as_often_as_it_says(
    draw: Draw, truth: float, count: int
) -> None:
    source, runs = random.Random(20260131), 2000
    found = [stats.median_interval([draw(source) for _ in range(count)]) for _ in range(runs)]
    covered = sum(each.low <= truth <= each.high for each in found) / runs
    stated = found[0].confidence
    assert covered == pytest.approx(stated, abs=3.3 * math.sqrt(stated * (1 - stated) / runs))


def test_correlated_samples_are_covered_far_too_rarely_and_blocks_mend_it() -> None:
    """Why blocks are the unit: single samples of an AR(1) series with 0.8 promise too much."""
    source, runs, within = random.Random(7), 300, 40
    naive = blocked = 0
    for _ in range(runs):
        value, samples = 0.0, []
        for _ in range(10 * within):
            value = 0.8 * value + source.gauss(0, 0.6)
            samples.append(value)
        plain = stats.median_interval(samples)
        blocks = [stats.median(samples[i : i + within]) for i in range(0, len(samples), within)]
        coarse = stats.median_interval(blocks)
        naive += plain.low <= 0 <= plain.high
        blocked += coarse.low <= 0 <= coarse.high
    assert naive / runs < 0.70
    assert blocked / runs > 0.92


@pytest.mark.parametrize(("count", "rho"), [(16, 0.0), (16, 0.6), (80, 0.6), (80, 0.8)])
def test_a_series_is_covered_though_each_value_resembles_the_last(count: int, rho: float) -> None:
    source, runs = random.Random(20261122), 400
    plain = widened = 0
    for _ in range(runs):
        value, series = source.gauss(0, 1), []
        for _ in range(count):
            value = rho * value + math.sqrt(1 - rho * rho) * source.gauss(0, 1)
            series.append(value)
        narrow, wide = stats.median_interval(series), stats.series_interval(series)
        plain += narrow.low <= 0 <= narrow.high
        widened += wide.low <= 0 <= wide.high
    assert widened / runs > 0.925
    assert widened >= plain
    assert (plain / runs < 0.90) == (rho > 0)


@unhurried
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_dependence_widens_an_interval_and_never_narrows_it(values: list[float]) -> None:
    plain, wide = stats.median_interval(values), stats.series_interval(values)
    assert wide.low <= plain.low <= wide.mid == plain.mid <= plain.high <= wide.high
    assert 1 <= stats.independent_values(values) <= len(values) == wide.count
    assert wide.confidence <= plain.confidence or wide.enough
    back = stats.series_interval(values[::-1])
    assert (back.low, back.high) == pytest.approx((wide.low, wide.high))


def test_so_many_values_tell_as_much_as_the_formula_says() -> None:
    zigzag = [1.0, -1.0] * 20
    assert stats.independent_values(zigzag) == 40
    assert stats.series_interval(zigzag) == stats.median_interval(zigzag)
    steps = [float(i // 20) for i in range(40)]  # ρ = (19 − 1 + 19) / 40
    assert stats.independent_values(steps) == math.floor(40 * (1 - 0.925) / (1 + 0.925))
    assert not stats.series_interval(steps).enough


def test_half_width_is_relative_to_the_median() -> None:
    found = stats.MedianInterval(low=0.99, mid=1.0, high=1.03, count=9, confidence=0.96)
    assert found.half_width == pytest.approx(0.02)
    assert stats.MedianInterval(-1, 0, 1, 9, 0.96).half_width == math.inf


def test_autocorrelation_of_known_series() -> None:
    assert stats.lag1_autocorrelation([3.0] * 20) == 0
    assert stats.lag1_autocorrelation([1.0, 2.0]) == 0
    assert stats.lag1_autocorrelation([1.0, -1.0] * 500) == pytest.approx(-1, abs=0.01)
    source, value, values = random.Random(3), 0.0, []
    for _ in range(20_000):
        value = 0.8 * value + source.gauss(0, 1)
        values.append(value)
    assert stats.lag1_autocorrelation(values) == pytest.approx(0.8, abs=0.02)


@unhurried
@given(st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=40))
def test_kendall_and_theil_sen_are_those_of_scipy(values: list[float]) -> None:
    index = range(len(values))
    tau, p = stats.kendall(values)
    tied = len(set(values)) < len(values)
    method = "asymptotic" if tied or len(values) > 30 else "exact"
    expected = scipy.stats.kendalltau(index, values, method=method)
    if len(set(values)) == 1:
        assert (tau, p) == (0.0, 1.0)
    else:
        assert tau == pytest.approx(expected.statistic)
        assert p == pytest.approx(expected.pvalue, abs=1e-9)
    assert stats.drift(values).slope == pytest.approx(scipy.stats.theilslopes(values, index).slope)


def test_drift_is_told_over_the_whole_series() -> None:
    rising = stats.drift([100 + step for step in range(11)])
    assert rising.slope == 1
    assert rising.total == pytest.approx(10 / 105)
    assert rising.tau == 1
    assert rising.p == pytest.approx(2 / math.factorial(11))
    assert stats.drift([2.0]) == stats.Drift(0.0, 0.0, 0.0, 1.0)


def test_the_drift_of_a_long_series_is_that_of_its_parts() -> None:
    source = random.Random(5)
    noise = [source.gauss(100, 5) for _ in range(100_003)]  # two by two they would take an hour
    still = stats.drift(noise)
    assert still.p > 0.01
    assert abs(still.total) < 0.005
    rising = stats.drift([value + place * 1e-4 for place, value in enumerate(noise)])
    assert rising.p < 1e-6
    assert rising.slope == pytest.approx(1e-4, rel=0.05)
    assert rising.total == pytest.approx(10 / 105, rel=0.05)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf]])
def test_no_statistics_of_nothing_or_of_what_is_no_number(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no values|not finite"):
        stats.median_interval(values)


def test_a_share_is_no_percentage() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.percentile([1.0], 50)
