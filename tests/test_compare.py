"""Two records of one machine: what is compared, and what makes them disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gpubench import cli, comparison, records
from gpubench.model import Block, Case, Measurement, Work
from gpubench.records import RunRecord

RECORD = RunRecord("11111111", "2026-01-31T09:30:00Z", "nvidia-h200-sxm", {}, device="NVIDIA H200")


def measured(benchmark: str, seconds: float, **more: object) -> Measurement:
    """Eight blocks that spread by half a percent around a time."""
    return replace(
        Measurement(
            case=Case(benchmark, "torch", {"pattern": "read", "n": 10}),
            version=1,
            work=Work(bytes=40.0),
            blocks=tuple(Block((seconds * (1 + 0.001 * (i % 3 - 1)),) * 5) for i in range(8)),
            calls_per_sample=1,
            warmup_s=0.2,
        ),
        **more,  # type: ignore[arg-type]
    )


def test_cases_that_both_measured_whole_are_compared() -> None:
    one = replace(RECORD, measurements=(measured("bandwidth", 2e-3), measured("launch", 1e-6)))
    other = replace(RECORD, measurements=(measured("launch", 2e-6), measured("bandwidth", 1e-3)))
    bandwidth, launch = comparison.pairs(one, other)
    assert bandwidth.faster == pytest.approx(1.0)
    assert launch.faster == pytest.approx(-0.5)
    assert (bandwidth.counts, launch.counts) == (True, False)
    assert bandwidth.apart
    assert not comparison.pairs(one, one)[0].apart


@pytest.mark.parametrize("change", [{"version": 2}, {"complete": False}, {"phase": "sustained"}])
def test_what_is_not_the_same_is_not_compared(change: dict[str, object]) -> None:
    one = replace(RECORD, measurements=(measured("bandwidth", 1e-3),))
    other = replace(RECORD, measurements=(measured("bandwidth", 1e-3, **change),))
    assert comparison.pairs(one, other) == ()


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Result]:
    """Saves two records with these times of a read, and compares."""

    def _compare(first: float, second: float, *arguments: str) -> Result:
        for number, seconds in ((1, first), (2, second)):
            found = (measured("bandwidth", seconds), measured("launch", number * 1e-6))
            made = f"2026-01-31T09:30:0{number}Z"
            record = replace(RECORD, id=str(number) * 8, created=made, measurements=found)
            records.write(record, tmp_path)
        return CliRunner().invoke(cli.main, ("compare", "--results", str(tmp_path), *arguments))

    return _compare


def test_the_two_newest_records_are_compared_and_agree(compare: Callable[..., Result]) -> None:
    result = compare(1e-3, 1.008e-3, "--within", "1")
    assert result.exit_code == 0, result.output
    assert "22222222 (NVIDIA H200) against 11111111 (NVIDIA H200)" in result.output
    assert "-0.79 %" in result.output
    assert "-50.00 %" in result.output  # a launch, which is shown and judges nothing
    assert "All rates that claims are judged by agree within 1 %." in result.output


@pytest.mark.parametrize("seconds", [1.02e-3, 0.98e-3])
def test_a_rate_that_differs_more_fails_either_way(
    compare: Callable[..., Result], seconds: float
) -> None:
    result = compare(1e-3, seconds, "1111", "2222", "--within", "1")
    assert result.exit_code == 1
    assert "--within 1: bandwidth torch burst n=10 pattern=read" in result.output
    assert compare(1e-3, seconds).exit_code == 0


def test_one_record_has_nothing_to_be_compared_with(
    compare: Callable[..., Result], tmp_path: Path
) -> None:
    assert compare(1e-3, 1e-3, "11111111").exit_code == 2
    assert "no record" in compare(1e-3, 1e-3, "11111111", "33").output
    next(tmp_path.glob("*/*-2*.json")).unlink()
    result = CliRunner().invoke(cli.main, ("compare", "--results", str(tmp_path)))
    assert result.exit_code == 2
    assert "no two records" in result.output


def test_without_a_common_rate_nothing_agrees(tmp_path: Path) -> None:
    for number in (1, 2):
        found = (measured("launch", 1e-6),)
        record = replace(RECORD, id=str(number) * 8, measurements=found)
        records.write(record, tmp_path)
    arguments = ("compare", "--results", str(tmp_path), "--within", "1")
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 1
    assert "no rate that claims are judged by is in both" in result.output
