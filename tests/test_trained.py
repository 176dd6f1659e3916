"""The table of training results as evidence: one part over another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench.catalogue import Catalogue, trained
from gpubench.catalogue.parts import PublishedFinding
from gpubench.catalogue.training import TABLE, TrainingRow
from gpubench.quantities import CONDITIONS

H200, H100 = "nvidia-h200-sxm", "nvidia-h100-sxm5"


@pytest.fixture(scope="module")
def row(shipped: Catalogue) -> TrainingRow:
    """Seconds a step of Llama 3.1 405B on 512 H200, in MLPerf Training v5.0."""
    rows = [entry.row for entry in shipped.training_table(TABLE) if entry.row]
    return next(r for r in rows if (r.accelerator, r.metric, r.gpus) == (H200, "step_s", 512))


def pair(*rows: TrainingRow) -> dict[str, PublishedFinding]:
    return {found.quantity: found for found in trained.of_pair(rows, H200, H100)}


def test_what_mlperf_found_of_h200_over_h100(shipped: Catalogue) -> None:
    found = {
        (one.conditions["model"], one.conditions.get("workload"), one.quantity): one.mid
        for one in shipped.trained(H200, H100)
    }
    assert found["llama-3.1-405b", None, "training_throughput"] == pytest.approx(
        55.13 / 50.016, rel=1e-3
    )
    assert found["llama-2-70b", "adapters", "training_time"] == pytest.approx(0.86, abs=0.03)
    for one in shipped.trained(H200, H100):
        assert set(one.conditions) <= set(CONDITIONS)
        assert 0 < one.low <= one.mid <= one.high
        assert "https://" in one.source


def test_a_shorter_step_is_a_higher_speed_and_a_higher_rate_too(row: TrainingRow) -> None:
    slower = replace(row, accelerator=H100, value=row.value * 1.25)
    found = pair(row, slower)
    assert found["training_throughput"].mid == pytest.approx(1.25)
    assert found["training_time"].mid == pytest.approx(0.8)
    rates = [replace(one, metric="tokens_s") for one in (row, slower)]
    assert pair(*rates)["training_throughput"].mid == pytest.approx(0.8)


@pytest.mark.parametrize(
    "change",
    [{"gpus": 8}, {"batch": 1}, {"precision": "bf16"}, {"adapters": True}, {"suspect": True}],
)
def test_another_job_is_not_compared(row: TrainingRow, change: dict[str, object]) -> None:
    assert pair(row, replace(row, accelerator=H100, **change)) == {}  # type: ignore[arg-type]


def test_submissions_of_a_round_span_an_interval_and_rows_of_others_are_left_out(
    row: TrainingRow,
) -> None:
    several = [replace(row, value=v) for v in (40.0, 50.0)]
    rows = [*several, replace(row, accelerator=H100, value=60.0)]
    found = pair(*rows)["training_throughput"]
    assert (found.low, found.high) == pytest.approx((60 / 50, 60 / 40))
    assert "40 to 50 of 2 submissions against 60" in found.how
    assert pair(*(replace(one, source_id="a-blog") for one in rows)) == {}
